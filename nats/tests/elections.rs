//! Leaders that die and freeze under load, on three servers: nothing that was acknowledged is lost,
//! and nothing is done twice that is to be done once.
//!
//! `cargo run --release -p fanfare-nats --example elections` does the same for longer, with more
//! kinds of faults.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

#[path = "elections/suite.rs"]
mod suite;

use std::time::Duration;

use fanfare_nats_server::Options;
use suite::{Fault, Order, Report, run};

async fn one(fault: &str) -> Report {
    let order = Order {
        seed: 1,
        faults: vec![Fault::parse(fault).unwrap()],
        n_faults: 1,
        held: Duration::from_secs(12),
        time: Duration::from_mins(5),
    };
    let report = Box::pin(run(&Options::ephemeral(), &order, |_, _| {})).await;
    println!("{}\n{}", suite::COLUMNS, report.row());
    report
}

/// Nothing contradicts a protocol, and the fault was felt.
#[track_caller]
fn check(report: &Report) {
    assert_eq!(report.findings(), Vec::<String>::new());
    let (streams, consumers) = report.elections;
    // Those of the start, of the gathering, and of the fault.
    assert!(streams > 10 && consumers > 6, "{:?}", report.elections);
    assert!(
        report.unknown[2] + report.unknown[3] > 0,
        "{:?}",
        report.unknown
    );
    let came_early = report.figure("in hand", "extended, early");
    assert_eq!(came_early, 0, "what was extended came before its time");
}

#[tokio::test]
async fn nothing_is_lost_or_done_twice_when_the_leader_of_everything_is_killed() {
    check(&one("kill").await);
}

#[tokio::test]
async fn nothing_is_lost_or_done_twice_when_the_leader_of_everything_freezes() {
    check(&one("freeze").await);
}

#[tokio::test]
async fn a_plan_is_stored_whole_when_its_leader_hands_over_at_any_of_its_messages() {
    let report = suite::hand_over(&Options::ephemeral()).await;
    println!("{}", report.row());
    assert_eq!(report.findings(), Vec::<String>::new());
    let n_anew = report.figure("plans", "begun anew");
    assert!(n_anew > 0, "no new leader got the rest of a batch");
}

#[tokio::test]
async fn what_was_refused_as_in_flight_and_then_lost_is_asked_for_again() {
    let report = suite::in_flight(&Options::ephemeral()).await;
    println!("{}", report.row());
    assert_eq!(report.findings(), Vec::<String>::new());
    // Whoever takes the refusal for an acknowledgement loses the event: the fault is real.
    let lost = report.figure("in flight", "of these lost");
    assert!(lost > 0, "nothing that was in flight was lost");
}
