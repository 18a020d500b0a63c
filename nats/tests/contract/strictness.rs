//! What is no event and no task of ours is told apart, never guessed at.

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use fanfare_nats::claim::{Message, TakenEventError, TakenTaskError};
use fanfare_nats::consumer::Claims;
use fanfare_nats::testing::TestServer;

use super::support::{event, eventually, hasty, lane, plan, raw};

on_one_and_three!(
    bytes_that_are_no_event_are_told_apart,
    bytes_that_are_no_task_are_told_apart
);

async fn put(raw: &Context, subject: &str, headers: HeaderMap, payload: &[u8]) {
    let payload = payload.to_vec().into();
    let stored = raw
        .publish_with_headers(subject.to_owned(), headers, payload)
        .await;
    stored.unwrap().await.unwrap();
}

async fn taken(claims: &Claims) -> Message {
    eventually(async || claims.next().await.unwrap().ok_or("nothing")).await
}

async fn bytes_that_are_no_event_are_told_apart(server: TestServer) {
    let (broker, raw) = (hasty(&server, "n1", &[]).await, raw(&server).await);
    let event = event("us1");
    let subject = format!("fanfare.event.usgs.{}.first", event.screen());
    broker.publish(&event, false).await.unwrap();
    let stream = raw.get_stream("FANFARE_EVENTS").await.unwrap();
    let stored = stream
        .get_last_raw_message_by_subject(&subject)
        .await
        .unwrap();
    // The event's own headers without those of its publish: the copies are no retries.
    let mut headers = HeaderMap::new();
    for (name, values) in stored.headers.iter() {
        let is_own = !name.to_string().starts_with("Nats-");
        for value in values.iter().filter(|_| is_own) {
            headers.append(name.clone(), value.clone());
        }
    }
    let claims = broker.event_claims().await.unwrap();
    taken(&claims).await.ack().await.unwrap();
    let read = async |subject: &str, headers: HeaderMap, payload: &[u8]| {
        put(&raw, subject, headers, payload).await;
        let message = taken(&claims).await;
        let read = message.event(broker.names()).unwrap_err();
        assert_eq!(message.payload(), payload);
        message.terminate().await.unwrap();
        read
    };

    let garbage = read(&subject, HeaderMap::new(), b"garbage").await;
    assert!(matches!(garbage, TakenEventError::Decode(_)), "{garbage:?}");
    let other_payload = read(&subject, headers.clone(), b"[1, 2").await;
    assert!(
        matches!(other_payload, TakenEventError::Decode(_)),
        "{other_payload:?}"
    );
    let mut answer = headers.clone();
    answer.insert("Nats-Stream", "FANFARE_EVENTS");
    let answer = read(&subject, answer, &stored.payload).await;
    assert!(matches!(answer, TakenEventError::Decode(_)), "{answer:?}");
    assert!(format!("{answer:?}").contains("StoredAnswer"), "{answer:?}");
    let elsewhere = format!(
        "fanfare.event.usgs.{}.first",
        super::support::event("us2").screen()
    );
    let moved = read(&elsewhere, headers.clone(), &stored.payload).await;
    assert!(matches!(moved, TakenEventError::Mismatch), "{moved:?}");
    let misspelt = read("fanfare.event.usgs", headers, &stored.payload).await;
    assert!(matches!(misspelt, TakenEventError::Subject), "{misspelt:?}");
}

async fn bytes_that_are_no_task_are_told_apart(server: TestServer) {
    let (broker, raw) = (
        hasty(&server, "n1", &[lane("ios")]).await,
        raw(&server).await,
    );
    let plan = plan("us1", &[("ios", 1)]);
    let subject = format!("fanfare.task.ios-urgent.{}.0", plan.event);
    broker.commit(&plan).await.unwrap();
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    let message = taken(&claims).await;
    let task = message.payload().to_vec();
    message.ack().await.unwrap();
    let read = async |subject: &str, payload: &[u8]| {
        put(&raw, subject, HeaderMap::new(), payload).await;
        let message = taken(&claims).await;
        let read = message.task(broker.names()).unwrap_err();
        message.terminate().await.unwrap();
        read
    };

    let garbage = read(&subject, b"garbage").await;
    assert!(matches!(garbage, TakenTaskError::Decode(_)), "{garbage:?}");
    let newer = String::from_utf8(task.clone())
        .unwrap()
        .replace("\"schema\":1", "\"schema\":2");
    let newer = read(&subject, newer.as_bytes()).await;
    assert!(format!("{newer:?}").contains("Schema(2)"), "{newer:?}");
    let moved = read(&format!("fanfare.task.ios-urgent.{}.1", plan.event), &task).await;
    assert!(matches!(moved, TakenTaskError::Mismatch), "{moved:?}");
    let misspelt = read("fanfare.task.ios-urgent.x.0", &task).await;
    assert!(matches!(misspelt, TakenTaskError::Subject), "{misspelt:?}");
}
