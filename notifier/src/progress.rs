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
#[derive(Clone, Debug)]
pub struct Progress {
    claim: Claim,
    cursor: Option<DeviceHash>,
    unturned: BTreeSet<DeviceHash>,
    above: BTreeSet<DeviceHash>,
    later: BTreeMap<DeviceHash, Later>,
    rest: Option<Mark>,
    lines: Vec<Line>,
    claims_without_mark: u32,
}

impl Progress {
    /// Takes a task up where the recorded receipt says, under a claim.
    pub fn resume(recorded: Option<&Receipt>, claim: Claim) -> Self {
        match recorded {
            None => Self {
                claim,
                cursor: Some(DeviceHash(0)),
                unturned: BTreeSet::new(),
                above: BTreeSet::new(),
                later: BTreeMap::new(),
                rest: None,
                lines: Vec::new(),
                claims_without_mark: 1,
            },
            Some(receipt) => Self {
                claim: Claim {
                    pass: claim.pass.max(receipt.claim.pass),
                    ..claim
                },
                cursor: receipt.low,
                unturned: BTreeSet::new(),
                above: receipt.above.clone(),
                later: receipt.later.clone(),
                rest: receipt.rest,
                lines: Vec::new(),
                claims_without_mark: receipt.claims_without_mark + 1,
            },
        }
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

    /// The walk has found no more devices.
    pub fn end_walk(&mut self) {
        self.cursor = None;
    }

    /// Everyone who has not had a turn gets `mark`: the event expired, or is superseded. Devices
    /// that wait get it one by one.
    pub fn end_with(&mut self, mark: Mark, now: Timestamp) {
        if self.cursor.is_some() || !self.unturned.is_empty() {
            self.rest = Some(mark);
        }
        self.cursor = None;
        self.unturned.clear();
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

    /// Devices that wait and are due, with their attempts so far.
    pub fn due(&self, now: Timestamp) -> Vec<(DeviceHash, u32)> {
        self.later
            .iter()
            .filter(|(_, later)| later.due <= now)
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
        if lines.iter().any(|it| it.attempt > 0) || self.is_walked() {
            self.claims_without_mark = 0;
        }
        Receipt {
            claim: self.claim,
            node: node.to_owned(),
            low,
            above: self.above.clone(),
            later: self.later.clone(),
            rest: self.rest,
            claims_without_mark: self.claims_without_mark,
            lines,
            at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(delivered: u64) -> Claim {
        Claim {
            epoch: 1,
            pass: 1,
            delivered,
            nonce: delivered,
        }
    }

    fn line(device: DeviceHash, mark: Mark) -> Line {
        Line {
            device,
            mark,
            attempt: 1,
            reason: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    /// One worker's life: begins devices in order, finishes some out of order, writes receipts, and
    /// dies. Returns what it sent and what was recorded last.
    fn life(
        devices: &BTreeSet<DeviceHash>,
        recorded: Option<Receipt>,
        delivered: u64,
        steps: &[u8],
    ) -> (Vec<DeviceHash>, Option<Receipt>) {
        let mut progress = Progress::resume(recorded.as_ref(), claim(delivered));
        let mut stored = Some(progress.receipt("n", Timestamp::UNIX_EPOCH));
        let (mut sent, mut in_flight) = (Vec::new(), Vec::new());
        for step in steps {
            match step % 4 {
                0 | 1 => {
                    let Some(from) = progress.cursor() else {
                        continue;
                    };
                    match devices.range(from..).next() {
                        None => progress.end_walk(),
                        Some(device) if progress.had_turn(*device) => progress.pass_over(*device),
                        Some(device) => {
                            progress.begin(*device);
                            sent.push(*device);
                            in_flight.push(*device);
                        }
                    }
                }
                2 if !in_flight.is_empty() => {
                    let at = usize::from(*step) % in_flight.len();
                    progress.mark(line(in_flight.swap_remove(at), Mark::Accepted), None);
                }
                _ => stored = Some(progress.receipt("n", Timestamp::UNIX_EPOCH)),
            }
        }
        (sent, stored)
    }

    proptest! {
        #[test]
        fn whatever_dies_in_between_nobody_is_lost_and_nobody_recorded_is_sent_again(
            hashes in prop::collection::btree_set(any::<u64>(), 0..30),
            lives in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5),
        ) {
            let devices: BTreeSet<DeviceHash> = hashes.into_iter().map(DeviceHash).collect();
            let mut recorded: Option<Receipt> = None;
            let mut sent = BTreeSet::new();
            for (delivered, steps) in (1..).zip(&lives) {
                let before = recorded.clone();
                let (now_sent, stored) = life(&devices, recorded, delivered, steps);
                if let Some(before) = before {
                    prop_assert!(now_sent.iter().all(|it| !before.is_marked(*it)));
                }
                sent.extend(now_sent);
                recorded = stored;
            }
            // A last worker that nothing disturbs.
            let mut progress = Progress::resume(recorded.as_ref(), claim(99));
            while let Some(from) = progress.cursor() {
                match devices.range(from..).next() {
                    None => progress.end_walk(),
                    Some(device) if progress.had_turn(*device) => progress.pass_over(*device),
                    Some(device) => {
                        progress.begin(*device);
                        sent.insert(*device);
                        progress.mark(line(*device, Mark::Accepted), None);
                    }
                }
            }
            prop_assert!(progress.is_finished());
            prop_assert_eq!(sent, devices);
        }
    }

    #[test]
    fn an_attempt_that_marks_nobody_holds_the_low_water_hash_down() {
        let mut progress = Progress::resume(None, claim(1));
        progress.begin(DeviceHash(5));
        progress.begin(DeviceHash(9));
        progress.mark(line(DeviceHash(9), Mark::Accepted), None);
        progress.end_walk();
        let receipt = progress.receipt("n", Timestamp::UNIX_EPOCH);
        assert_eq!(receipt.low, Some(DeviceHash(5)));
        assert!(receipt.is_marked(DeviceHash(9)) && !receipt.is_marked(DeviceHash(5)));
        assert!(!progress.is_walked());
    }

    #[test]
    fn a_device_that_waits_had_its_turn_and_keeps_the_task_open() {
        let due = Timestamp::from_second(60).unwrap();
        let mut progress = Progress::resume(None, claim(1));
        progress.begin(DeviceHash(5));
        progress.mark(
            line(DeviceHash(5), Mark::Later),
            Some(Later { attempts: 1, due }),
        );
        progress.end_walk();
        let receipt = progress.receipt("n", Timestamp::UNIX_EPOCH);
        assert!(receipt.low.is_none() && !receipt.is_finished());
        let mut next = Progress::resume(
            Some(&receipt),
            Claim {
                pass: 2,
                ..claim(1)
            },
        );
        assert!(next.due(Timestamp::UNIX_EPOCH).is_empty());
        assert_eq!(next.due(due), vec![(DeviceHash(5), 1)]);
        next.mark(line(DeviceHash(5), Mark::Accepted), None);
        assert!(next.is_finished());
    }

    #[test]
    fn an_expired_task_accounts_for_everyone() {
        let mut progress = Progress::resume(None, claim(1));
        progress.begin(DeviceHash(5));
        progress.end_with(Mark::Expired, Timestamp::UNIX_EPOCH);
        let receipt = progress.receipt("n", Timestamp::UNIX_EPOCH);
        assert_eq!(receipt.rest, Some(Mark::Expired));
        assert!(receipt.is_finished());
    }
}
