//! Claims against claims, and receipts there and back.

use super::*;

fn claim(epoch: u64, pass: u32, delivered: u64, nonce: u64) -> Claim {
    Claim {
        epoch,
        pass,
        message: 0,
        delivered,
        nonce,
    }
}

#[test]
fn a_second_message_of_the_same_pass_is_obsolete_however_often_it_was_delivered() {
    let of = |message, pass, delivered| Claim {
        message,
        ..claim(1, pass, delivered, delivered)
    };
    let recorded = Some(of(40, 2, 1));
    check(of(41, 2, 5), recorded, Verdict::Obsolete);
    check(of(40, 2, 2), recorded, Verdict::Take);
    check(of(41, 3, 1), recorded, Verdict::Take);
}

#[track_caller]
fn check(mine: Claim, recorded: Option<Claim>, expected: Verdict) {
    assert_eq!(mine.against(recorded.as_ref()), expected);
}

#[test]
fn a_claim_counts_only_if_it_is_strictly_greater_or_our_own() {
    check(claim(1, 1, 1, 7), None, Verdict::Take);
    check(claim(1, 1, 2, 7), Some(claim(1, 1, 1, 8)), Verdict::Take);
    check(claim(1, 1, 1, 7), Some(claim(1, 1, 1, 7)), Verdict::Own);
    check(claim(1, 1, 1, 7), Some(claim(1, 1, 1, 8)), Verdict::Refused);
    check(claim(1, 1, 1, 7), Some(claim(1, 1, 2, 8)), Verdict::Refused);
    check(claim(1, 2, 1, 7), Some(claim(1, 1, 9, 8)), Verdict::Take);
    check(
        claim(1, 1, 9, 7),
        Some(claim(1, 2, 1, 8)),
        Verdict::Obsolete,
    );
    check(claim(2, 1, 1, 7), Some(claim(1, 2, 9, 8)), Verdict::Take);
    check(claim(1, 9, 9, 7), Some(claim(2, 1, 1, 8)), Verdict::Refused);
}

#[test]
fn a_receipt_is_read_back_as_written() {
    let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
    let receipt = Receipt {
        low: None,
        above: BTreeSet::from([DeviceHash(5)]),
        later: BTreeMap::from([(
            DeviceHash(9),
            Later {
                attempts: 2,
                due: at,
            },
        )]),
        intended: BTreeSet::from([DeviceHash(7), DeviceHash(8)]),
        is_handed_back: true,
        lines: vec![Line {
            device: DeviceHash(5),
            mark: Mark::Accepted,
            attempt: 1,
            reason: Some("200".into()),
            at,
        }],
        ..Receipt::first(claim(1, 2, 3, u64::MAX), "n1", at)
    };
    assert_eq!(Receipt::decode(&receipt.encode()).unwrap(), receipt);
    assert!(!receipt.is_finished());
}
