//! An event: a fact that may become pushes. Its identity is its subject.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::hash;
use crate::level::Level;
use crate::policy::Retry;
use crate::tenant::{self, Tenant};
use crate::topic::Topic;

/// The source name of events that applications post themselves.
pub const API_SOURCE: &str = "api";
/// Source names that a configuration may not use.
pub const RESERVED_SOURCES: [&str; 2] = [API_SOURCE, "replay"];
/// The latest an event may expire after it was published (design section 3).
pub const MAX_EXPIRES_IN: std::time::Duration = std::time::Duration::from_hours(24);

/// Why a text is no name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no name: write 1 to {max} of a-z, 0-9, `_` and `-`")]
pub struct NameError {
    text: String,
    max: usize,
}

/// Checks a name that becomes one token of a subject.
pub(crate) fn check_name(text: &str, max: usize) -> Result<(), NameError> {
    let is_name = (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_' || it == b'-');
    if is_name {
        Ok(())
    } else {
        Err(NameError {
            text: text.chars().take(64).collect(),
            max,
        })
    }
}

/// The configured name of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Box<str>);

impl SourceName {
    /// Reads a name of 1 to 32 characters `[a-z0-9_-]`; reserved names are names too.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, 32)?;
        Ok(Self(text.into()))
    }

    /// The source of posted events.
    pub fn api() -> Self {
        Self(API_SOURCE.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Reads 32 lower-case hexadecimal digits.
            pub fn parse(text: &str) -> Option<Self> {
                hash::is_hex(text, 32).then(|| Self(text.into()))
            }

            fn of(domain: &str, parts: &[&[u8]]) -> Self {
                let mut digits = hash::hex(&hash::digest(domain, parts));
                digits.truncate(32);
                Self(digits.into())
            }

            /// The id as text: 32 lower-case hexadecimal digits (128 bits).
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hex_id! {
    /// hash(source, item, level): which event this is.
    EventId
}
hex_id! {
    /// hash(source, item): which line on the screen it is. It is the item's token in subjects too.
    ScreenId
}

impl EventId {
    /// The id of an item's level.
    pub fn new(source: &SourceName, item: &str, level: &Level) -> Self {
        let level = level.to_string();
        Self::of(
            "fanfare.event",
            &[
                source.as_str().as_bytes(),
                item.as_bytes(),
                level.as_bytes(),
            ],
        )
    }
}

impl ScreenId {
    /// The id of an item.
    pub fn new(source: &SourceName, item: &str) -> Self {
        Self::of(
            "fanfare.screen",
            &[source.as_str().as_bytes(), item.as_bytes()],
        )
    }
}

/// Which lane of an app an event takes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Now; never behind a bulk fan-out.
    #[default]
    Urgent,
    /// When there is room.
    Bulk,
}

impl Urgency {
    /// `urgent` or `bulk`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Bulk => "bulk",
        }
    }
}

/// What may happen when a process dies between the request and its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guarantee {
    /// Sent again: never lost.
    #[default]
    AtLeastOnce,
    /// Not sent again: never repeated.
    AtMostOnce,
}

impl Guarantee {
    /// `at_least_once` or `at_most_once`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at_least_once",
            Self::AtMostOnce => "at_most_once",
        }
    }
}

/// What a person gets to see, and what the app gets beside it. This is the event's payload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The line in bold.
    pub title: String,
    /// The text below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What a tap opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A picture's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Values for the app and for subscription filters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// Name of the sound; `default` is the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// The number on the app's icon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub badge: Option<u32>,
    /// Groups lines on the screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// `passive`, `active`, `time-sensitive` or `critical` (Apple's words).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<String>,
    /// Provider name to an object that is merged over what fanfare would send.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub overrides: Map<String, Value>,
}

/// A normalized fact about one item at one level.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it came from.
    pub source: SourceName,
    /// The source's own stable id of the item.
    pub item: String,
    /// What was decided about the item.
    pub level: Level,
    /// Whom it concerns; at least one.
    pub topics: Vec<Topic>,
    /// The `CloudEvents` type, for example `org.example.quake`.
    pub kind: String,
    /// When it happened, where the source says so.
    pub occurred_at: Option<Timestamp>,
    /// After this nobody is told any more.
    pub expires_at: Timestamp,
    /// Which lane it takes.
    pub urgency: Urgency,
    /// Repeat or lose at a crash.
    pub guarantee: Guarantee,
    /// Attempts and waits of each device.
    pub retry: Retry,
    /// What the poster wrote, as a hash of the request; only for posted events.
    pub digest: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// What is shown.
    pub content: Content,
}

/// The member of a challenge's data that is the nonce.
pub const CHALLENGE: &str = "nonce";

impl Event {
    /// Which event this is.
    pub fn id(&self) -> EventId {
        EventId::new(&self.source, &self.item, &self.level)
    }

    /// Whose it is: that of its topics, which are all of one tenant.
    pub fn tenant(&self) -> Tenant {
        self.topics.first().map_or_else(Tenant::main, Topic::tenant)
    }

    /// Whether it carries the nonce of a challenge, which only a push may tell.
    pub fn is_challenge(&self) -> bool {
        self.topics.iter().any(Topic::is_of_challenge)
    }

    /// The nonce of a challenge.
    pub fn challenge(&self) -> Option<&str> {
        let nonce = self.content.data.get(CHALLENGE)?;
        nonce.as_str().filter(|_| self.is_challenge())
    }

    /// Its item as its poster or its source calls it.
    pub fn written_item(&self) -> &str {
        if self.tenant().is_main() {
            &self.item
        } else {
            tenant::written_text(&self.item)
        }
    }

    /// Which line on the screen it is.
    pub fn screen(&self) -> ScreenId {
        ScreenId::new(&self.source, &self.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_depend_on_identity_alone_and_never_change_between_versions() {
        let usgs = SourceName::parse("usgs").unwrap();
        let first = EventId::new(&usgs, "us7000abcd", &Level::First);
        assert_eq!(first, EventId::new(&usgs, "us7000abcd", &Level::First));
        assert_ne!(first, EventId::new(&usgs, "us7000abcd", &Level::Step(6.0)));
        assert_ne!(
            ScreenId::new(&usgs, "a").as_str(),
            EventId::new(&usgs, "a", &Level::First).as_str()
        );
        assert_eq!(first.as_str().len(), 32);
        assert!(EventId::parse(first.as_str()).is_some());
        assert!(EventId::parse("xyz").is_none());
    }

    #[test]
    fn names_are_tokens() {
        for text in ["", "Usgs", "a.b", "a b", &"x".repeat(33)] {
            assert!(SourceName::parse(text).is_err(), "{text}");
        }
        assert!(SourceName::parse("nws-alerts_2").is_ok());
    }
}
