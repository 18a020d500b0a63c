//! A broker that is restarted, dies, or cannot write.

use std::time::Duration;

use fanfare_tests::crowd::sends_in_flight;
use fanfare_tests::fault::fill_disk;
use tokio::time::sleep;

use crate::support::{Stage, setup};

const N: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_one_that_is_restarted_lose_nothing() {
    let stage = Stage::set(setup(), N).await;
    let notifiers = [
        stage.pipeline.role("notifier", "n1").await,
        stage.pipeline.role("notifier", "n2").await,
    ];
    for (n, is_killed) in [(1, true), (2, false)] {
        stage.api.post(&format!("e-{n}"), &["all"]).await;
        for notifier in &notifiers {
            sends_in_flight(notifier).await;
        }
        let n_pushes = stage.pipeline.counts().deliveries;
        assert!(n_pushes < (n * N) as u64, "void: the fan-out is over");
        let mut server = stage.pipeline.server.lock().await;
        if is_killed {
            server.server().kill9().await.unwrap();
        } else {
            server.server().stop().await;
        }
        server.server().restart().await.unwrap();
        drop(server);
        stage.rest(n * N).await;
    }
    // Two faults hit two processes each.
    let window = stage.pipeline.window();
    stage.judge(4 * window, notifiers.into()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_disk_was_full_loses_nothing() {
    let stage = Stage::set(setup(), N).await;
    let notifier = stage.pipeline.role("notifier", "n1").await;
    stage.api.post("e-1", &["all"]).await;
    sends_in_flight(&notifier).await;
    let mut server = stage.pipeline.server.lock().await;
    fill_disk(&mut server, true);
    // Sending goes on until no more receipts can be written and the window is full.
    let mut before = u64::MAX;
    while before != stage.pipeline.counts().deliveries {
        before = stage.pipeline.counts().deliveries;
        sleep(Duration::from_secs(1)).await;
    }
    assert!(before < N as u64, "void: it went on as if nothing were");
    fill_disk(&mut server, false);
    // A stream that could not be written takes nothing more before a restart.
    server.server().restart().await.unwrap();
    drop(server);
    stage.rest(N).await;
    let window = stage.pipeline.window();
    stage.judge(window, vec![notifier]).await;
}
