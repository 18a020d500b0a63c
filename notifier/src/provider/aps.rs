//! The keys of Apple's `aps` dictionary, which an APNs body has and an FCM message may carry for its
//! iOS devices. Pure.

use serde_json::{Map, Value, json};

use crate::notification::{InterruptionLevel, Notification};

/// What stands beside the alert, whoever writes that (Apple, "Generating a remote notification").
pub(super) fn hints(what: &Notification, aps: &mut Map<String, Value>) {
    put(aps, "sound", what.sound.as_ref());
    put(aps, "badge", what.badge);
    put(aps, "thread-id", what.thread.as_ref());
    put(
        aps,
        "interruption-level",
        what.interruption_level.map(InterruptionLevel::as_str),
    );
    if what.image.is_some() {
        // iOS shows a picture only through the app's service extension, which runs only with this.
        aps.insert("mutable-content".to_owned(), json!(1));
    }
}

/// Sets a key where there is a value.
pub(super) fn put(
    target: &mut Map<String, Value>,
    key: &str,
    value: Option<impl serde::Serialize>,
) {
    if let Some(value) = value {
        target.insert(key.to_owned(), json!(value));
    }
}
