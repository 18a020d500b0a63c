//! A notification as APNs takes it: headers and body. Pure.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};

use crate::notification::{Notification, Urgency};
use crate::provider::aps::{hints, put};
use crate::provider::merge::apply_override;
use crate::provider::{OWN_KEY, Refusal};

/// APNs: 4096 bytes (5120 for calls) (Apple, "Generating a remote notification").
pub const MAX_BODY_BYTES: usize = 4096;

/// APNs: at most 64 bytes (Apple, "Sending notification requests to APNs").
pub const MAX_COLLAPSE_ID_BYTES: usize = 64;

const TOPIC: HeaderName = HeaderName::from_static("apns-topic");
const PUSH_TYPE: HeaderName = HeaderName::from_static("apns-push-type");
const PRIORITY: HeaderName = HeaderName::from_static("apns-priority");
const EXPIRATION: HeaderName = HeaderName::from_static("apns-expiration");
const COLLAPSE_ID: HeaderName = HeaderName::from_static("apns-collapse-id");
pub(super) const ID: HeaderName = HeaderName::from_static("apns-id");

/// What all devices of an app get.
#[derive(Debug)]
pub struct Prepared {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) event_id: Box<str>,
}

impl Prepared {
    /// The headers that are the same for every device.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The JSON body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Encodes a notification for the app with this `bundle_id`.
///
/// # Errors
///
/// A [`Refusal`] if it is too large, if `data` uses a reserved key or the override is not usable.
pub fn encode(what: &Notification, bundle_id: &HeaderValue) -> Result<Prepared, Refusal> {
    if what.screen_id.len() > MAX_COLLAPSE_ID_BYTES {
        return Err(Refusal::new("screen id is longer than APNs' 64 bytes"));
    }
    let priority = match what.urgency {
        Urgency::Urgent => "10",
        Urgency::Bulk => "5",
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(TOPIC, bundle_id.clone());
    headers.insert(PUSH_TYPE, HeaderValue::from_static("alert"));
    headers.insert(PRIORITY, HeaderValue::from_static(priority));
    headers.insert(
        EXPIRATION,
        HeaderValue::from(what.expires_at.as_second().max(0)),
    );
    headers.insert(
        COLLAPSE_ID,
        HeaderValue::from_str(&what.screen_id)
            .map_err(|_| Refusal::new("screen id is not fit for a header"))?,
    );
    let body = Value::Object(body(what)?).to_string();
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::too_large("APNs", body.len(), MAX_BODY_BYTES));
    }
    Ok(Prepared {
        headers,
        body: Bytes::from(body),
        event_id: what.event_id.clone(),
    })
}

fn body(what: &Notification) -> Result<Map<String, Value>, Refusal> {
    let mut body = Map::new();
    for (key, value) in &what.data {
        if key == "aps" || key == OWN_KEY {
            return Err(Refusal::new(format!("data key `{key}` is reserved")));
        }
        body.insert(key.clone(), value.clone());
    }
    body.insert("aps".to_owned(), Value::Object(aps(what)));
    let mut own = Map::new();
    own.insert("event".to_owned(), json!(what.event_id));
    own.insert("screen".to_owned(), json!(what.screen_id));
    own.insert("level".to_owned(), json!(what.level));
    put(&mut own, "challenge", what.challenge.as_ref());
    put(&mut own, "url", what.url.as_ref());
    put(&mut own, "image", what.image.as_ref());
    body.insert(OWN_KEY.to_owned(), Value::Object(own));
    apply_override(what, "apns", &[OWN_KEY], &mut body)?;
    Ok(body)
}

/// The part that iOS reads (Apple, "Generating a remote notification").
pub(crate) fn aps(what: &Notification) -> Map<String, Value> {
    let mut alert = Map::new();
    alert.insert("title".to_owned(), json!(what.title));
    put(&mut alert, "body", what.body.as_ref());
    let mut aps = Map::new();
    aps.insert("alert".to_owned(), Value::Object(alert));
    hints(what, &mut aps);
    aps
}

/// The path of a device; `None` for what cannot be a token. Apple fixes no length.
pub fn path(token: &str) -> Option<PathAndQuery> {
    let is_hex = !token.is_empty() && token.bytes().all(|it| it.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    let mut path = String::with_capacity(10 + token.len());
    path.push_str("/3/device/");
    path.push_str(token);
    PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()
}

/// `apns-id`: the same for every attempt of one delivery, so that Apple's console and ours name it
/// alike. A UUID of version 8 (RFC 9562, 5.8) from a hash.
pub fn delivery_id(event_id: &str, device: &str) -> Option<HeaderValue> {
    let mut context = Context::new(&SHA256);
    context.update(event_id.as_bytes());
    context.update(b"\0");
    context.update(device.as_bytes());
    let digest = context.finish();
    let mut bytes: [u8; 16] = digest.as_ref().get(..16)?.try_into().ok()?;
    if let Some(it) = bytes.get_mut(6) {
        *it = (*it & 0x0f) | 0x80;
    }
    if let Some(it) = bytes.get_mut(8) {
        *it = (*it & 0x3f) | 0x80;
    }
    HeaderValue::from_maybe_shared(Bytes::from(uuid(bytes))).ok()
}

/// The text form of RFC 9562; by hand because it is written for every push.
fn uuid(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::InterruptionLevel;
    use crate::provider::tests::{full, plain};

    const BUNDLE: HeaderValue = HeaderValue::from_static("org.example.app");

    fn json_of(what: &Notification) -> Value {
        serde_json::from_slice(encode(what, &BUNDLE).unwrap().body()).unwrap()
    }

    #[test]
    fn a_plain_notification_is_an_alert_with_our_fields_beside_it() {
        assert_eq!(
            json_of(&plain()),
            json!({
                "aps": {"alert": {"title": "M 6.1 Honshu"}},
                "fanfare": {
                    "event": "e1", "screen": "0123456789abcdef0123456789abcdef", "level": "s6",
                },
            })
        );
    }

    #[test]
    fn every_field_has_its_place() {
        assert_eq!(
            json_of(&full()),
            json!({
                "aps": {
                    "alert": {"title": "M 6.1 Honshu", "body": "10 km deep"},
                    "sound": "chime.caf", "badge": 3, "thread-id": "quakes",
                    "interruption-level": "time-sensitive", "mutable-content": 1,
                },
                "fanfare": {
                    "event": "e1", "screen": "0123456789abcdef0123456789abcdef", "level": "s6",
                    "url": "https://example.org/q/1", "image": "https://example.org/q/1.png",
                    "challenge": "nonce",
                },
                "mag": 6.1, "net": "us",
            })
        );
    }

    #[track_caller]
    fn check_header(what: &Notification, name: &str, expected: &str) {
        let prepared = encode(what, &BUNDLE).unwrap();
        assert_eq!(prepared.headers().get(name).unwrap(), expected);
    }

    #[test]
    fn headers_carry_topic_type_priority_expiry_and_screen_id() {
        let mut what = plain();
        check_header(&what, "apns-topic", "org.example.app");
        check_header(&what, "apns-push-type", "alert");
        check_header(&what, "apns-priority", "10");
        check_header(&what, "apns-expiration", "1800000000");
        check_header(
            &what,
            "apns-collapse-id",
            "0123456789abcdef0123456789abcdef",
        );
        what.urgency = Urgency::Bulk;
        check_header(&what, "apns-priority", "5");
    }

    #[test]
    fn an_override_has_the_last_word_but_not_on_our_fields() {
        let mut what = full();
        what.interruption_level = Some(InterruptionLevel::Passive);
        what.overrides.insert(
            "apns".into(),
            json!({"aps": {"badge": null, "category": "q"}}),
        );
        let body = json_of(&what);
        assert_eq!(body.pointer("/aps/category"), Some(&json!("q")));
        assert_eq!(body.pointer("/aps/badge"), None);
        assert_eq!(
            body.pointer("/aps/alert/title"),
            Some(&json!("M 6.1 Honshu"))
        );
        what.overrides.insert("apns".into(), json!({"fanfare": {}}));
        let refusal = encode(&what, &BUNDLE).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "override for apns may not set `fanfare`"
        );
    }

    #[test]
    fn what_apns_would_refuse_is_refused_here_in_words() {
        let mut what = plain();
        what.data.insert("aps".to_owned(), json!({}));
        let refusal = encode(&what, &BUNDLE).unwrap_err();
        assert_eq!(refusal.to_string(), "data key `aps` is reserved");
        let mut what = plain();
        let room = MAX_BODY_BYTES - encode(&what, &BUNDLE).unwrap().body().len();
        let frame = r#","body":"""#.len();
        what.body = Some("x".repeat(room - frame).into());
        assert_eq!(encode(&what, &BUNDLE).unwrap().body().len(), MAX_BODY_BYTES);
        what.body = Some("x".repeat(room - frame + 1).into());
        let refusal = encode(&what, &BUNDLE).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "payload is 4097 bytes and APNs takes 4096: shorten body, data or override"
        );
    }

    #[test]
    fn a_path_is_made_of_hexadecimal_digits_of_any_number() {
        assert_eq!(path("00fcAB").unwrap(), "/3/device/00fcAB");
        assert!(path(&"a".repeat(200)).is_some());
        for token in ["", "xyz", "ab/../cd", "ab?x", "ab cd"] {
            assert_eq!(path(token), None, "{token}");
        }
    }

    #[test]
    fn a_delivery_keeps_its_id_and_shares_it_with_no_other() {
        let id = delivery_id("e1", "d1").unwrap();
        assert_eq!(delivery_id("e1", "d1").unwrap(), id);
        assert_ne!(delivery_id("e1", "d2").unwrap(), id);
        assert_ne!(
            delivery_id("e1d", "1").unwrap(),
            delivery_id("e1", "d1").unwrap()
        );
        let text = id.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'8');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
