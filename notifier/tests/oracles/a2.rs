//! `a2` 0.10: body, header values, path and reasons. It cannot be pointed at a double, so what it
//! would write is asked of its types.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support of tests"
)]

use a2::request::payload::PayloadLike as _;
use a2::{
    CollapseId, DefaultNotificationBuilder, ErrorBody, NotificationBuilder as _,
    NotificationOptions, Priority, PushType,
};
use fanfare_notifier::notification::{Notification, Urgency};
use fanfare_notifier::provider::apns::classify::classify;
use fanfare_notifier::provider::apns::encode::{Prepared, encode, path};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::generate::notification;

const BUNDLE: HeaderValue = HeaderValue::from_static("org.example.app");

fn ours(what: &Notification) -> Prepared {
    encode(what, &BUNDLE).unwrap()
}

fn own_fields(what: &Notification) -> Value {
    let mut own = json!({
        "event": what.event_id, "screen": what.screen_id, "level": what.level,
    });
    for (key, value) in [("url", &what.url), ("image", &what.image)] {
        if let Some(value) = value {
            own[key] = json!(value);
        }
    }
    own
}

fn theirs(what: &Notification) -> Value {
    let mut builder = DefaultNotificationBuilder::new().set_title(&what.title);
    if let Some(body) = &what.body {
        builder = builder.set_body(body);
    }
    if let Some(badge) = what.badge {
        builder = builder.set_badge(badge);
    }
    if let Some(sound) = &what.sound {
        builder = builder.set_sound(sound);
    }
    if what.image.is_some() {
        builder = builder.set_mutable_content();
    }
    let mut payload = builder.build("00fc13ad", NotificationOptions::default());
    for (key, value) in &what.data {
        payload.add_custom_data(key, value).unwrap();
    }
    let own = own_fields(what);
    payload.add_custom_data("fanfare", &own).unwrap();
    let mut body: Value = serde_json::from_str(&payload.to_json_string().unwrap()).unwrap();
    // It always writes this, also where it means nothing.
    if body.pointer("/aps/mutable-content") == Some(&json!(0)) {
        body["aps"]
            .as_object_mut()
            .unwrap()
            .remove("mutable-content");
    }
    body
}

fn header<'a>(prepared: &'a Prepared, name: &str) -> &'a str {
    prepared.headers().get(name).unwrap().to_str().unwrap()
}

proptest! {
    #[test]
    fn the_same_notification_is_the_same_body(what in notification()) {
        let body: Value = serde_json::from_slice(ours(&what).body()).unwrap();
        prop_assert_eq!(body, theirs(&what));
    }

    #[test]
    fn the_same_notification_has_the_same_header_values(what in notification()) {
        let prepared = ours(&what);
        let priority = match what.urgency {
            Urgency::Urgent => Priority::High,
            Urgency::Bulk => Priority::Normal,
        };
        prop_assert_eq!(header(&prepared, "apns-priority"), priority.to_string());
        prop_assert_eq!(header(&prepared, "apns-push-type"), PushType::Alert.to_string());
        let collapse_id = CollapseId::new(&what.screen_id).unwrap();
        prop_assert_eq!(header(&prepared, "apns-collapse-id"), collapse_id.value);
        let expiration = u64::try_from(what.expires_at.as_second()).unwrap();
        prop_assert_eq!(header(&prepared, "apns-expiration"), expiration.to_string());
    }

    #[test]
    fn both_agree_on_how_long_a_screen_id_may_be(length in 60_usize..70) {
        let screen_id = "a".repeat(length);
        let is_theirs = CollapseId::new(&screen_id).is_ok();
        let mut what = plain();
        what.screen_id = screen_id.into();
        prop_assert_eq!(encode(&what, &BUNDLE).is_ok(), is_theirs);
    }

    #[test]
    fn the_path_ends_in_the_token_they_would_use(token in "[0-9a-f]{8,200}") {
        let builder = DefaultNotificationBuilder::new().set_title("x");
        let payload = builder.build(&token, NotificationOptions::default());
        let expected = format!("/3/device/{}", payload.get_device_token());
        let path = path(&token).unwrap();
        prop_assert_eq!(path.as_str(), expected);
    }
}

fn plain() -> Notification {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    notification().new_tree(&mut runner).unwrap().current()
}

/// Status and reason of every answer that `a2` has a name for.
const REASONS: &[(u16, &str)] = &[
    (400, "BadCollapseId"),
    (400, "BadDeviceToken"),
    (400, "BadExpirationDate"),
    (400, "BadMessageId"),
    (400, "BadPriority"),
    (400, "BadTopic"),
    (400, "DeviceTokenNotForTopic"),
    (400, "DuplicateHeaders"),
    (400, "IdleTimeout"),
    (400, "MissingDeviceToken"),
    (400, "MissingTopic"),
    (400, "PayloadEmpty"),
    (400, "TopicDisallowed"),
    (403, "BadCertificate"),
    (403, "BadCertificateEnvironment"),
    (403, "ExpiredProviderToken"),
    (403, "Forbidden"),
    (403, "InvalidProviderToken"),
    (403, "MissingProviderToken"),
    (404, "BadPath"),
    (405, "MethodNotAllowed"),
    (410, "Unregistered"),
    (413, "PayloadTooLarge"),
    (429, "TooManyProviderTokenUpdates"),
    (429, "TooManyRequests"),
    (500, "InternalServerError"),
    (503, "ServiceUnavailable"),
    (503, "Shutdown"),
];

#[test]
fn the_reasons_they_know_are_read_alike() {
    for (status, reason) in REASONS {
        let body = json!({"reason": reason, "timestamp": 1_800_000_000_123_i64}).to_string();
        let theirs: ErrorBody = serde_json::from_str(&body).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let (ours, _) = classify(*status, &HeaderMap::new(), body.as_bytes(), now);
        assert_eq!(ours.reason(), Some(&*format!("{:?}", theirs.reason)));
        if let fanfare_notifier::outcome::Outcome::Unregistered {
            since: Some(since), ..
        } = ours
        {
            assert_eq!(u64::try_from(since.as_millisecond()).ok(), theirs.timestamp);
        }
    }
}
