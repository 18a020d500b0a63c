//! `fcm_v1` 0.3: the message model.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support of tests"
)]

use std::collections::HashMap;

use fanfare_notifier::notification::{InterruptionLevel, Notification, Urgency};
use fanfare_notifier::provider::fcm::encode::encode;
use fcm_v1::android::{
    AndroidConfig, AndroidMessagePriority, AndroidNotification, NotificationPriority,
};
use fcm_v1::apns::{ApnsConfig, ApnsFcmOptions};
use fcm_v1::message::Message;
use fcm_v1::webpush::{WebpushConfig, WebpushFcmOptions};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::generate::full_notification;

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn data(what: &Notification) -> HashMap<String, Value> {
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut data: HashMap<String, Value> = what
        .data
        .iter()
        .map(|(key, value)| (key.clone(), json!(text(value))))
        .collect();
    data.insert("fanfare_event".to_owned(), json!(what.event_id));
    data.insert("fanfare_screen".to_owned(), json!(what.screen_id));
    data.insert("fanfare_level".to_owned(), json!(what.level));
    if let Some(url) = &what.url {
        data.insert("fanfare_url".to_owned(), json!(url));
    }
    data
}

fn android(what: &Notification, left: i64) -> AndroidConfig {
    AndroidConfig {
        ttl: Some(format!("{left}s")),
        priority: Some(match what.urgency {
            Urgency::Urgent => AndroidMessagePriority::High,
            Urgency::Bulk => AndroidMessagePriority::Normal,
        }),
        notification: Some(AndroidNotification {
            tag: owned(Some(&what.screen_id)),
            sound: owned(what.sound.as_deref()),
            notification_count: what.badge.and_then(|it| i8::try_from(it).ok()),
            notification_priority: what.interruption_level.map(|it| match it {
                InterruptionLevel::Passive => NotificationPriority::PriorityLow,
                InterruptionLevel::Active => NotificationPriority::PriorityDefault,
                InterruptionLevel::TimeSensitive => NotificationPriority::PriorityHigh,
                InterruptionLevel::Critical => NotificationPriority::PriorityMax,
            }),
            ..AndroidNotification::default()
        }),
        ..AndroidConfig::default()
    }
}

fn apns(what: &Notification) -> ApnsConfig {
    let mut aps = Map::new();
    let fields = [
        ("sound", what.sound.as_ref().map(|it| json!(it))),
        ("badge", what.badge.map(|it| json!(it))),
        ("thread-id", what.thread.as_ref().map(|it| json!(it))),
        (
            "interruption-level",
            what.interruption_level.map(|it| json!(it.as_str())),
        ),
        ("mutable-content", what.image.as_ref().map(|_| json!(1))),
    ];
    for (key, value) in fields {
        aps.extend(value.map(|it| (key.to_owned(), it)));
    }
    let priority = match what.urgency {
        Urgency::Urgent => "10",
        Urgency::Bulk => "5",
    };
    ApnsConfig {
        headers: Some(HashMap::from([
            ("apns-collapse-id".to_owned(), json!(what.screen_id)),
            (
                "apns-expiration".to_owned(),
                json!(what.expires_at.as_second().to_string()),
            ),
            ("apns-priority".to_owned(), json!(priority)),
        ])),
        payload: (!aps.is_empty()).then(|| HashMap::from([("aps".to_owned(), aps.into())])),
        fcm_options: what.image.as_ref().map(|image| ApnsFcmOptions {
            image: Some(image.to_string()),
            ..ApnsFcmOptions::default()
        }),
    }
}

fn webpush(what: &Notification, left: i64) -> WebpushConfig {
    let urgency = match what.urgency {
        Urgency::Urgent => "high",
        Urgency::Bulk => "normal",
    };
    WebpushConfig {
        headers: Some(HashMap::from([
            ("TTL".to_owned(), json!(left.to_string())),
            ("Urgency".to_owned(), json!(urgency)),
        ])),
        notification: Some(HashMap::from([("tag".to_owned(), json!(what.screen_id))])),
        fcm_options: WebpushFcmOptions {
            link: owned(what.url.as_deref().filter(|it| it.starts_with("https://"))),
            ..WebpushFcmOptions::default()
        },
        ..WebpushConfig::default()
    }
}

fn theirs(what: &Notification, token: &str, left: i64) -> Value {
    let message = Message {
        token: Some(token.to_owned()),
        notification: Some(fcm_v1::message::Notification {
            title: owned(Some(&what.title)),
            body: owned(what.body.as_deref()),
            image: owned(what.image.as_deref()),
        }),
        data: Some(data(what)),
        android: Some(android(what, left)),
        apns: Some(apns(what)),
        webpush: Some(webpush(what, left)),
        ..Message::default()
    };
    let mut json = serde_json::to_value(message).unwrap();
    // The field is not optional in its model.
    if json.pointer("/webpush/fcm_options") == Some(&json!({})) {
        json["webpush"]
            .as_object_mut()
            .unwrap()
            .remove("fcm_options");
    }
    // It writes the name of the enum's value, we the spelling of Google's examples and own
    // libraries; FCM takes both.
    let priority = json["android"]["priority"].as_str().unwrap().to_lowercase();
    json["android"]["priority"] = priority.into();
    json!({ "message": json })
}

proptest! {
    #[test]
    fn the_same_notification_is_the_same_message(
        what in full_notification(),
        token in "[A-Za-z0-9_-]{11}:APA91b[A-Za-z0-9_-]{20,140}",
        left in 1_i64..86_400,
    ) {
        let now: Timestamp = what.expires_at - SignedDuration::from_secs(left);
        let body = encode(&what).unwrap().body(&token, now);
        let ours: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(ours, theirs(&what, &token, left));
    }
}
