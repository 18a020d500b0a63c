//! Notifications of every shape that both sides can express.

use std::collections::BTreeMap;

use fanfare_notifier::notification::{InterruptionLevel, Notification, Urgency};
use jiff::Timestamp;
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value};

type Text = Box<str>;

fn text() -> impl Strategy<Value = Text> {
    // Quotes, control characters, escapes and other scripts included.
    "[ -~äöü漢字\u{1}\u{7}\"\\\\\n\u{1f389}]{0,40}".prop_map(Into::into)
}

fn web_address() -> impl Strategy<Value = Text> {
    "https?://example\\.org/[a-z0-9/]{0,20}".prop_map(Into::into)
}

fn data() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        text().prop_map(|it| Value::String(it.into())),
        any::<i32>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        proptest::collection::vec(any::<i8>(), 0..4).prop_map(Value::from),
    ];
    proptest::collection::btree_map("x_[a-z]{1,8}", value, 0..5)
        .prop_map(|it| it.into_iter().collect())
}

prop_compose! {
    fn content()(
        title in text(), body in of(text()), url in of(web_address()), image in of(web_address()),
        data in data(), sound in of("[a-z]{1,10}\\.caf"), badge in of(0_u32..100),
    ) -> Notification {
        Notification {
            event_id: "".into(),
            screen_id: "".into(),
            level: "".into(),
            title, body, url, image, data,
            challenge: None,
            urgency: Urgency::Urgent,
            expires_at: Timestamp::UNIX_EPOCH,
            sound: sound.map(Into::into),
            badge,
            thread: None,
            interruption_level: None,
            overrides: BTreeMap::new(),
        }
    }
}

prop_compose! {
    /// Without thread and interruption level, which `a2` does not know.
    pub(crate) fn notification()(
        content in content(), event_id in "[0-9a-f]{32}", screen_id in "[0-9a-f]{32}",
        level in "first|s[1-9]|f[0-9a-f]{16}", is_urgent: bool,
        expires_at in 1_700_000_000_i64..2_000_000_000,
    ) -> Notification {
        Notification {
            event_id: event_id.into(),
            screen_id: screen_id.into(),
            level: level.into(),
            urgency: if is_urgent { Urgency::Urgent } else { Urgency::Bulk },
            expires_at: Timestamp::from_second(expires_at).unwrap_or_default(),
            ..content
        }
    }
}

prop_compose! {
    /// With both.
    pub(crate) fn full_notification()(
        content in notification(), thread in of("[a-z]{1,8}"),
        interruption_level in of(prop_oneof![
            Just(InterruptionLevel::Passive), Just(InterruptionLevel::Active),
            Just(InterruptionLevel::TimeSensitive), Just(InterruptionLevel::Critical),
        ]),
    ) -> Notification {
        Notification { thread: thread.map(Into::into), interruption_level, ..content }
    }
}
