//! The message that FCM gets, field by field.

use super::*;
use crate::provider::tests::{full, plain};

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000 - 90).unwrap()
}

fn json_of(what: &Notification) -> Value {
    serde_json::from_slice(&encode(what).unwrap().body("tok:en", now())).unwrap()
}

#[test]
fn every_field_has_its_place() {
    let screen = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        json_of(&full()),
        json!({"message": {
            "token": "tok:en",
            "notification": {
                "title": "M 6.1 Honshu", "body": "10 km deep",
                "image": "https://example.org/q/1.png",
            },
            "data": {
                "fanfare_event": "e1", "fanfare_screen": screen, "fanfare_level": "s6",
                "fanfare_url": "https://example.org/q/1", "fanfare_challenge": "nonce",
                "mag": "6.1", "net": "us",
            },
            "android": {
                "ttl": "90s", "priority": "high",
                "notification": {
                    "tag": screen, "sound": "chime.caf", "notification_count": 3,
                    "notification_priority": "PRIORITY_HIGH",
                },
            },
            "apns": {
                "headers": {
                    "apns-collapse-id": screen, "apns-expiration": "1800000000",
                    "apns-priority": "10",
                },
                "payload": {"aps": {
                    "sound": "chime.caf", "badge": 3, "thread-id": "quakes",
                    "interruption-level": "time-sensitive", "mutable-content": 1,
                }},
                "fcm_options": {"image": "https://example.org/q/1.png"},
            },
            "webpush": {
                "headers": {"TTL": "90", "Urgency": "high"},
                "notification": {"tag": screen},
                "fcm_options": {"link": "https://example.org/q/1"},
            },
        }})
    );
}

#[test]
fn a_plain_notification_carries_no_empty_fields() {
    let body = json_of(&plain());
    assert_eq!(
        body.pointer("/message/notification"),
        Some(&json!({"title": "M 6.1 Honshu"}))
    );
    assert_eq!(body.pointer("/message/apns/payload"), None);
    assert_eq!(body.pointer("/message/data/fanfare_url"), None);
}

#[test]
fn the_remaining_time_is_told_per_push_and_never_negative() {
    let prepared = encode(&plain()).unwrap();
    let ttl = |second: i64| -> Value {
        let now = Timestamp::from_second(second).unwrap();
        serde_json::from_slice::<Value>(&prepared.body("t", now)).unwrap()["message"]["android"]
            ["ttl"]
            .clone()
    };
    assert_eq!(ttl(1_799_999_999), "1s");
    assert_eq!(ttl(1_800_000_001), "0s");
    assert_eq!(ttl(0), "2419200s");
}

#[test]
fn bulk_is_normal_priority_everywhere() {
    let mut what = plain();
    what.urgency = Urgency::Bulk;
    let body = json_of(&what);
    assert_eq!(
        body.pointer("/message/android/priority"),
        Some(&json!("normal"))
    );
    assert_eq!(
        body.pointer("/message/apns/headers/apns-priority"),
        Some(&json!("5"))
    );
    assert_eq!(
        body.pointer("/message/webpush/headers/Urgency"),
        Some(&json!("normal"))
    );
}

#[test]
fn an_override_has_the_last_word() {
    let mut what = full();
    what.overrides.insert(
        "fcm".into(),
        json!({
            "android": {"ttl": "5s", "notification": {"channel_id": "quakes"}},
            "webpush": null,
            "data": {"extra": "1"},
        }),
    );
    let body = json_of(&what);
    assert_eq!(body.pointer("/message/android/ttl"), Some(&json!("5s")));
    assert_eq!(
        body.pointer("/message/android/notification/channel_id"),
        Some(&json!("quakes"))
    );
    assert_eq!(body.pointer("/message/webpush"), None);
    assert_eq!(body.pointer("/message/data/extra"), Some(&json!("1")));
    assert_eq!(body.pointer("/message/token"), Some(&json!("tok:en")));
}

#[track_caller]
fn check_refusal(patch: Value, expected: &str) {
    let mut what = plain();
    what.overrides.insert("fcm".into(), patch);
    assert_eq!(encode(&what).unwrap_err().to_string(), expected);
}

#[test]
fn an_override_touches_neither_address_nor_identity() {
    check_refusal(
        json!({"token": "x"}),
        "override for fcm may not set `token`",
    );
    check_refusal(
        json!({"topic": "x"}),
        "override for fcm may not set `topic`",
    );
    check_refusal(json!([]), "override for fcm is not an object");
    check_refusal(
        json!({"data": null}),
        "override for fcm may not replace `data`",
    );
    check_refusal(
        json!({"data": {"fanfare_event": "x"}}),
        "override for fcm may not set `data.fanfare_event`",
    );
    check_refusal(
        json!({"data": {"fanfare_url": "x"}}),
        "override for fcm may not set `data.fanfare_url`",
    );
    check_refusal(
        json!({"data": {"n": 1}}),
        "override for fcm: data value `n` is not a string",
    );
}

#[test]
fn reserved_keys_and_sizes_are_refused_in_words() {
    for key in ["from", "message_type", "gcm.x", "google_y", "fanfare_event"] {
        let mut what = plain();
        what.data.insert(key.to_owned(), json!("x"));
        let refusal = encode(&what).unwrap_err().to_string();
        assert_eq!(refusal, format!("data key `{key}` is reserved"));
    }
    let mut what = plain();
    what.body = Some("x".repeat(4000).into());
    let refusal = encode(&what).unwrap_err().to_string();
    assert!(refusal.starts_with("payload is 4"), "{refusal}");
    assert!(refusal.contains("FCM takes 4096"), "{refusal}");
}

#[test]
fn only_what_needs_no_escape_is_a_token() {
    assert!(is_token("dGVzdA:APA91b-_x.y"));
    for token in ["", "a\"b", "a\\b", "a b", "ä"] {
        assert!(!is_token(token), "{token}");
    }
}
