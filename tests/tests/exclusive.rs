//! One of each fault for an exclusive source, with real processes and a publisher that notes who is
//! connected. The figures of many are in `docs/exclusive-sources.md`.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "support functions of tests"
)]

use fanfare_tests::exclusive::{Fault, Round, Stage};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// A busy machine's slack on top of what is promised; less than a lease takes to expire, which a fetcher
/// that lets go does not wait for.
const SLACK_MS: i64 = 4000;

async fn one_of_each(replicas: usize, faults: &[Fault]) {
    let mut stage = Stage::set(faults.len(), replicas, None).await;
    let mut chance = StdRng::seed_from_u64(7);
    for round in stage.round(faults, &mut chance).await {
        println!("{round:?}");
        check(&round);
    }
    operate(&stage, faults.len()).await;
    let judged = stage.strike().await;
    println!("{judged}");
    assert!(judged.owed > 50, "{judged}");
    assert_eq!((judged.lost, judged.repeated), (0, 0), "{judged}");
    // What was on its way when a lease ended: at most the batch in hand, `limits.in_flight`.
    assert!(judged.longest_late <= 16, "{judged}");
}

/// What an operator sees, and what is refused.
async fn operate(stage: &Stage, n_sources: usize) {
    let list = stage.command(&["leases", "list", "--json"]).await;
    assert_eq!(list.code, Some(0), "{}", list.printed);
    let lines = list.printed.lines();
    let leases: Vec<Value> = lines
        .filter_map(|it| serde_json::from_str(it).ok())
        .filter(|it: &Value| it["source"].is_string())
        .collect();
    assert_eq!(leases.len(), n_sources, "{}", list.printed);
    assert!(
        leases.iter().all(|it| it["holder"].is_string()),
        "{leases:?}"
    );

    let holder = leases[0]["holder"].as_str().unwrap();
    let wish = ["leases", "prefer", holder, "--for", "s0", "--lasting", "1h"];
    assert_eq!(stage.command(&wish).await.code, Some(0));
    let list = stage.command(&["leases", "list"]).await.printed;
    assert!(list.contains(&format!("{holder} until ")), "{list}");
    let forget = ["leases", "prefer", "--forget", "--for", "s0"];
    assert_eq!(stage.command(&forget).await.code, Some(0));

    for (wrong, why) in [
        (
            vec!["leases", "release", "nothing"],
            "nobody holds the lease",
        ),
        (vec!["leases", "prefer", "nobody"], "no fetcher is called"),
        (forget.to_vec(), "nothing is preferred"),
    ] {
        let refused = stage.command(&wrong).await;
        assert_eq!(refused.code, Some(1), "{wrong:?}: {}", refused.printed);
        assert!(refused.printed.contains(why), "{}", refused.printed);
    }
}

#[track_caller]
fn check(round: &Round) {
    assert!(round.answering_ms <= 2000, "{round:?}");
    // Nobody can close the connection of a process that is frozen; it does so when it wakes.
    if round.fault == Fault::Freeze {
        assert!(round.woken_ms <= 2000, "{round:?}");
    } else {
        assert!(round.double_ms <= 2000, "{round:?}");
    }
    let longest = match round.fault {
        Fault::Stop => 1000,
        Fault::Release => 5000,
        Fault::Kill | Fault::Freeze | Fault::Cut | Fault::Stall => 21_000,
    };
    assert!(round.takeover_ms <= longest + SLACK_MS, "{round:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server_another_fetcher_takes_over_and_never_two_read() {
    use Fault::{Cut, Freeze, Kill, Stall, Stop};
    one_of_each(1, &[Kill, Freeze, Cut, Stall, Stop]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_three_servers_another_fetcher_takes_over_and_never_two_read() {
    one_of_each(
        3,
        &[Fault::Kill, Fault::Freeze, Fault::Stop, Fault::Release],
    )
    .await;
}
