//! From the feed to the push, with two of everything.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_tests::eventually::at_least;
use fanfare_tests::{Pipeline, Process, Registrations, Setup, eventually};

use crate::support::{many, sends_in_flight};

const QUAKES: &str = "/quakes/all_day.geojson";

/// Both fetchers know what was there before, and listen.
async fn fetchers(pipeline: &Pipeline) -> Vec<Process> {
    let mut fetchers = Vec::new();
    for node in ["f1", "f2"] {
        fetchers.push(pipeline.role("fetcher", node).await);
    }
    for fetcher in &fetchers {
        eventually("it has polled", async || {
            let is_polled = fetcher.metric("fanfare_source_polls_total").await > 0.0;
            let is_open = fetcher.metric("fanfare_source_connected").await > 0.0;
            if is_polled && is_open {
                Ok(())
            } else {
                Err(fetcher.lines().join("\n"))
            }
        })
        .await;
    }
    fetchers
}

/// New quakes that the feed has shown since it began, revisions left out.
fn n_quakes(pipeline: &Pipeline) -> u64 {
    let emissions = pipeline.sim.emissions();
    let new = emissions.iter().filter(|it| it.revision == 0);
    new.map(|it| it.id.as_str()).collect::<BTreeSet<_>>().len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quake_seen_over_rest_and_websocket_by_two_fetchers_is_pushed_once_whoever_is_killed() {
    let setup = Setup {
        latency: Duration::from_millis(40),
        concurrency: 32,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(setup).await;
    let (api_process, api) = pipeline.api().await;
    let mut registrations = Registrations::default();
    api.put_all(&many(600, &["quakes.>"], &mut registrations))
        .await;
    let fetchers = fetchers(&pipeline).await;
    let killed = pipeline.role("notifier", "n1").await;
    let survivor = pipeline.role("notifier", "n2").await;
    assert!(
        pipeline.stored_events().await.is_empty(),
        "what was there before is no news"
    );

    assert!(pipeline.sim.advance_feed(QUAKES, 6));
    // The fault must bite: many sends of the one that dies are on their way.
    sends_in_flight(&killed).await;
    killed.kill().await;
    assert!(pipeline.sim.advance_feed(QUAKES, 4));
    eventually("the feed was seen", async || {
        at_least(
            pipeline.stored_events().await.len() as u64,
            n_quakes(&pipeline),
        )
    })
    .await;
    pipeline.settled().await;
    assert_eq!(
        pipeline.stored_events().await.len() as u64,
        n_quakes(&pipeline),
        "each quake once"
    );

    let audit = pipeline.audit(&registrations).await;
    println!("owed {}, repeated {}", audit.owed.len(), audit.repeated());
    audit.check(pipeline.window());
    let redelivered = pipeline.tasks_redelivered().await;
    assert!(
        redelivered > 0,
        "void: no task of the killed notifier came again"
    );
    for fetcher in fetchers {
        fetcher.drain(&[]).await;
    }
    survivor.drain(&[]).await;
    api_process.drain(&[]).await;
}
