//! What a replay may do, given what the receipts say about the devices of dead letters. Pure.
//!
//! A replay appends one receipt whose pass is greater by two than the last one's, and publishes the
//! pass after it. The pass in between may be set as a wake-up already, and must find itself
//! obsolete instead of standing beside the replay's message; and a worker serves waiting devices
//! only in a pass later than the recorded one. The receipt's delivery count is 0, which no delivery
//! has, so that a replay whose message was never published is known for what it is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::trail::Trail;
use super::{DeadLetter, DeadReason};
use crate::hash::DeviceHash;
use crate::plan::Task;
use crate::receipt::{Claim, Later, Line, Mark, Receipt};

/// A device that is due so soon after a receipt was written may be in flight since.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(30);

/// Delivery count of a replay's claim; the broker counts from 1.
const BY_REPLAY: u64 = 0;

/// What the audit trail gives as reason where a device waits because of a replay.
pub const REPLAYED: &str = "replayed";

/// Letters of one task, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The task; its expiry is the replay's.
    pub task: Task,
    /// Devices that were given up one by one.
    pub devices: BTreeSet<DeviceHash>,
    /// Whether the task as a whole was given up as poison.
    pub is_poison: bool,
    /// The pass whose message could not be read, if that is what happened.
    pub unread: Option<u32>,
}

/// What became of a device since it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The provider took it, at this time.
    Accepted(Timestamp),
    /// It may have been delivered, and its event is at most once.
    Unclear,
    /// It waits for a later pass, or for a replay that was begun.
    Waiting,
    /// Its receipts have aged out: nobody can say.
    Unknown,
    /// Nobody took it: a replay sends it.
    Open,
}

/// Why a case cannot be replayed at the moment, or ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A worker has it, or will take it up.
    BeingSent,
    /// The receipts have aged out.
    ReceiptsGone,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Append this receipt, then publish the pass after it.
    Append(Box<Receipt>),
    /// Only publish this pass, which may have been published.
    Publish(u32),
    /// Nobody is left.
    Nothing,
    /// Not now.
    Hold(Hold),
}

/// A case, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What became of each device.
    pub fates: BTreeMap<DeviceHash, Fate>,
    /// Devices that are sent to one by one, of a task that was given up too.
    pub n_open: usize,
    /// Whether the walk of a task that was given up goes on where it stood.
    pub has_rest: bool,
    /// What is to be done.
    pub step: Step,
}

impl Case {
    /// The case of a letter about a device or a task; `None` where the letter names neither.
    pub fn of(letter: &DeadLetter, expires_at: Timestamp) -> Option<Self> {
        let task = letter.task_until(expires_at)?;
        let devices = match letter.reason {
            DeadReason::Refused => BTreeSet::from([DeviceHash::parse(&letter.device)?]),
            DeadReason::Poison => BTreeSet::new(),
            DeadReason::Invalid => return None,
        };
        Some(Self {
            task,
            devices,
            is_poison: letter.reason == DeadReason::Poison,
            unread: None,
        })
    }

    /// Whether another case is about the same task.
    pub fn is_of_task(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.task.event.clone(), it.task.lane.clone(), it.task.range);
        key(self) == key(other)
    }

    /// Takes the letters of another case of the same task in.
    pub fn join(&mut self, other: Self) {
        self.devices.extend(other.devices);
        self.is_poison |= other.is_poison;
        self.unread = self.unread.max(other.unread);
    }

    /// Judges the case by all receipts of its task, the oldest first.
    pub fn judge(&self, receipts: &[Receipt], nonce: u64, node: &str, now: Timestamp) -> Judged {
        let trail = Trail::of(receipts);
        let fates: BTreeMap<_, _> = self
            .devices
            .iter()
            .map(|it| (*it, trail.fate(*it)))
            .collect();
        let (n_open, has_rest, step) = match receipts.last() {
            None => (0, self.unread.is_some(), self.without_receipts()),
            Some(last) => self.with_receipts(&trail, last, &fates, nonce, node, now),
        };
        Judged {
            fates,
            n_open,
            has_rest,
            step,
        }
    }

    /// A task whose first message could not be read has none; else they have aged out.
    fn without_receipts(&self) -> Step {
        match self.unread {
            Some(1) => Step::Publish(2),
            Some(_) | None => Step::Hold(Hold::ReceiptsGone),
        }
    }

    fn with_receipts(
        &self,
        trail: &Trail<'_>,
        last: &Receipt,
        fates: &BTreeMap<DeviceHash, Fate>,
        nonce: u64,
        node: &str,
        now: Timestamp,
    ) -> (usize, bool, Step) {
        let is_revived = self.is_poison && trail.is_dead();
        let state = match is_revived.then(|| trail.before_death()) {
            None => last.clone(),
            Some(Some(state)) => Receipt {
                rest: None,
                claim: last.claim,
                ..state
            },
            Some(None) => return (0, false, Step::Hold(Hold::ReceiptsGone)),
        };
        let mut open = self.devices.clone();
        open.retain(|it| fates.get(it) == Some(&Fate::Open));
        let mut state = state;
        if is_revived {
            open.extend(state.later.keys());
            state.later.extend(&last.later); // Others may wait for a replay of their own.
        }
        let has_rest = is_revived && state.low.is_some();
        // The walk had ended before its next pass was set.
        let was_set = last.low.is_none() && !last.is_finished();
        let is_lost = was_set && self.unread.is_some_and(|it| last.claim.pass < it);
        let is_by_replay = last.claim.delivered == BY_REPLAY;
        let is_over = open.is_empty() && !has_rest && !is_lost;
        let step = if is_over && is_by_replay && !last.is_finished() {
            // Publishing what may have been published is harmless, and ends a replay that died.
            Step::Publish(last.claim.pass + 1)
        } else if is_over && fates.values().any(|it| *it == Fate::Unknown) {
            Step::Hold(Hold::ReceiptsGone)
        } else if is_over {
            Step::Nothing
        } else if last.is_finished() || is_by_replay || is_lost || waits(last) {
            Step::Append(Box::new(next(state, &open, nonce, node, now)))
        } else {
            Step::Hold(Hold::BeingSent)
        };
        (open.len(), has_rest || is_lost, step)
    }
}

/// Whether nobody is in flight: the walk has ended, and whoever waits was not due when the worker
/// looked. A worker that takes the task up from there loses or wins the compare-and-set. A receipt
/// without lines is a claim, whose worker may just begin.
fn waits(last: &Receipt) -> bool {
    let quiet_until = last.at.saturating_add(IN_FLIGHT).unwrap_or(last.at);
    let is_due = |it: &Later| it.due <= quiet_until;
    last.low.is_none() && !last.lines.is_empty() && !last.later.values().any(is_due)
}

fn next(
    state: Receipt,
    open: &BTreeSet<DeviceHash>,
    nonce: u64,
    node: &str,
    at: Timestamp,
) -> Receipt {
    let mut later = state.later;
    // The limit of attempts counts anew.
    let again = Later {
        attempts: 0,
        due: at,
    };
    later.extend(open.iter().map(|it| (*it, again)));
    let line = |device: &DeviceHash| Line {
        device: *device,
        mark: Mark::Later,
        attempt: 0, // Nothing was sent.
        reason: Some(REPLAYED.to_owned()),
        at,
    };
    Receipt {
        claim: Claim {
            pass: state.claim.pass + 2,
            message: 0,
            delivered: BY_REPLAY,
            nonce,
            ..state.claim
        },
        node: node.to_owned(),
        later,
        claims_without_mark: 0,
        lines: open.iter().map(line).collect(),
        at,
        ..state
    }
}

#[cfg(test)]
mod tests;
