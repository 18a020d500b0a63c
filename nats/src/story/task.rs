//! One task's receipts, folded in their order.

use std::ops::Range;

use crate::hash::DeviceHash;
use crate::plan::{HashRange, Lane};
use crate::receipt::Receipt;

/// A task as far as its receipts were read.
#[derive(Clone, Debug)]
pub struct TaskStory {
    /// Through which lane.
    pub lane: Lane,
    /// Which devices.
    pub range: HashRange,
    /// Its last receipt, without lines.
    pub last: Option<Receipt>,
    /// Times it changed hands before its pass was over.
    pub take_overs: u64,
    /// The most repeats that these can have caused.
    pub repeats_bound: u64,
    /// Where its debts stand, and the first that the walk has not passed.
    pub(super) debts: Range<usize>,
    pub(super) cursor: usize,
    /// Debts that are through, and how many there may be of devices that are not judged.
    pub(super) n_done: u64,
    pub(super) n_unknown: u64,
}

impl TaskStory {
    pub(super) fn new(lane: Lane, range: HashRange, debts: Range<usize>, n_unknown: u64) -> Self {
        Self {
            lane,
            range,
            last: None,
            take_overs: 0,
            repeats_bound: 0,
            cursor: debts.start,
            debts,
            n_done: 0,
            n_unknown,
        }
    }

    /// Whether nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.last.as_ref().is_some_and(Receipt::is_finished)
    }

    /// Looks whether the next receipt is another worker's who took an unfinished pass over.
    pub(super) fn hand_over(&mut self, next: &Receipt, window: u64) {
        if !self.last.as_ref().is_some_and(|it| is_take_over(it, next)) {
            return;
        }
        let n_debts = u64::try_from(self.debts.len()).unwrap_or(u64::MAX);
        let n_open = n_debts.saturating_sub(self.n_done) + self.n_unknown;
        self.take_overs += 1;
        self.repeats_bound += window.min(n_open);
    }
}

/// Whether a worker took over what another had begun and not finished. A later pass, begun by its
/// wake-up after the walk had ended, is none; neither is what follows a replay, whose claim has no
/// delivery and which sends nothing itself.
pub fn is_take_over(before: &Receipt, after: &Receipt) -> bool {
    let is_next_pass = after.claim.pass > before.claim.pass && before.low.is_none();
    let is_of_replay = before.claim.delivered == 0;
    let has_changed_hands = after.claim.nonce != before.claim.nonce && !before.is_finished();
    has_changed_hands && !is_next_pass && !is_of_replay
}

/// Whether the walk had passed a device by this receipt without beginning its turn anew.
pub(super) fn has_passed(receipt: &Receipt, device: DeviceHash) -> bool {
    receipt.low.is_none_or(|low| device < low)
}
