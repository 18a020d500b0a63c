//! Cases of the judgement.

use super::*;
use crate::event::EventId;
use crate::plan::{HashRange, Lane};

const NOW: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn task() -> Task {
    Task {
        event: EventId::parse(&"a".repeat(32)).unwrap(),
        event_seq: 7,
        lane: Lane::parse("ios-urgent").unwrap(),
        range: HashRange::new(0, 0).unwrap(),
        revision: 99,
        expires_at: at(3600),
    }
}

fn case(devices: &[u64]) -> Case {
    Case {
        task: task(),
        devices: devices.iter().map(|it| DeviceHash(*it)).collect(),
        is_poison: false,
        unread: None,
    }
}

fn poison(devices: &[u64]) -> Case {
    Case {
        is_poison: true,
        ..case(devices)
    }
}

fn claim(pass: u32, delivered: u64) -> Claim {
    Claim {
        epoch: 1,
        pass,
        message: 0,
        delivered,
        nonce: delivered,
    }
}

fn first() -> Receipt {
    Receipt::first(claim(1, 1), "n1", at(-100))
}

fn line(device: u64, mark: Mark) -> Line {
    Line {
        device: DeviceHash(device),
        mark,
        attempt: 1,
        reason: None,
        at: at(-90),
    }
}

fn later(devices: &[(u64, i64)]) -> BTreeMap<DeviceHash, Later> {
    let later = |due| Later { attempts: 1, due };
    devices
        .iter()
        .map(|(device, due)| (DeviceHash(*device), later(at(*due))))
        .collect()
}

/// Everybody had a turn.
fn walked(lines: &[(u64, Mark)], waiting: &[(u64, i64)]) -> Receipt {
    Receipt {
        low: None,
        later: later(waiting),
        lines: lines
            .iter()
            .map(|(device, mark)| line(*device, *mark))
            .collect(),
        claims_without_mark: 0,
        at: at(-90),
        ..first()
    }
}

fn judge(case: &Case, receipts: &[Receipt]) -> Judged {
    case.judge(receipts, 42, "ops", at(0))
}

#[track_caller]
fn appended(judged: &Judged) -> &Receipt {
    match &judged.step {
        Step::Append(receipt) => receipt,
        other @ (Step::Publish(_) | Step::Nothing | Step::Hold(_)) => {
            panic!("nothing is appended: {other:?}")
        }
    }
}

#[test]
fn whoever_accepted_is_left_out_whichever_receipt_says_so() {
    let receipts = [
        first(),
        walked(&[(1, Mark::Refused), (2, Mark::Refused)], &[]),
        // An earlier replay reached the first one.
        walked(&[(1, Mark::Accepted)], &[]),
        walked(&[(3, Mark::Refused)], &[]),
    ];
    let judged = judge(&case(&[1, 2]), &receipts);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Accepted(at(-90)));
    assert_eq!(judged.fates[&DeviceHash(2)], Fate::Open);
    let receipt = appended(&judged);
    assert_eq!(receipt.later.keys().collect::<Vec<_>>(), [&DeviceHash(2)]);
    assert_eq!(receipt.later[&DeviceHash(2)].due, at(0));
    assert_eq!((receipt.low, receipt.claims_without_mark), (None, 0));

    let judged = judge(&case(&[1]), &receipts);
    assert_eq!(judged.step, Step::Nothing);
}

#[test]
fn a_replay_stands_above_a_wake_up_that_is_set_and_below_its_own_message() {
    use crate::receipt::Verdict;

    let last = walked(&[(1, Mark::Refused), (2, Mark::Later)], &[(2, 600)]);
    let judged = judge(&case(&[1]), &[first(), last]);
    let receipt = appended(&judged);
    let waiting: Vec<_> = receipt.later.keys().collect();
    assert_eq!(
        waiting,
        [&DeviceHash(1), &DeviceHash(2)],
        "who waits is kept"
    );
    let recorded = Some(&receipt.claim);
    assert_eq!(claim(2, 1).against(recorded), Verdict::Obsolete);
    assert_eq!(claim(1, 9).against(recorded), Verdict::Obsolete);
    let own = claim(receipt.claim.pass + 1, 1);
    assert_eq!(own.against(recorded), Verdict::Take);
    assert!(own.pass > receipt.claim.pass, "waiting devices are served");
}

#[test]
fn a_replay_that_was_begun_is_ended_and_not_begun_again() {
    let receipts = [first(), walked(&[(1, Mark::Refused)], &[])];
    let begun = appended(&judge(&case(&[1]), &receipts)).clone();
    let receipts = [&receipts[..], std::slice::from_ref(&begun)].concat();
    let judged = judge(&case(&[1]), &receipts);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Waiting);
    assert_eq!(judged.step, Step::Publish(begun.claim.pass + 1));

    // Another device joins it: one more receipt, and the message of the first is obsolete.
    let judged = judge(&case(&[1, 2]), &receipts);
    let joined = appended(&judged);
    assert_eq!(joined.claim.pass, begun.claim.pass + 2);
    assert_eq!(joined.later.len(), 2);
}

#[test]
fn a_task_that_somebody_may_have_is_left_alone() {
    let walking = Receipt {
        lines: vec![line(1, Mark::Refused)],
        low: Some(DeviceHash(2)),
        ..first()
    };
    let due = walked(&[(1, Mark::Refused), (2, Mark::Later)], &[(2, -80)]);
    let claimed = Receipt {
        lines: Vec::new(),
        claim: claim(2, 1),
        ..walked(&[], &[(2, 600)])
    };
    let refused = walked(&[(1, Mark::Refused), (2, Mark::Later)], &[(2, 600)]);
    for receipts in [
        vec![first(), walking],
        vec![first(), due],
        vec![first(), refused, claimed],
    ] {
        let judged = judge(&case(&[1]), &receipts);
        assert_eq!(judged.step, Step::Hold(Hold::BeingSent), "{receipts:?}");
    }
}

#[test]
fn what_is_not_known_is_not_sent() {
    // At most once, and its worker is gone.
    let unclear = walked(&[(1, Mark::Unclear)], &[]);
    let judged = judge(&case(&[1]), &[first(), unclear]);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Unclear);
    assert_eq!(judged.step, Step::Nothing);
    let intended = Receipt {
        intended: BTreeSet::from([DeviceHash(1)]),
        ..walked(&[], &[])
    };
    let judged = judge(&case(&[1]), &[first(), intended]);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Unclear);

    // The receipts have aged out, all of them or the one that would say.
    let judged = judge(&case(&[1]), &[]);
    assert_eq!(judged.step, Step::Hold(Hold::ReceiptsGone));
    let judged = judge(&case(&[1]), &[walked(&[(2, Mark::Accepted)], &[])]);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Unknown);
    assert_eq!(judged.step, Step::Hold(Hold::ReceiptsGone));

    // The letter was stored and its worker died before the mark; then the task expired.
    let judged = judge(&case(&[1]), &[first(), walked(&[(2, Mark::Accepted)], &[])]);
    assert_eq!(judged.fates[&DeviceHash(1)], Fate::Open);
}

fn dead() -> [Receipt; 4] {
    let walking = Receipt {
        lines: vec![line(3, Mark::Accepted), line(4, Mark::Later)],
        low: Some(DeviceHash(3)),
        above: BTreeSet::from([DeviceHash(4), DeviceHash(9)]),
        later: later(&[(4, -50)]),
        ..first()
    };
    let claimed = Receipt {
        claim: claim(1, 5),
        lines: Vec::new(),
        claims_without_mark: 5,
        ..walking.clone()
    };
    let closed = Receipt {
        claim: claim(1, 5),
        rest: Some(Mark::Dead),
        ..walked(&[(4, Mark::Dead)], &[])
    };
    [first(), walking, claimed, closed]
}

#[test]
fn a_poisoned_task_goes_on_where_it_stood() {
    let judged = judge(&poison(&[]), &dead());
    assert!(judged.has_rest);
    let receipt = appended(&judged);
    assert_eq!((receipt.low, receipt.rest), (Some(DeviceHash(3)), None));
    assert_eq!(
        receipt.above,
        BTreeSet::from([DeviceHash(4), DeviceHash(9)])
    );
    assert_eq!(receipt.later.keys().collect::<Vec<_>>(), [&DeviceHash(4)]);
    assert_eq!(receipt.claims_without_mark, 0);
    assert_eq!((receipt.claim.pass, receipt.claim.delivered), (3, 0));

    // Once is enough: begun, and then done.
    let begun = [&dead()[..], std::slice::from_ref(receipt)].concat();
    assert_eq!(judge(&poison(&[]), &begun).step, Step::Publish(4));
    let done = Receipt {
        claim: claim(4, 1),
        ..walked(&[(4, Mark::Accepted), (5, Mark::Accepted)], &[])
    };
    let done = [&begun[..], &[done]].concat();
    assert_eq!(judge(&poison(&[]), &done).step, Step::Nothing);
}

#[test]
fn a_task_that_dies_again_goes_on_where_it_stood_then() {
    let revived = appended(&judge(&poison(&[]), &dead())).clone();
    let further = Receipt {
        claim: claim(4, 5),
        lines: vec![line(4, Mark::Accepted)],
        low: Some(DeviceHash(7)),
        above: BTreeSet::from([DeviceHash(9)]),
        later: BTreeMap::new(),
        ..revived.clone()
    };
    let closed = Receipt {
        claim: claim(4, 5),
        rest: Some(Mark::Dead),
        ..walked(&[], &[])
    };
    let receipts = [&dead()[..], &[revived, further, closed]].concat();
    let judged = judge(&poison(&[]), &receipts);
    let receipt = appended(&judged);
    assert_eq!(receipt.low, Some(DeviceHash(7)));
    assert!(receipt.later.is_empty(), "the waiting one was accepted");
}

#[test]
fn a_device_of_a_poisoned_task_is_replayed_without_its_task_and_both_meet() {
    let mut receipts = dead().to_vec();
    receipts[1].lines.push(line(2, Mark::Refused));
    let judged = judge(&case(&[2]), &receipts);
    assert!(!judged.has_rest);
    let alone = appended(&judged).clone();
    assert_eq!((alone.low, alone.rest), (None, Some(Mark::Dead)));
    assert_eq!(alone.later.keys().collect::<Vec<_>>(), [&DeviceHash(2)]);

    receipts.push(alone);
    let judged = judge(&poison(&[]), &receipts);
    let both = appended(&judged);
    assert_eq!(both.low, Some(DeviceHash(3)));
    let waiting: Vec<_> = both.later.keys().copied().collect();
    assert_eq!(waiting, [DeviceHash(2), DeviceHash(4)]);
}

#[test]
fn a_poisoned_task_whose_receipts_have_aged_out_stays_dead() {
    let judged = judge(&poison(&[]), &dead()[3..]);
    assert_eq!(judged.step, Step::Hold(Hold::ReceiptsGone));
    // While it is being given up, it is somebody's.
    let judged = judge(&poison(&[2]), &dead()[..3]);
    assert_eq!(judged.step, Step::Hold(Hold::BeingSent));
}

#[test]
fn a_task_message_that_could_not_be_read_is_published_as_a_later_pass() {
    let unread = |pass| Case {
        unread: Some(pass),
        ..case(&[])
    };
    assert_eq!(judge(&unread(1), &[]).step, Step::Publish(2));
    let gone = judge(&unread(2), &[]);
    assert_eq!(gone.step, Step::Hold(Hold::ReceiptsGone));
    let woken = [first(), walked(&[(1, Mark::Later)], &[(1, -50)])];
    let judged = judge(&unread(2), &woken);
    assert_eq!(appended(&judged).later.len(), 1);
    assert_eq!(judge(&unread(1), &woken).step, Step::Nothing);
}
