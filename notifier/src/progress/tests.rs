//! Lives of a task, one worker after another.

use proptest::prelude::*;

use super::*;

fn claim(delivered: u64) -> Claim {
    Claim {
        epoch: 1,
        pass: 1,
        message: 0,
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
    let mut progress = Progress::resume(recorded.as_ref(), claim(delivered), Timestamp::UNIX_EPOCH);
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
        let mut progress = Progress::resume(recorded.as_ref(), claim(99), Timestamp::UNIX_EPOCH);
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
    let mut progress = Progress::begin_task(claim(1));
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
    let mut progress = Progress::begin_task(claim(1));
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
        Timestamp::UNIX_EPOCH,
    );
    assert_eq!(next.due(due), vec![(DeviceHash(5), 1)]);
    next.mark(line(DeviceHash(5), Mark::Accepted), None);
    assert!(next.is_finished());
}

#[test]
fn an_expired_task_accounts_for_everyone() {
    let mut progress = Progress::begin_task(claim(1));
    progress.begin(DeviceHash(5));
    progress.end_with(Mark::Expired, Timestamp::UNIX_EPOCH);
    let receipt = progress.receipt("n", Timestamp::UNIX_EPOCH);
    assert_eq!(receipt.rest, Some(Mark::Expired));
    assert!(receipt.is_finished());
}

fn one_waits(due: Timestamp) -> Receipt {
    let mut progress = Progress::begin_task(claim(1));
    progress.begin(DeviceHash(5));
    let later = Later { attempts: 1, due };
    progress.mark(line(DeviceHash(5), Mark::Later), Some(later));
    progress.end_walk();
    progress.receipt("n", Timestamp::UNIX_EPOCH)
}

#[test]
fn a_wake_up_serves_its_device_although_our_clock_was_set_back() {
    let hour = Timestamp::from_second(3600).unwrap();
    let woken = Claim {
        pass: 2,
        ..claim(1)
    };
    let next = Progress::resume(Some(&one_waits(hour)), woken, Timestamp::UNIX_EPOCH);
    assert_eq!(next.due(Timestamp::UNIX_EPOCH), vec![(DeviceHash(5), 1)]);
}

#[test]
fn whoever_takes_a_walked_pass_over_leaves_its_waiting_devices_to_the_alarm() {
    let receipt = one_waits(Timestamp::UNIX_EPOCH);
    let again = Progress::resume(Some(&receipt), claim(2), Timestamp::UNIX_EPOCH);
    assert!(again.due(Timestamp::UNIX_EPOCH).is_empty() && !again.is_finished());
}

#[test]
fn whoever_takes_over_sends_nothing_to_a_device_that_was_intended() {
    let mut progress = Progress::begin_task(claim(1));
    for device in [3, 5] {
        progress.begin(DeviceHash(device));
        progress.intend(DeviceHash(device));
    }
    progress.mark(line(DeviceHash(3), Mark::Accepted), None);
    let receipt = progress.receipt("n", Timestamp::UNIX_EPOCH);
    assert_eq!(receipt.intended, BTreeSet::from([DeviceHash(5)]));
    let mut next = Progress::resume(Some(&receipt), claim(2), Timestamp::UNIX_EPOCH);
    assert!(next.had_turn(DeviceHash(5)));
    let receipt = next.receipt("n", Timestamp::UNIX_EPOCH);
    let marks: Vec<_> = receipt
        .lines
        .iter()
        .map(|it| (it.device, it.mark))
        .collect();
    assert_eq!(marks, vec![(DeviceHash(5), Mark::Unclear)]);
    assert!(receipt.intended.is_empty());
}

#[test]
fn claims_without_a_mark_are_counted_until_a_mark_or_an_end_in_order() {
    let mut recorded = Progress::begin_task(claim(1)).receipt("n", Timestamp::UNIX_EPOCH);
    for n in 2..5 {
        let mut next = Progress::resume(Some(&recorded), claim(n), Timestamp::UNIX_EPOCH);
        recorded = next.receipt("n", Timestamp::UNIX_EPOCH);
        assert_eq!(u64::from(recorded.claims_without_mark), n);
    }
    let mut next = Progress::resume(Some(&recorded), claim(9), Timestamp::UNIX_EPOCH);
    next.end_in_order();
    let last = next.receipt("n", Timestamp::UNIX_EPOCH);
    assert_eq!(last.claims_without_mark, 0);
    assert!(last.is_handed_back && !recorded.is_handed_back);
    let mut after = Progress::resume(Some(&last), claim(10), Timestamp::UNIX_EPOCH);
    assert!(!after.receipt("n", Timestamp::UNIX_EPOCH).is_handed_back);
}
