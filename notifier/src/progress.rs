//! How far a task is: what a worker knows, and the receipt that makes it durable. Pure.
//!
//! The walk goes over the task's devices in hash order. Everything below the low-water hash had its
//! turn; above it the marked ones are listed. A device whose attempt marks nobody (the provider was
//! away) had no turn and holds the low-water hash down.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_nats::DeviceHash;
use fanfare_nats::receipt::{Claim, Later, Line, Mark, Receipt};
use jiff::Timestamp;

/// The state of a task in the hands of one worker.
#[derive(Clone, Debug, Hash)]
pub struct Progress {
    claim: Claim,
    cursor: Option<DeviceHash>,
    unturned: BTreeSet<DeviceHash>,
    above: BTreeSet<DeviceHash>,
    later: BTreeMap<DeviceHash, Later>,
    intended: BTreeSet<DeviceHash>,
    rest: Option<Mark>,
    lines: Vec<Line>,
    claims_without_mark: u32,
    is_handed_back: bool,
    alarm: Alarm,
}

/// Which of the waiting devices this claim may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Alarm {
    /// None: the alarm that starts the next pass may be set already, and whoever it wakes would
    /// send to the same devices.
    MayBeSet,
    /// Those that are due.
    NotSet,
    /// It woke this pass: those that were waited for are due, whatever our clock says.
    Rang,
}

impl Progress {
    /// A task that nobody has claimed before.
    pub fn begin_task(claim: Claim) -> Self {
        Self {
            claim,
            cursor: Some(DeviceHash(0)),
            unturned: BTreeSet::new(),
            above: BTreeSet::new(),
            later: BTreeMap::new(),
            intended: BTreeSet::new(),
            rest: None,
            lines: Vec::new(),
            claims_without_mark: 1,
            is_handed_back: false,
            alarm: Alarm::NotSet,
        }
    }

    /// Takes a task up where the recorded receipt says, under a claim.
    ///
    /// Devices that the worker before had begun to send to, at most once, are marked
    /// [`Mark::Unclear`]: nobody knows, and nobody sends to them again.
    pub fn resume(recorded: Option<&Receipt>, claim: Claim, now: Timestamp) -> Self {
        let Some(receipt) = recorded else {
            return Self::begin_task(claim);
        };
        let alarm = match claim.pass > receipt.claim.pass {
            true => Alarm::Rang,
            false if receipt.low.is_none() => Alarm::MayBeSet,
            false => Alarm::NotSet,
        };
        let mut progress = Self {
            claim: Claim {
                pass: claim.pass.max(receipt.claim.pass),
                ..claim
            },
            cursor: receipt.low,
            unturned: BTreeSet::new(),
            above: receipt.above.clone(),
            later: receipt.later.clone(),
            intended: BTreeSet::new(),
            rest: receipt.rest,
            lines: Vec::new(),
            claims_without_mark: receipt.claims_without_mark + 1,
            is_handed_back: false,
            alarm,
        };
        for device in &receipt.intended {
            progress.give_up(*device, now);
        }
        progress
    }

    fn give_up(&mut self, device: DeviceHash, now: Timestamp) {
        let waited = self.later.remove(&device);
        if self.cursor.is_some_and(|low| device >= low) {
            self.above.insert(device);
        }
        self.lines.push(Line {
            device,
            mark: Mark::Unclear,
            attempt: waited.map_or(0, |it| it.attempts) + 1,
            reason: Some("its worker is gone".to_owned()),
            at: now,
        });
    }

    /// Serves whoever is due, whatever alarm is set: a rule broken on purpose.
    pub(crate) fn forget_alarm(&mut self) {
        self.alarm = Alarm::NotSet;
    }

    /// The claim under which this worker writes.
    pub fn claim(&self) -> Claim {
        self.claim
    }

    /// The next hash that the walk looks at; `None` when it has ended.
    pub fn cursor(&self) -> Option<DeviceHash> {
        self.cursor
    }

    /// Whether the walk must pass over a device because it had its turn.
    pub fn had_turn(&self, device: DeviceHash) -> bool {
        self.above.contains(&device)
    }

    /// The walk has come to a device and begins its turn.
    pub fn begin(&mut self, device: DeviceHash) {
        self.unturned.insert(device);
        self.pass_over(device);
    }

    /// The walk goes on behind a device.
    pub fn pass_over(&mut self, device: DeviceHash) {
        self.cursor = device.0.checked_add(1).map(DeviceHash);
    }

    /// A request to the device may be written once the next receipt is stored.
    pub fn intend(&mut self, device: DeviceHash) {
        self.intended.insert(device);
    }

    /// Surely nothing reached the device; whether it was announced.
    pub fn take_back(&mut self, device: DeviceHash) -> bool {
        self.intended.remove(&device)
    }

    /// Whether a request to the device was announced and has no outcome.
    pub fn is_intended(&self, device: DeviceHash) -> bool {
        self.intended.contains(&device)
    }

    /// This worker gives the task out of its hands in good order: nothing is in flight, nothing more
    /// is begun, and its claim counts as none without a mark.
    pub fn end_in_order(&mut self) {
        self.is_handed_back = true;
        self.intended.clear(); // Nothing is in flight, so they got nothing.
        self.claims_without_mark = 0;
    }

    /// Claims, this one included, whose workers left neither a mark nor a word.
    pub fn claims_without_mark(&self) -> u32 {
        self.claims_without_mark
    }

    /// The walk has found no more devices.
    pub fn end_walk(&mut self) {
        self.cursor = None;
    }

    /// Everyone who has not had a turn gets `mark`: the event expired or is superseded, or the task
    /// is dead. Devices that wait get it one by one.
    pub fn end_with(&mut self, mark: Mark, now: Timestamp) {
        if self.cursor.is_some() || !self.unturned.is_empty() {
            self.rest = Some(mark);
        }
        self.cursor = None;
        self.unturned.clear();
        self.intended.clear();
        for (device, later) in std::mem::take(&mut self.later) {
            self.lines.push(Line {
                device,
                mark,
                attempt: later.attempts,
                reason: None,
                at: now,
            });
        }
    }

    /// Devices that wait and may be sent to under this claim, with their attempts so far.
    ///
    /// A pass that a wake-up started serves at least the device that it was set for: the broker's
    /// clock says that it is due, and ours may have been set back since.
    pub fn due(&self, now: Timestamp) -> Vec<(DeviceHash, u32)> {
        let until = match self.alarm {
            Alarm::MayBeSet => return Vec::new(),
            Alarm::NotSet => now,
            Alarm::Rang => self.earliest_due().map_or(now, |it| it.max(now)),
        };
        self.later
            .iter()
            .filter(|(_, later)| later.due <= until)
            .map(|(device, later)| (*device, later.attempts))
            .collect()
    }

    /// A device's turn came to something. `later` goes with [`Mark::Later`] and with nothing else.
    pub fn mark(&mut self, line: Line, later: Option<Later>) {
        let device = line.device;
        if self.unturned.remove(&device) {
            self.above.insert(device);
        }
        match later {
            Some(later) => self.later.insert(device, later),
            None => self.later.remove(&device),
        };
        self.intended.remove(&device);
        self.lines.push(line);
    }

    /// Marks that no receipt holds yet.
    pub fn n_unrecorded(&self) -> usize {
        self.lines.len()
    }

    /// When the earliest waiting device is due.
    pub fn earliest_due(&self) -> Option<Timestamp> {
        self.later.values().map(|it| it.due).min()
    }

    /// Whether every device had its turn; some may wait for a later pass.
    pub fn is_walked(&self) -> bool {
        self.cursor.is_none() && self.unturned.is_empty()
    }

    /// Whether nothing is left.
    pub fn is_finished(&self) -> bool {
        self.is_walked() && self.later.is_empty()
    }

    /// The receipt that makes everything up to now durable; what it holds counts as recorded.
    pub fn receipt(&mut self, node: &str, now: Timestamp) -> Receipt {
        let low = self.unturned.first().copied().or(self.cursor);
        self.above = match low {
            Some(low) => self.above.split_off(&low),
            None => BTreeSet::new(),
        };
        let lines = std::mem::take(&mut self.lines);
        if !lines.is_empty() || self.is_finished() {
            self.claims_without_mark = 0;
        }
        Receipt {
            claim: self.claim,
            node: node.to_owned(),
            low,
            above: self.above.clone(),
            later: self.later.clone(),
            intended: self.intended.clone(),
            rest: self.rest,
            claims_without_mark: self.claims_without_mark,
            is_handed_back: self.is_handed_back,
            lines,
            at: now,
        }
    }
}

#[cfg(test)]
mod tests;
