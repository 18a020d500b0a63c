//! What is to be shown, before any provider's form of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// How loudly a push may interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Now: `apns-priority` 10, Android priority high.
    Urgent,
    /// When the device is awake anyway: `apns-priority` 5, Android priority normal.
    Bulk,
}

/// Apple's interruption levels; Android gets the nearest notification priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptionLevel {
    /// Into the list, without light or sound.
    Passive,
    /// As the user set it.
    Active,
    /// Through a focus mode.
    TimeSensitive,
    /// Through the mute switch; needs Apple's entitlement.
    Critical,
}

impl InterruptionLevel {
    /// Apple's word for it, as `aps.interruption-level` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Active => "active",
            Self::TimeSensitive => "time-sensitive",
            Self::Critical => "critical",
        }
    }

    /// Reads Apple's word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Passive,
            Self::Active,
            Self::TimeSensitive,
            Self::Critical,
        ]
        .into_iter()
        .find(|it| it.as_str() == word)
    }
}

/// One event's content, the same for every device.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// hash(source, item, level): travels in the payload, names the delivery.
    pub event_id: Box<str>,
    /// hash(source, item), 32 lower-case hexadecimal digits: an escalation replaces the older line.
    pub screen_id: Box<str>,
    /// The level's token; the client drops a lower one than it shows.
    pub level: Box<str>,
    /// First line.
    pub title: Box<str>,
    /// The text below it.
    pub body: Option<Box<str>>,
    /// What a tap opens.
    pub url: Option<Box<str>>,
    /// Address of a picture.
    pub image: Option<Box<str>>,
    /// The application's own keys. FCM takes strings only: other values travel as JSON text.
    pub data: Map<String, Value>,
    /// The nonce by which the app confirms its device; no data of an event can say it.
    pub challenge: Option<Box<str>>,
    /// How loudly.
    pub urgency: Urgency,
    /// After this moment no device may show it; providers are told.
    pub expires_at: Timestamp,
    /// Name of a sound in the application, or `default`.
    pub sound: Option<Box<str>>,
    /// Number on the icon.
    pub badge: Option<u32>,
    /// Lines of one thread are grouped.
    pub thread: Option<Box<str>>,
    /// Apple's interruption level.
    pub interruption_level: Option<InterruptionLevel>,
    /// By provider name (`apns`, `fcm`): a JSON merge patch (RFC 7396) applied last, to the APNs
    /// body or to the FCM `message`.
    pub overrides: BTreeMap<Box<str>, Value>,
}

/// Whom an attempt addresses.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The device's id; may be logged.
    pub device: &'a str,
    /// Its address at the provider; a secret.
    pub token: &'a str,
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruption_levels_are_read_as_they_are_written() {
        for word in ["passive", "active", "time-sensitive", "critical"] {
            assert_eq!(
                InterruptionLevel::parse(word).map(InterruptionLevel::as_str),
                Some(word)
            );
        }
        assert_eq!(InterruptionLevel::parse("loud"), None);
    }

    #[test]
    fn a_target_keeps_its_token_to_itself() {
        let target = Target {
            device: "d1",
            token: "secret",
        };
        assert!(!format!("{target:?}").contains("secret"));
    }
}
