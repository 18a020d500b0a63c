//! A notification as FCM takes it: one body with holes for the token and the remaining time. Pure.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::notification::{InterruptionLevel, Notification, Urgency};
use crate::provider::aps::hints;
use crate::provider::merge::apply_override;
use crate::provider::{OWN_KEY, Refusal};

/// FCM: 4096 bytes (Firebase, "About FCM messages"). What exactly is counted is not documented, so
/// the whole message but the token must fit.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// FCM: four weeks (Firebase, reference of `AndroidConfig.ttl`).
pub const MAX_TTL_S: i64 = 2_419_200;

/// Keys that an override may not set: the address is ours.
const ADDRESS: [&str; 3] = ["token", "topic", "condition"];

/// What all devices of an app get. Only the token and the remaining time are put in per push.
#[derive(Debug)]
pub struct Prepared {
    /// Between the pieces, in this order: the token, then the remaining seconds, twice at most.
    head: Bytes,
    pieces: Vec<Bytes>,
    n_bytes: usize,
    expires_at: Timestamp,
}

impl Prepared {
    /// The body for one device: two or three copies into one buffer.
    pub fn body(&self, token: &str, now: Timestamp) -> Bytes {
        let left = self.expires_at.as_second().saturating_sub(now.as_second());
        let ttl = left.clamp(0, MAX_TTL_S).to_string();
        let mut body = BytesMut::with_capacity(self.n_bytes + token.len() + 2 * ttl.len());
        body.extend_from_slice(&self.head);
        body.extend_from_slice(token.as_bytes());
        let mut pieces = self.pieces.iter();
        if let Some(first) = pieces.next() {
            body.extend_from_slice(first);
        }
        for piece in pieces {
            body.extend_from_slice(ttl.as_bytes());
            body.extend_from_slice(piece);
        }
        body.freeze()
    }
}

/// True for what can be a registration token, and needs no escape inside a JSON string.
pub fn is_token(token: &str) -> bool {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-_:.".contains(&it);
    !token.is_empty() && token.bytes().all(is_plain)
}

/// Encodes a notification.
///
/// # Errors
///
/// A [`Refusal`] if it is too large, if `data` uses a reserved key or the override is not usable.
pub fn encode(what: &Notification) -> Result<Prepared, Refusal> {
    let mut message = message(what)?;
    apply_override(what, "fcm", &ADDRESS, &mut message)?;
    check_data(&message, what)?;
    let android = take(&mut message, "android");
    let mut webpush = take(&mut message, "webpush");
    let web_headers = webpush.as_mut().and_then(|it| take(it, "headers"));

    // Pieces are cut by hand where the remaining time stands, unless the override has its own.
    let mut text = Cutter::default();
    text.push("{\"message\":{\"token\":\"");
    text.cut();
    text.push("\"");
    if let Some(android) = android {
        text.push(",\"android\":");
        text.object(&android, "ttl", "s");
    }
    if let Some(webpush) = webpush {
        text.push(",\"webpush\":{\"headers\":");
        text.object(&web_headers.unwrap_or_default(), "TTL", "");
        text.rest(&webpush);
        text.push("}");
    }
    text.rest(&message);
    text.push("}}");
    let n_bytes = text.n_bytes;
    if n_bytes > MAX_MESSAGE_BYTES {
        return Err(Refusal::too_large("FCM", n_bytes, MAX_MESSAGE_BYTES));
    }
    let mut pieces = text.end().into_iter();
    let head = pieces.next().unwrap_or_default();
    Ok(Prepared {
        head,
        pieces: pieces.collect(),
        n_bytes,
        expires_at: what.expires_at,
    })
}

fn take(map: &mut Map<String, Value>, key: &str) -> Option<Map<String, Value>> {
    match map.remove(key) {
        Some(Value::Object(inner)) => Some(inner),
        Some(other) => {
            // FCM says what is wrong with it.
            map.insert(key.to_owned(), other);
            None
        }
        None => None,
    }
}

/// JSON text in pieces.
#[derive(Default)]
struct Cutter {
    done: Vec<Bytes>,
    piece: String,
    n_bytes: usize,
}

impl Cutter {
    fn push(&mut self, text: &str) {
        self.n_bytes += text.len();
        self.piece.push_str(text);
    }

    fn cut(&mut self) {
        self.done.push(Bytes::from(std::mem::take(&mut self.piece)));
    }

    /// `{"<time_key>":"<cut><unit>", …}`; without the cut if the map has a time of its own.
    fn object(&mut self, map: &Map<String, Value>, time_key: &str, unit: &str) {
        if map.contains_key(time_key) {
            let text = serde_json::to_string(map).unwrap_or_default();
            self.push(&text);
            return;
        }
        self.push(&format!("{{\"{time_key}\":\""));
        self.cut();
        self.push(&format!("{unit}\""));
        self.rest(map);
        self.push("}");
    }

    /// `,"key":value` for every entry.
    fn rest(&mut self, map: &Map<String, Value>) {
        for (key, value) in map {
            self.push(&format!(",{}:{value}", Value::String(key.clone())));
        }
    }

    fn end(mut self) -> Vec<Bytes> {
        self.cut();
        self.done
    }
}

/// The message without token and remaining time.
fn message(what: &Notification) -> Result<Map<String, Value>, Refusal> {
    let mut notification = Map::new();
    notification.insert("title".to_owned(), json!(what.title));
    put(&mut notification, "body", what.body.as_ref());
    put(&mut notification, "image", what.image.as_ref());
    let mut message = Map::new();
    message.insert("notification".to_owned(), Value::Object(notification));
    message.insert("data".to_owned(), Value::Object(data(what)?));
    message.insert("android".to_owned(), Value::Object(android(what)));
    message.insert("apns".to_owned(), Value::Object(apns(what)));
    message.insert("webpush".to_owned(), Value::Object(webpush(what)));
    Ok(message)
}

/// FCM: values are strings; these keys are its own (Firebase, reference of `Message.data`).
fn data(what: &Notification) -> Result<Map<String, Value>, Refusal> {
    let mut data = Map::new();
    for (key, value) in &what.data {
        let is_reserved = key == "from"
            || key == "message_type"
            || key.starts_with("gcm")
            || key.starts_with("google");
        if is_reserved || key.starts_with(OWN_KEY) {
            return Err(Refusal::new(format!("data key `{key}` is reserved")));
        }
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                value.to_string()
            }
        };
        data.insert(key.clone(), Value::String(text));
    }
    for (name, value) in own(what) {
        put(&mut data, &format!("{OWN_KEY}_{name}"), value);
    }
    Ok(data)
}

fn own(what: &Notification) -> [(&'static str, Option<&str>); 5] {
    [
        ("event", Some(&what.event_id)),
        ("screen", Some(&what.screen_id)),
        ("level", Some(&what.level)),
        ("challenge", what.challenge.as_deref()),
        ("url", what.url.as_deref()),
    ]
}

fn android(what: &Notification) -> Map<String, Value> {
    let mut notification = Map::new();
    // A line with the same tag replaces the one shown.
    notification.insert("tag".to_owned(), json!(what.screen_id));
    put(&mut notification, "sound", what.sound.as_ref());
    put(&mut notification, "notification_count", what.badge);
    let priority = what.interruption_level.map(|it| match it {
        InterruptionLevel::Passive => "PRIORITY_LOW",
        InterruptionLevel::Active => "PRIORITY_DEFAULT",
        InterruptionLevel::TimeSensitive => "PRIORITY_HIGH",
        InterruptionLevel::Critical => "PRIORITY_MAX",
    });
    put(&mut notification, "notification_priority", priority);
    let priority = match what.urgency {
        Urgency::Urgent => "high",
        Urgency::Bulk => "normal",
    };
    let mut android = Map::new();
    android.insert("priority".to_owned(), json!(priority));
    android.insert("notification".to_owned(), Value::Object(notification));
    android
}

fn apns(what: &Notification) -> Map<String, Value> {
    let priority = match what.urgency {
        Urgency::Urgent => "10",
        Urgency::Bulk => "5",
    };
    let mut block = Map::new();
    block.insert(
        "headers".to_owned(),
        json!({
            "apns-collapse-id": what.screen_id,
            "apns-expiration": what.expires_at.as_second().max(0).to_string(),
            "apns-priority": priority,
        }),
    );
    let mut aps = Map::new();
    hints(what, &mut aps);
    if !aps.is_empty() {
        block.insert("payload".to_owned(), json!({ "aps": aps }));
    }
    if let Some(image) = &what.image {
        block.insert("fcm_options".to_owned(), json!({ "image": image }));
    }
    block
}

fn webpush(what: &Notification) -> Map<String, Value> {
    let urgency = match what.urgency {
        Urgency::Urgent => "high",
        Urgency::Bulk => "normal",
    };
    let mut webpush = Map::new();
    webpush.insert("headers".to_owned(), json!({ "Urgency": urgency }));
    webpush.insert("notification".to_owned(), json!({ "tag": what.screen_id }));
    // FCM takes no other scheme here (Firebase, reference of `WebpushFcmOptions.link`).
    if let Some(url) = what.url.as_ref().filter(|it| it.starts_with("https://")) {
        webpush.insert("fcm_options".to_owned(), json!({ "link": url }));
    }
    webpush
}

/// What an override may have done to `data`.
fn check_data(message: &Map<String, Value>, what: &Notification) -> Result<(), Refusal> {
    let Some(Value::Object(data)) = message.get("data") else {
        return Err(Refusal::new("override for fcm may not replace `data`"));
    };
    if let Some((key, _)) = data.iter().find(|(_, value)| !value.is_string()) {
        return Err(Refusal::new(format!(
            "override for fcm: data value `{key}` is not a string"
        )));
    }
    for (name, value) in own(what) {
        let key = format!("{OWN_KEY}_{name}");
        if data.get(&key).and_then(Value::as_str) != value {
            return Err(Refusal::new(format!(
                "override for fcm may not set `data.{key}`"
            )));
        }
    }
    Ok(())
}

fn put(target: &mut Map<String, Value>, key: &str, value: Option<impl serde::Serialize>) {
    if let Some(value) = value {
        target.insert(key.to_owned(), json!(value));
    }
}

#[cfg(test)]
mod tests;
