//! Messages that are held, extended, settled and forgotten.

use std::time::Duration;

use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Event};
use tokio::time::Instant;

use super::support::{event, eventually, hasty, lane, plan, raw};

on_one_and_three!(
    an_event_is_taken_as_it_was_published_and_gone_once_acknowledged,
    a_message_handed_back_comes_again_at_once_with_a_greater_count,
    an_extended_message_stays_and_one_that_is_not_comes_again,
    a_forgotten_message_comes_again_and_a_dropped_one_is_counted,
    a_terminated_message_is_gone,
    each_lane_has_tasks_of_its_own_and_tells_its_epoch,
);

async fn taken(claims: &Claims) -> Message {
    eventually(async || claims.next().await.unwrap().ok_or("nothing")).await
}

async fn one_event(server: &TestServer) -> (Broker, Claims, Event) {
    let broker = hasty(server, "n1", &[lane("ios")]).await;
    let (claims, event) = published(&broker).await;
    assert_eq!(claims.ack_wait(), Duration::from_secs(2));
    (broker, claims, event)
}

async fn published(broker: &Broker) -> (Claims, Event) {
    let event = event("us1");
    broker.publish(&event, false).await.unwrap();
    (broker.event_claims().await.unwrap(), event)
}

/// Waits until the durable of events holds and expects nothing more.
async fn all_done(server: &TestServer) {
    let raw = raw(server).await;
    eventually(async || {
        let stream = raw.get_stream("FANFARE_EVENTS").await.unwrap();
        let info = stream.consumer_info("notifier").await.unwrap();
        let left = (info.num_ack_pending, info.num_pending);
        if left == (0, 0) { Ok(()) } else { Err(left) }
    })
    .await;
}

async fn an_event_is_taken_as_it_was_published_and_gone_once_acknowledged(server: TestServer) {
    let (broker, claims, event) = one_event(&server).await;
    let message = taken(&claims).await;
    assert_eq!(message.event(broker.names()).unwrap(), event);
    assert_eq!((message.delivered(), message.seq()), (1, 1));
    message.ack().await.unwrap();
    all_done(&server).await;
    assert!(claims.next().await.unwrap().is_none());
    assert_eq!(broker.metrics().redeliveries.get(), 0);
}

async fn a_message_handed_back_comes_again_at_once_with_a_greater_count(server: TestServer) {
    // As shipped: what comes again by itself comes much later.
    let broker = server.broker("n1").await;
    let (claims, event) = published(&broker).await;
    assert!(claims.ack_wait() >= Duration::from_secs(15));
    for delivered in 1..4 {
        let started = Instant::now();
        let message = taken(&claims).await;
        assert!(started.elapsed() < claims.ack_wait());
        assert_eq!(message.delivered(), delivered);
        message.nak(None).await;
    }
    let message = taken(&claims).await;
    assert_eq!(message.event(broker.names()).unwrap(), event);
    assert_eq!(broker.metrics().redeliveries.get(), 3);
    message.nak(Some(Duration::from_millis(500))).await;
    let started = Instant::now();
    let message = taken(&claims).await;
    assert!(
        started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    message.ack().await.unwrap();
    all_done(&server).await;
}

async fn an_extended_message_stays_and_one_that_is_not_comes_again(server: TestServer) {
    let (_broker, claims, _) = one_event(&server).await;
    let message = taken(&claims).await;
    let started = Instant::now();
    while started.elapsed() < claims.ack_wait() * 2 {
        // A pull waits for a second, half of what a message may lie.
        let extending = async {
            loop {
                message.extend().await;
                tokio::time::sleep(claims.ack_wait() / 10).await;
            }
        };
        tokio::select! {
            () = extending => {}
            next = claims.next() => assert!(
                next.unwrap().is_none(),
                "an extended message came again"
            ),
        }
    }
    let again = taken(&claims).await;
    assert_eq!(again.delivered(), 2);
    message.forget();
    again.ack().await.unwrap();
    all_done(&server).await;
}

async fn a_forgotten_message_comes_again_and_a_dropped_one_is_counted(server: TestServer) {
    let (broker, claims, _) = one_event(&server).await;
    taken(&claims).await.forget();
    let again = taken(&claims).await;
    assert_eq!(again.delivered(), 2);
    assert_eq!(broker.metrics().claims_unsettled.get(), 0);
    drop(again);
    assert_eq!(broker.metrics().claims_unsettled.get(), 1);
    let again = taken(&claims).await;
    assert_eq!(again.delivered(), 3);
    again.ack().await.unwrap();
    all_done(&server).await;
}

async fn a_terminated_message_is_gone(server: TestServer) {
    let (broker, claims, _) = one_event(&server).await;
    taken(&claims).await.terminate().await.unwrap();
    all_done(&server).await;
    assert!(claims.next().await.unwrap().is_none());
    assert_eq!(broker.metrics().claims_unsettled.get(), 0);
}

async fn each_lane_has_tasks_of_its_own_and_tells_its_epoch(server: TestServer) {
    let lanes = [lane("ios"), lane("android")];
    let broker = hasty(&server, "n1", &lanes).await;
    let plan = plan("us1", &[("ios", 1), ("android", 501)]);
    broker.commit(&plan).await.unwrap();
    let mut tasks = Vec::new();
    for (lane, n) in lanes.iter().zip([1, 2]) {
        let claims = broker.task_claims(lane).await.unwrap();
        assert_eq!(claims.epoch(), 1);
        for _ in 0..n {
            let message = taken(&claims).await;
            let (task, pass) = message.task(broker.names()).unwrap();
            assert_eq!((&task.lane, pass), (lane, 1));
            assert_eq!(message.event_id(broker.names()), Some(plan.event.clone()));
            tasks.push(task);
            message.ack().await.unwrap();
        }
        assert!(claims.next().await.unwrap().is_none());
    }
    tasks.sort_by_key(|it| (it.lane.clone(), it.range.index()));
    assert_eq!(tasks, plan.tasks().collect::<Vec<_>>());
    assert!(
        broker.task_claims(&lane("web")).await.is_err(),
        "a lane that nobody declared"
    );
}
