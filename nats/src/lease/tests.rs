//! Never are there two holders, whatever the broker loses or delays and whoever freezes; and the
//! fine points of what an answer means.

mod world;

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tokio::time::Instant;

use self::world::World;
use super::machine::{Answer, Machine, Step};
use super::record::{Record, Seen};
use super::{Lost, Times, Vacancy};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn there_are_never_two_holders_and_the_lease_moves_on(seed: u64) {
        let mut world = World::new(seed, Times::SHIPPED);
        prop_assert_eq!(world.run(Duration::from_mins(30)), 0);
        let numbers = world.held.len();
        let nodes: std::collections::BTreeSet<_> = world.held.values().collect();
        prop_assert!(numbers > 3 && nodes.len() > 1, "held {} times by {:?}", numbers, nodes);
    }
}

/// The counterproof: were a holder to believe the broker's time to the end, or to count from the
/// answer, there would be two.
#[test]
fn a_holder_that_stops_too_late_is_caught_by_the_simulation() {
    let times = Times {
        stop_after: Times::SHIPPED.ttl + Duration::from_secs(2),
        ..Times::SHIPPED
    };
    let n_double: usize = (0..20)
        .map(|seed| World::new(seed, times).run(Duration::from_mins(30)))
        .sum();
    assert!(n_double > 0);
}

#[test]
fn a_renewal_whose_answer_was_lost_counts_from_its_first_try() {
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let nobody = |_: &Vacancy| Duration::ZERO;
    let mut machine = Machine::new(7, Times::SHIPPED, begun);
    assert_eq!(machine.step(at(0), nobody), Step::Read);
    machine.read(Some(Seen::NOTHING), at(0));
    let Step::Write(take) = machine.step(at(0), nobody) else {
        panic!("a vacancy is taken");
    };
    machine.wrote(Answer::Stored(5), at(0), at(1));
    assert_eq!(machine.held(), Some((5, at(16))));
    assert_eq!(take.expected, 0);

    assert_eq!(machine.step(at(1), nobody), Step::Wait(at(4)));
    let Step::Write(renewal) = machine.step(at(4), nobody) else {
        panic!("a renewal is due");
    };
    machine.wrote(Answer::Unknown, at(4), at(6));
    assert_eq!(
        machine.step(at(7), nobody),
        Step::Write(renewal),
        "the same"
    );
    machine.wrote(Answer::Exists, at(7), at(8));
    assert_eq!(machine.step(at(8), nobody), Step::Read);
    let record = Record {
        node: "n".to_owned(),
        host: String::new(),
        nonce: 7,
        n: renewal.n,
        number: renewal.number,
        since: Timestamp::UNIX_EPOCH,
    };
    let seen = |record: Record| Seen::Held {
        seq: 6,
        record: Some(record),
    };
    let mut fenced = machine.clone();
    machine.read(Some(seen(record.clone())), at(9));
    assert_eq!(machine.held(), Some((5, at(20))), "4 + 16");

    let other = Record { nonce: 8, ..record };
    fenced.read(Some(seen(other)), at(9));
    assert_eq!((fenced.held(), fenced.lost()), (None, Some(Lost::Fenced)));
}

#[test]
fn an_answer_that_waited_through_a_freeze_is_no_renewal() {
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let mut machine = Machine::new(7, Times::SHIPPED, begun);
    let nobody = |_: &Vacancy| Duration::ZERO;
    machine.read(Some(Seen::NOTHING), at(0));
    assert!(matches!(machine.step(at(0), nobody), Step::Write(_)));
    machine.wrote(Answer::Stored(5), at(0), at(0));
    assert!(matches!(machine.step(at(4), nobody), Step::Write(_)));
    machine.wrote(Answer::Stored(6), at(4), at(30));
    assert!(machine.expire(at(30)));
    assert_eq!(
        (machine.held(), machine.lost()),
        (None, Some(Lost::Expired))
    );
}
