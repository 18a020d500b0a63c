//! An alert behind a storm of bulk events.

use fanfare_nats::Urgency;
use fanfare_nats::testing::eventually;

use crate::stage::{GOOD, Stage};

const N_BULK: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_planned_before_a_storm_of_bulk_events_that_came_first() {
    let stage = Stage::with_devices(1).await;
    stage.publish_many(GOOD, N_BULK, Urgency::Bulk).await;
    let alerts = [
        stage.publish(GOOD, "first alert", Urgency::Urgent).await,
        stage.publish(GOOD, "second alert", Urgency::Urgent).await,
    ];
    let running = stage.start().await;
    eventually(async || stage.requests(GOOD).len() >= N_BULK + alerts.len()).await;
    let order = stage.requests(GOOD);
    for alert in &alerts {
        let is_it = |it: &&_| Stage::is_of(it, alert);
        let n_before = order.iter().take_while(|it| !is_it(it)).count();
        println!("an alert was sent after {n_before} of {N_BULK} bulk events");
        assert!(n_before < N_BULK / 8, "it had to wait");
    }
    // Their turn came as well, and found everything done.
    eventually(async || stage.n_unsettled().await == 0).await;
    assert_eq!(stage.metrics.planned_ahead.get(), 2);
    assert_eq!(stage.metrics.plans_found.get(), 2, "in their turn");
    assert_eq!(stage.metrics.planned.get(), N_BULK as u64 + 2);
    assert_eq!(stage.requests(GOOD).len(), N_BULK + 2, "each once");
    stage.end(running).await;
}
