//! Urgent before bulk, an operator's pause, and rates.

#![expect(clippy::unwrap_used, reason = "support of tests")]

use std::time::Duration;

use fanfare_nats::testing::eventually;
use fanfare_nats::{AppName, Lane, Urgency};
use fanfare_notifier::Metrics;
use jiff::{Timestamp, ToSpan};

use crate::stage::{BAD, GOOD, Stage, repeated};

fn lane(app: &str, urgency: Urgency) -> Lane {
    Lane {
        app: AppName::parse(app).unwrap(),
        urgency,
    }
}

#[expect(clippy::disallowed_methods, reason = "a pause from now on")]
fn in_an_hour() -> Timestamp {
    Timestamp::now() + 1.hours()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_overtakes_a_bulk_fan_out_that_is_running() {
    let mut stage = Stage::with_devices(4000).await;
    stage.config.concurrency = 16;
    stage.config.window = 64;
    let running = stage.start().await;
    let bulk = stage.publish(GOOD, "bulk", Urgency::Bulk).await;
    eventually(async || stage.accepted(&bulk).len() >= 400).await;
    let other = stage.publish(BAD, "other", Urgency::Urgent).await;
    eventually(async || stage.accepted(&other).len() >= 100).await;
    // The other app sends as much as it may, so that the bulk lane is all that its own app's urgent
    // lane could take places from.
    let own = stage.publish(GOOD, "own", Urgency::Urgent).await;
    eventually(async || stage.accepted(&own).len() >= 100).await;
    for (alert, whose) in [(other, "another"), (own, "the same")] {
        let n_bulk = stage.before(&bulk, &alert, 100);
        println!("100 devices of {whose} app got an alert after {n_bulk} bulk pushes");
        // Six places in flight for bulk to two for the alert, at the worst.
        assert!(n_bulk < 600, "the alert waited for {n_bulk} bulk pushes");
    }
    stage.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_lane_sends_nothing_until_it_is_resumed_also_after_a_restart() {
    let stage = Stage::with_devices(3000).await;
    let running = stage.start().await;
    let bulk = lane(GOOD, Urgency::Bulk);
    let event = stage.publish(GOOD, "bulk", Urgency::Bulk).await;
    eventually(async || !stage.accepted(&event).is_empty()).await;
    stage.broker.pause_lane(&bulk, in_an_hour()).await.unwrap();
    let lanes = stage.broker.lanes().await.unwrap();
    let paused: Vec<_> = lanes
        .iter()
        .filter(|it| it.paused_until.is_some())
        .collect();
    assert!(paused.len() == 1 && paused[0].lane == bulk, "{lanes:?}");
    let in_hand = async || {
        let lanes = stage.broker.lanes().await.unwrap();
        let it = lanes.into_iter().find(|it| it.lane == bulk).unwrap();
        it.n_in_hand
    };
    eventually(async || stage.metrics.lanes.paused(&bulk).get() == 1).await;
    running.end().await;
    let n_then = stage.accepted(&event).len();
    assert!(n_then < 3000, "void: it was through before the pause");
    let running = stage.start().await;
    let other = stage.publish(GOOD, "urgent", Urgency::Urgent).await;
    eventually(async || stage.accepted(&other).len() == 3000).await;
    assert_eq!(stage.accepted(&event).len(), n_then, "nothing while paused");
    stage.broker.resume_lane(&bulk).await.unwrap();
    eventually(async || stage.accepted(&event).len() == 3000).await;
    eventually(async || in_hand().await == 0).await;
    assert!(repeated(&stage.accepted(&event)).is_empty());
    stage.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_overtakes_the_bulk_fan_out_of_an_app_with_a_rate() {
    let mut stage = Stage::with_devices(2000).await;
    stage.app_mut(GOOD).rate = Some(200);
    let running = stage.start().await;
    let bulk = stage.publish(GOOD, "bulk", Urgency::Bulk).await;
    eventually(async || stage.accepted(&bulk).len() >= 100).await;
    let alert = stage.publish(GOOD, "alert", Urgency::Urgent).await;
    eventually(async || stage.accepted(&alert).len() >= 100).await;
    let n_bulk = stage.before(&bulk, &alert, 100);
    println!("100 devices got an alert after {n_bulk} bulk pushes");
    // Those of the time in which it was planned.
    assert!(n_bulk < 300, "the alert waited for {n_bulk} bulk pushes");
    stage.end(running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_notifiers_together_keep_to_the_rate_of_an_app() {
    let mut stage = Stage::with_devices(1200).await;
    stage.app_mut(GOOD).rate = Some(200);
    let first = stage.start().await;
    let others = Metrics::default();
    let second = stage.start_other(&others).await;
    // Both have read that there are two, and taken their parts.
    let knows = |it: &Metrics| it.lanes.members.get() == 2;
    eventually(async || knows(&stage.metrics) && knows(&others)).await;
    let took = stage.time(GOOD, "limited", 1200).await;
    let requests = stage.requests(GOOD);
    let mut most = 0;
    for (at, begin) in requests.iter().enumerate() {
        let within = requests[at..].iter();
        most = most.max(
            within
                .take_while(|it| it.at_us < begin.at_us + 1_000_000)
                .count(),
        );
    }
    println!("1200 devices at 200 a second took {took:?}, at most {most} in a second");
    assert!(most <= 240, "{most}");
    // By the part of one alone it would be twelve.
    assert!(took < Duration::from_secs(11), "{took:?}");
    first.end().await;
    assert_eq!(
        stage.broker.members("notifier").await.unwrap().len(),
        1,
        "it said goodbye"
    );
    stage.end(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_without_a_durable_cannot_be_paused() {
    let stage = Stage::with_devices(1).await;
    let unknown = lane("nobody", Urgency::Bulk);
    let refused = stage.broker.pause_lane(&unknown, in_an_hour()).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "there is no lane nobody-bulk"
    );
    stage.sim.stop().await;
}
