//! Two machines and a witness, on a network that is made for it: a machine dies, the way between the
//! machines is cut, the broker that leads dies. The long campaign does the same by the score:
//! `docs/reliability-machines.md`.
#![expect(clippy::indexing_slicing, reason = "support functions of tests")]

use std::path::PathBuf;
use std::time::Duration;

use fanfare_tests::campaign::{Course, HOSTS, Kind, Outcome, Size, run_course};
use fanfare_tests::network::{self, Kind as Made};
use fanfare_tests::{Apps, Setup};

/// A small window, so that a surplus shows, and sends that take long enough to be hit.
fn course(nats: PathBuf, kinds: &[Kind]) -> Course {
    let setup = Setup {
        apps: Apps::Twins,
        latency: Duration::from_millis(150),
        jitter: Duration::from_millis(150),
        is_half_before: true,
        ack_wait: Some(Duration::from_secs(5)),
        concurrency: 24,
        ..Setup::default()
    };
    Course {
        kind: kinds[0],
        setup,
        size: Size {
            crowd: 300,
            backlog: 600,
        },
        seed: 1,
        nats,
        upgrade: None,
        former: None,
        calm: Duration::from_secs(2),
        time: Duration::from_mins(5),
        kinds: kinds.to_vec(),
        n_wanted: Some(kinds.len() as u64),
        keep: None,
    }
}

fn check(outcome: &Outcome, n: usize) {
    let row = &outcome.row;
    println!("{}", row.line());
    for (fault, stall) in outcome.faults.iter().zip(&outcome.stalls) {
        println!("{}: {:?}; {stall:?}", fault.what, fault.bite);
    }
    assert_eq!(outcome.faults.len(), n, "{}", row.note);
    assert_eq!(row.verdict, "ok", "{}", row.note);
    assert!(row.owed > 0 && row.lost == 0, "{}", row.note);
}

fn run(made: Made, kinds: &[Kind]) {
    // Before there is a network: it may have to be fetched.
    let course = course(network::nats_server(), kinds);
    let ended = network::run_on(made, &HOSTS, move |network| async move {
        Box::pin(run_course(&course, network)).await
    });
    match ended {
        Ok(outcome) => check(&outcome, kinds.len()),
        // The proxy's test shows the same.
        Err(why) => println!("skipped: no namespaces here: {why}"),
    }
}

#[test]
fn machine_way_and_leader_may_go_in_namespaces_and_nothing_is_lost() {
    run(Made::Namespaces, &[Kind::MachineA, Kind::Cut, Kind::Leader]);
}

#[test]
fn machine_and_way_may_go_behind_proxies_and_nothing_is_lost() {
    run(Made::Proxy, &[Kind::MachineB, Kind::Cut]);
}
