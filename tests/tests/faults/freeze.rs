//! A process that stands still for longer than its work may lie.

use fanfare_nats_server::process::Signal;
use fanfare_tests::crowd::sends_in_flight;
use fanfare_tests::eventually;

use crate::support::{Stage, setup};

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_was_frozen_for_longer_than_ack_wait_is_fenced_when_it_wakes() {
    let stage = Stage::set(setup(), 1500).await;
    let frozen = stage.pipeline.role("notifier", "n1").await;
    stage.api.post("e-1", &["all"]).await;
    sends_in_flight(&frozen).await;
    frozen.signal(Signal::Stop);
    let other = stage.pipeline.role("notifier", "n2").await;
    stage.pushed(1500).await;
    frozen.signal(Signal::Continue);
    eventually("it hears that its tasks are another's", async || {
        let n = frozen.metric("fanfare_fenced_claims_total").await;
        if n > 0.0 { Ok(()) } else { Err(n) }
    })
    .await;
    stage.rest(1500).await;
    let redelivered = stage.pipeline.tasks_redelivered().await;
    assert!(redelivered > 0, "void: no task came again");
    let window = stage.pipeline.window();
    stage.judge(window, vec![frozen, other]).await;
}
