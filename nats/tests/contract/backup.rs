//! Streams are copied out while they are in use, and come back with consumers and wake-ups.

use std::time::Duration;

use fanfare_nats::testing::TestServer;

use super::support::{event, eventually, hasty, lane, now, plan, raw, state};

on_one_and_three!(
    a_copy_brings_back_messages_consumers_and_wake_ups,
    a_copy_is_never_restored_over_what_is_there,
);

async fn a_copy_brings_back_messages_consumers_and_wake_ups(server: TestServer) {
    let lanes = [lane("ios")];
    let broker = hasty(&server, "n1", &lanes).await;
    broker.publish(&event("done"), false).await.unwrap();
    let events = broker.event_claims().await.unwrap();
    events.next().await.unwrap().unwrap().ack().await.unwrap();
    let plan = plan("done", &[("ios", 1)]);
    broker.commit(&plan).await.unwrap();
    let tasks = broker.task_claims(&lanes[0]).await.unwrap();
    let message = tasks.next().await.unwrap().unwrap();
    let (task, _) = message.task(broker.names()).unwrap();
    let due = now() + Duration::from_secs(3);
    broker.wake_up(&task, 2, due, now()).await.unwrap();
    message.ack().await.unwrap();
    broker.publish(&event("open"), false).await.unwrap();

    let mut copies = Vec::new();
    for name in broker.backup_order() {
        let mut bytes = Vec::new();
        let about = broker.back_up(&name, &mut bytes).await.unwrap();
        copies.push((name, about, bytes));
    }
    let raw = raw(&server).await;
    for (name, ..) in &copies {
        raw.delete_stream(name).await.unwrap();
    }
    for (name, about, bytes) in &copies {
        broker
            .restore(name, about, &mut bytes.as_slice())
            .await
            .unwrap();
    }

    assert_eq!(state(&raw, "FANFARE_EVENTS").await.messages, 2);
    let events = broker.event_claims().await.unwrap();
    let open = eventually(async || events.next().await.unwrap().ok_or("nothing")).await;
    assert_eq!(open.event(broker.names()).unwrap().item, "open");
    open.ack().await.unwrap();
    assert!(
        events.next().await.unwrap().is_none(),
        "what was settled stays so"
    );
    let tasks = broker.task_claims(&lanes[0]).await.unwrap();
    let woken = eventually(async || tasks.next().await.unwrap().ok_or("nothing")).await;
    assert_eq!(woken.task(broker.names()).unwrap(), (task, 2));
    assert!(
        !now().duration_since(due).is_negative(),
        "before it was due"
    );
    woken.ack().await.unwrap();
}

async fn a_copy_is_never_restored_over_what_is_there(server: TestServer) {
    let broker = hasty(&server, "n1", &[]).await;
    let mut bytes = Vec::new();
    let about = broker.back_up("FANFARE_EVENTS", &mut bytes).await.unwrap();
    broker.publish(&event("newer"), false).await.unwrap();
    let restored = broker
        .restore("FANFARE_EVENTS", &about, &mut bytes.as_slice())
        .await;
    let error = restored.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    let raw = raw(&server).await;
    assert_eq!(state(&raw, "FANFARE_EVENTS").await.messages, 1);
    assert!(broker.back_up("MISSING", &mut Vec::new()).await.is_err());
}
