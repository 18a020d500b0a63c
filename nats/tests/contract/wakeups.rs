//! Wake-ups fire the next pass of a task into its lane.

use std::time::Duration;

use fanfare_nats::testing::TestServer;

use super::support::{eventually, hasty, lane, now, plan, raw, strike, subjects};

on_one_and_three!(
    a_wake_up_fires_its_pass_into_the_lane_and_storing_it_twice_is_harmless,
    a_wake_up_that_was_due_while_the_broker_was_away_fires_after_it,
);

async fn a_wake_up_fires_its_pass_into_the_lane_and_storing_it_twice_is_harmless(
    server: TestServer,
) {
    let lanes = [lane("ios"), lane("android")];
    let broker = hasty(&server, "n1", &lanes).await;
    let task = plan("us1", &[("ios", 1)]).tasks().next().unwrap();
    let claims = broker.task_claims(&lanes[0]).await.unwrap();
    let due = now() + Duration::from_millis(1500);
    for _ in 0..2 {
        broker.wake_up(&task, 2, due, now()).await.unwrap();
    }
    let message = eventually(async || claims.next().await.unwrap().ok_or("nothing")).await;
    let late = now().duration_since(due);
    assert!(!late.is_negative(), "fired {late} before it was due");
    assert_eq!(message.task(broker.names()).unwrap(), (task, 2));
    message.ack().await.unwrap();
    assert!(claims.next().await.unwrap().is_none(), "it fired twice");
    let other = broker.task_claims(&lanes[1]).await.unwrap();
    assert!(
        other.next().await.unwrap().is_none(),
        "it fired into another lane"
    );
    let raw = raw(&server).await;
    assert!(
        subjects(&raw, "FANFARE_TASKS", "fanfare.later.>")
            .await
            .is_empty()
    );
}

async fn a_wake_up_that_was_due_while_the_broker_was_away_fires_after_it(mut server: TestServer) {
    let broker = hasty(&server, "n1", &[lane("ios")]).await;
    let task = plan("us1", &[("ios", 1)]).tasks().next().unwrap();
    let due = now() + Duration::from_millis(500);
    broker.wake_up(&task, 2, due, now()).await.unwrap();
    strike(&mut server, "FANFARE_TASKS").await;
    let message = eventually(async || {
        let claims = broker
            .task_claims(&lane("ios"))
            .await
            .map_err(|it| it.to_string())?;
        claims
            .next()
            .await
            .map_err(|it| it.to_string())?
            .ok_or("nothing".to_owned())
    })
    .await;
    assert_eq!(message.task(broker.names()).unwrap(), (task, 2));
    eventually(async || {
        let again = broker.metrics().reconnects.get() + broker.metrics().publish_retries.get();
        if again > 0 || server.replicas() == 3 {
            Ok(())
        } else {
            Err("the kill did not bite")
        }
    })
    .await;
    message.forget();
}
