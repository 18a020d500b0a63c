//! All receipts of a task, and what they say of each device. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::case::Fate;
use crate::hash::DeviceHash;
use crate::receipt::{Mark, Receipt};

/// What all lines of a task come to.
pub(super) struct Trail<'a> {
    receipts: &'a [Receipt],
    /// When a device's push was accepted, and its last mark.
    marks: BTreeMap<DeviceHash, (Option<Timestamp>, Mark)>,
    /// Whether it goes back to the first receipt.
    is_whole: bool,
}

impl<'a> Trail<'a> {
    /// Of all receipts that are stored, the oldest first.
    pub(super) fn of(receipts: &'a [Receipt]) -> Self {
        let mut marks = BTreeMap::<_, (Option<Timestamp>, Mark)>::new();
        for line in receipts.iter().flat_map(|it| &it.lines) {
            let entry = marks.entry(line.device).or_insert((None, line.mark));
            entry.1 = line.mark;
            if line.mark == Mark::Accepted {
                entry.0.get_or_insert(line.at);
            }
        }
        let is_first = |it: &Receipt| {
            it.low == Some(DeviceHash(0)) && it.above.is_empty() && it.later.is_empty()
        };
        Self {
            receipts,
            marks,
            is_whole: receipts.first().is_some_and(is_first),
        }
    }

    /// What became of a device.
    pub(super) fn fate(&self, device: DeviceHash) -> Fate {
        let last = self.receipts.last();
        let waits = last.is_some_and(|it| it.later.contains_key(&device));
        let is_intended = last.is_some_and(|it| it.intended.contains(&device));
        match self.marks.get(&device) {
            Some((Some(at), _)) => Fate::Accepted(*at),
            Some((None, Mark::Unclear)) => Fate::Unclear,
            _ if is_intended => Fate::Unclear,
            _ if waits => Fate::Waiting,
            Some((None, _)) => Fate::Open,
            None if self.is_whole => Fate::Open,
            None => Fate::Unknown,
        }
    }

    /// Whether the task as a whole was given up and is not revived since.
    pub(super) fn is_dead(&self) -> bool {
        self.receipts.last().is_some_and(|it| {
            it.rest == Some(Mark::Dead)
                || it.is_finished() && self.marks.values().any(|(_, mark)| *mark == Mark::Dead)
        })
    }

    /// The task as it was when it was given up, with what was learnt since: the walk where it
    /// stood, and the devices that waited and that nobody was sent to since. `None` if the receipts
    /// of that time have aged out.
    pub(super) fn before_death(&self) -> Option<Receipt> {
        let dies = |it: &[Receipt]| match it {
            [before, after] => {
                let is_rest = |it: &Receipt| it.rest == Some(Mark::Dead);
                after.lines.iter().any(|it| it.mark == Mark::Dead)
                    || is_rest(after) && !is_rest(before)
            }
            _ => false,
        };
        let at = self.receipts.windows(2).rposition(dies)?;
        let mut state = self.receipts.get(at)?.clone();
        let since = self.receipts.get(at + 1..).unwrap_or_default();
        let waited: BTreeSet<DeviceHash> = state.later.keys().copied().collect();
        for line in since.iter().flat_map(|it| &it.lines) {
            let is_in_walk = state.low.is_some_and(|low| low <= line.device);
            if line.mark != Mark::Dead && is_in_walk && !waited.contains(&line.device) {
                state.above.insert(line.device);
            }
        }
        // Whoever gave the task up marked them, as what nobody knows.
        state.intended.clear();
        let is_dead = |it: &DeviceHash| matches!(self.marks.get(it), Some((None, Mark::Dead)));
        state.later.retain(|device, _| is_dead(device));
        Some(state)
    }
}
