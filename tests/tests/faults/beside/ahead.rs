//! A notifier that is killed while it plans an alert before its turn.

use fanfare_tests::fault::CrashAt;
use futures::{StreamExt, stream};
use serde_json::json;

use crate::support::{Stage, died, setup};

const N_DEVICES: usize = 40;
/// What the alert would wait for.
const N_BULK: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_planned_before_its_turn_by_a_notifier_that_died_has_its_turn() {
    let stage = Stage::set(setup(), N_DEVICES).await;
    for (n, point) in ["ahead.begun", "ahead.planned"].into_iter().enumerate() {
        let api = &stage.api;
        stream::iter(0..N_BULK)
            .for_each_concurrent(16, |it| async move {
                let id = format!("bulk-{n}-{it}");
                let bulk =
                    json!({"id": id, "topics": ["nobody"], "title": "x", "priority": "bulk"});
                api.post_document(&bulk).await;
            })
            .await;
        api.post(&format!("alert-{n}"), &["all"]).await;
        let crash = CrashAt::new(point, 1);
        let killed = stage
            .pipeline
            .begin("notifier", &format!("k{n}"), &[crash.variable()]);
        died(killed, &crash).await;
        // Nobody is told of it again.
        let successor = stage.pipeline.role("notifier", &format!("s{n}")).await;
        stage.rest((n + 1) * N_DEVICES).await;
        let n_ahead = successor.metric("fanfare_events_planned_ahead_total").await;
        assert!(n_ahead < 0.5, "{point}: {n_ahead}");
        let n_found = successor.metric("fanfare_plans_found_total").await;
        // Those of bulk events that were in hand may be among them.
        assert!(n_found > 0.5 || point == "ahead.begun", "{n_found}");
        successor.drain(&["WARN", "ERROR"]).await;
    }
    let most = 2 * stage.pipeline.window();
    stage.judge(most, Vec::new()).await;
}
