//! The message of a send request, as strict as Google reads it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::provider::Push;
use crate::provider::payload::owned;

/// FCM: 4096 bytes of notification and data ("About FCM messages").
const MAX_PAYLOAD: usize = 4096;
/// FCM: four weeks (`AndroidConfig.ttl`).
const MAX_TTL_S: u64 = 2_419_200;

/// Field and complaint.
type Violation = (Cow<'static, str>, Cow<'static, str>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Envelope<'a> {
    #[serde(default, alias = "validateOnly")]
    pub(super) validate_only: bool,
    #[serde(borrow)]
    pub(super) message: Message<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "named so that they are not unknown, and of the right type"
)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    token: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Data<'a>,
    #[serde(borrow, default)]
    notification: Option<Notification<'a>>,
    #[serde(borrow, default)]
    android: Option<Android<'a>>,
    #[serde(borrow, default)]
    apns: Option<Apns<'a>>,
    #[serde(default)]
    webpush: Option<IgnoredAny>,
    #[serde(default, alias = "fcmOptions")]
    fcm_options: Option<IgnoredAny>,
    #[serde(default)]
    topic: Option<IgnoredAny>,
    #[serde(default)]
    condition: Option<IgnoredAny>,
    #[serde(default)]
    name: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification<'a> {
    #[serde(borrow, default)]
    title: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    image: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "named so that they are not unknown, and of the right type"
)]
struct Android<'a> {
    #[serde(borrow, default)]
    ttl: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    priority: Option<Cow<'a, str>>,
    #[serde(default, alias = "collapseKey")]
    collapse_key: Option<Cow<'a, str>>,
    #[serde(default, alias = "restrictedPackageName")]
    restricted_package_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data: Data<'a>,
    #[serde(default)]
    notification: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default, alias = "fcmOptions")]
    fcm_options: Option<IgnoredAny>,
    #[serde(default, alias = "directBootOk")]
    direct_boot_ok: Option<bool>,
    #[serde(default, alias = "bandwidthConstrainedOk")]
    bandwidth_constrained_ok: Option<bool>,
    #[serde(default, alias = "restrictedSatelliteOk")]
    restricted_satellite_ok: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "named so that they are not unknown, and of the right type"
)]
struct Apns<'a> {
    #[serde(borrow, default)]
    headers: Data<'a>,
    #[serde(default)]
    payload: Option<IgnoredAny>,
    #[serde(default, alias = "fcmOptions")]
    fcm_options: Option<IgnoredAny>,
    #[serde(default, alias = "liveActivityToken")]
    live_activity_token: Option<IgnoredAny>,
}

/// A map of strings. What is no string is remembered, not lost: Google names it.
#[derive(Debug, Default)]
struct Data<'a> {
    entries: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    not_string: Option<usize>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Other(IgnoredAny),
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Data<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut data = Data::default();
                while let Some((key, value)) = map.next_entry::<Key<'de>, Value<'de>>()? {
                    match value {
                        Value::Text(text) => data.entries.push((key.0, text)),
                        Value::Other(_) => data.not_string = Some(data.entries.len()),
                    }
                }
                Ok(data)
            }
        }
        input.deserialize_map(Form)
    }
}

/// `Cow` alone always copies.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Data<'_> {
    fn get(&self, key: &str) -> Option<&Cow<'_, str>> {
        self.entries
            .iter()
            .find(|(it, _)| it == key)
            .map(|(_, value)| value)
    }

    fn check(&self, path: &str) -> Result<(), Violation> {
        match self.not_string {
            Some(at) => Err((
                format!("{path}[{at}].value").into(),
                format!("Invalid value at '{path}[{at}].value' (TYPE_STRING)").into(),
            )),
            None => Ok(()),
        }
    }

    fn n_bytes(&self) -> usize {
        self.entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }
}

impl Message<'_> {
    /// Reads what the ledger keeps.
    pub(super) fn name(&self, push: &mut Push) {
        push.token = owned(self.token.as_ref()).unwrap_or_default();
        push.event = owned(self.data.get("fanfare_event"));
        push.screen = owned(self.data.get("fanfare_screen"));
        push.level = owned(self.data.get("fanfare_level"));
        push.challenge = owned(self.data.get("fanfare_challenge"));
        push.title = self
            .notification
            .as_ref()
            .and_then(|it| owned(it.title.as_ref()));
    }

    pub(super) fn check(&self) -> Result<(), Violation> {
        self.recipient()?;
        self.data.check("message.data")?;
        for (key, _) in &self.data.entries {
            let is_reserved = matches!(key.as_ref(), "from" | "message_type")
                || key.starts_with("google")
                || key.starts_with("gcm");
            if is_reserved {
                let why = format!("Invalid data payload key: {key}");
                return Err(("message.data".into(), why.into()));
            }
        }
        if let Some(android) = &self.android {
            android.check()?;
        }
        if let Some(apns) = &self.apns {
            apns.headers.check("message.apns.headers")?;
        }
        let n_text = self.notification.as_ref().map_or(0, Notification::n_bytes);
        if n_text + self.data.n_bytes() > MAX_PAYLOAD {
            return Err((
                "message".into(),
                "Message too big. The limit is 4096 bytes.".into(),
            ));
        }
        Ok(())
    }

    fn recipient(&self) -> Result<(), Violation> {
        let token = self.token.as_deref().unwrap_or_default();
        if self.topic.is_some() || self.condition.is_some() || token.is_empty() {
            // Topics and conditions are not part of this double.
            return Err((
                "message".into(),
                "Recipient of the message is not set.".into(),
            ));
        }
        let is_token = token
            .bytes()
            .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b':'));
        if is_token {
            Ok(())
        } else {
            Err(("message.token".into(), super::error::NOT_A_TOKEN.into()))
        }
    }
}

impl Notification<'_> {
    fn n_bytes(&self) -> usize {
        [&self.title, &self.body, &self.image]
            .into_iter()
            .flatten()
            .map(|it| it.len())
            .sum()
    }
}

impl Android<'_> {
    fn check(&self) -> Result<(), Violation> {
        self.data.check("message.android.data")?;
        if self.ttl.as_deref().is_some_and(|it| !is_ttl(it)) {
            let why = "Field 'ttl', Illegal duration format; duration must end with 's'";
            return Err(("message.android.ttl".into(), why.into()));
        }
        let priority = self.priority.as_deref().unwrap_or("normal");
        if !["normal", "high", "NORMAL", "HIGH"].contains(&priority) {
            return Err((
                "message.android.priority".into(),
                "Invalid value (TYPE_ENUM)".into(),
            ));
        }
        Ok(())
    }
}

/// Seconds with up to nine decimals and an `s`, at most four weeks.
fn is_ttl(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else {
        return false;
    };
    let (seconds, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let are_digits = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    are_digits(seconds)
        && are_digits(decimals)
        && decimals.len() <= 9
        && seconds.parse::<u64>().is_ok_and(|it| it <= MAX_TTL_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, field: Option<&str>) {
        let message: Message<'_> = serde_json::from_str(message).unwrap();
        assert_eq!(
            message.check().err().map(|(field, _)| field).as_deref(),
            field
        );
    }

    #[test]
    fn each_rule_names_its_field() {
        check(r#"{"token":"a:b"}"#, None);
        check(
            r#"{"token":"a:b","data":{"k":"v"},"android":{"ttl":"3.5s"}}"#,
            None,
        );
        check(r#"{"data":{"k":"v"}}"#, Some("message"));
        check(r#"{"token":"a b"}"#, Some("message.token"));
        check(
            r#"{"token":"a","data":{"k":1}}"#,
            Some("message.data[0].value"),
        );
        check(
            r#"{"token":"a","data":{"a":"b","k":{"x":[1]}}}"#,
            Some("message.data[1].value"),
        );
        check(r#"{"token":"a","data":{"from":"v"}}"#, Some("message.data"));
        check(
            r#"{"token":"a","android":{"ttl":"3"}}"#,
            Some("message.android.ttl"),
        );
        check(
            r#"{"token":"a","android":{"ttl":"2419201s"}}"#,
            Some("message.android.ttl"),
        );
        check(
            r#"{"token":"a","android":{"priority":"max"}}"#,
            Some("message.android.priority"),
        );
        let long = format!(
            r#"{{"token":"a","notification":{{"body":"{}"}}}}"#,
            "x".repeat(4097)
        );
        check(&long, Some("message"));
    }

    #[test]
    fn unknown_fields_are_no_message() {
        assert!(serde_json::from_str::<Message<'_>>(r#"{"token":"a","tokn":1}"#).is_err());
    }
}
