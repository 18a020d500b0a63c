//! Where answers are sent is not checked: within one account a fetcher can make the server store
//! them anywhere. In an account of its own it works all the same, and cannot.

use fanfare_nats::Broker;
use fanfare_nats::permissions::{Role, isolated_api, isolated_with};
use fanfare_nats_server::Server;

use super::line::{Heard, Line};
use super::{
    connect, connect_with, furnished, options, password, quoted, scope, start, topology, work,
};

/// Where a fetcher has nothing to say, nor to have anything said.
const ELSEWHERE: [&str; 4] = [
    "fanfare.task.ios-urgent.x.0",
    "fanfare.plan.x",
    "fanfare.receipt.x.ios-urgent.0",
    "$KV.fanfare_devices.d.victim",
];

async fn n_elsewhere(auditor: &Broker) -> u64 {
    let n_tasks_and_receipts = auditor.n_messages().await.unwrap();
    n_tasks_and_receipts + u64::try_from(auditor.n_devices().await.unwrap()).unwrap()
}

/// Asks what a fetcher may ask, and has the answers sent elsewhere.
async fn trick(server: &Server, api: &str) {
    let fetcher = Role::Fetcher;
    let mut line = Line::connect(&server.url(), fetcher, &password(fetcher)).await;
    for elsewhere in ELSEWHERE {
        for subject in [
            format!("{api}.STREAM.INFO.FANFARE_EVENTS"),
            "$KV.fanfare_control.cursor.usgs.0".to_owned(),
        ] {
            let heard = line.ask_for(&subject, elsewhere).await;
            assert_eq!(heard, Heard::Nothing, "{subject} {elsewhere}");
        }
    }
}

#[tokio::test]
async fn in_one_account_an_answer_is_stored_wherever_a_fetcher_has_it_sent() {
    let server = furnished().await;
    let (auditor, _) = connect(&server, Role::Auditor).await;
    assert_eq!(n_elsewhere(&auditor).await, 0);
    trick(&server, "$JS.API").await;
    let all = super::super::support::eventually(async || match n_elsewhere(&auditor).await {
        7 => Ok(()), // Of two documents of one device the last is kept.
        n => Err(n),
    });
    all.await;
}

#[tokio::test]
async fn in_an_account_of_its_own_a_fetcher_works_and_has_nothing_stored_elsewhere() {
    let server = start(isolated_with(&scope(), quoted)).await;
    let (owner, _) = connect(&server, Role::Owner).await;
    owner.ensure(&topology()).await.unwrap();
    let mut fetcher = options(&server, Role::Fetcher);
    fetcher.api_prefix = Some(isolated_api(&scope()));
    let (fetcher, metrics) = connect_with(fetcher).await;
    let seen = fetcher.verify(&topology().seen_by(Role::Fetcher)).await;
    assert!(seen.is_empty(), "{seen:?}");
    work::fetch(&fetcher).await;
    // Operators find it all the same.
    let seen = work::seen(&fetcher, Role::Fetcher);
    let mut operator = Line::connect(&server.url(), Role::Ops, &password(Role::Ops)).await;
    for subject in [
        "fanfare.ctl.fetcher.n1.status",
        "$SRV.PING",
        "$SRV.INFO.fanfare-fetcher",
        "$SRV.STATS.fanfare-fetcher.n1",
    ] {
        operator.ask_until_answered(subject).await;
    }
    drop(seen);
    assert_eq!(metrics.violations.get(), 0);
    let (auditor, _) = connect(&server, Role::Auditor).await;
    assert_eq!(auditor.standings().await.unwrap().events, (1, 1));

    trick(&server, &isolated_api(&scope())).await;
    // What the tricks asked for was done: the cursor was written behind the fetcher's own.
    fetcher.control_get("cursor.usgs.0").await.unwrap().unwrap();
    assert_eq!(n_elsewhere(&auditor).await, 0);
}
