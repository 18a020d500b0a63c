//! Dead letters.

use fanfare_nats::dead::{DeadLetter, DeadReason};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{DeviceHash, Event};

use super::support::{event, now, raw, state};

on_one_and_three!(a_dead_letter_is_kept_with_what_it_says_and_burying_it_twice_is_harmless);

fn letter(event: &Event) -> DeadLetter {
    DeadLetter {
        reason: DeadReason::Refused,
        event: event.id().to_string(),
        event_seq: 7,
        app: "ios".to_owned(),
        device: DeviceHash::of("phone-1").to_string(),
        attempts: 3,
        error: "BadDeviceToken".to_owned(),
        at: now(),
        payload: None,
    }
}

async fn a_dead_letter_is_kept_with_what_it_says_and_burying_it_twice_is_harmless(
    server: TestServer,
) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let (event, hash) = (event("us1"), DeviceHash::of("phone-1"));
    let letter = letter(&event);
    broker.bury(&letter).await.unwrap();
    broker.bury(&letter).await.unwrap();
    assert_eq!(state(&raw, "FANFARE_DEAD").await.messages, 1);

    let subject = format!("fanfare.dead.refused.{}.ios.{hash}", event.id());
    let stream = raw.get_stream("FANFARE_DEAD").await.unwrap();
    let stored = stream
        .get_last_raw_message_by_subject(&subject)
        .await
        .unwrap();
    let read: DeadLetter = serde_json::from_slice(&stored.payload).unwrap();
    assert_eq!((read.error, read.attempts), (letter.error, 3));

    // What cannot even be named is kept too.
    let unnamed = DeadLetter {
        reason: DeadReason::Invalid,
        event: "?".to_owned(),
        app: "?".to_owned(),
        device: "?".to_owned(),
        payload: Some("Z2FyYmFnZQ==".to_owned()),
        ..self::letter(&event)
    };
    broker.bury(&unnamed).await.unwrap();
    assert_eq!(state(&raw, "FANFARE_DEAD").await.messages, 2);
}
