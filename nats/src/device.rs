//! A device: an installation of an app, its token and what it wants to hear of.

pub(crate) mod holding;
mod pending;
mod wire;

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::holding::Holding;
pub use self::pending::{Answered, MAX_CHALLENGE_ATTEMPTS, Pending};
use self::wire::SCHEMA;
use crate::DeviceHash;
use crate::event::{Event, NameError, check_name};
pub use crate::filter::{Circle, Filter};
use crate::hash;
use crate::key::SecretHash;
use crate::tenant;
use crate::topic::{Pattern, Topic, TopicError};

/// The longest id of a device, as its owner writes it.
pub const MAX_ID_LEN: usize = 64;
/// The longest push token; APNs and FCM document none, a Web Push endpoint is an URL.
pub const MAX_TOKEN_LEN: usize = 2048;
/// The most subscriptions of one device.
pub const MAX_SUBSCRIPTIONS: usize = 256;

/// Id of a device, as it is stored: 1 to 64 of `[A-Za-z0-9_-]`, before it `<tenant>=` unless it is
/// of `main`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Box<str>);

/// Why a text is no device id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a device id is 1 to {MAX_ID_LEN} of A-Z, a-z, 0-9, `_` and `-`")]
pub struct DeviceIdError;

impl DeviceId {
    /// Reads an id as people and clients write it, which is one of `main`;
    /// [`crate::Tenant::device_id`] makes it another's.
    ///
    /// # Errors
    /// [`DeviceIdError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, DeviceIdError> {
        let is_id = (1..=MAX_ID_LEN).contains(&text.len())
            && text
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-');
        if is_id {
            Ok(Self(text.into()))
        } else {
            Err(DeviceIdError)
        }
    }

    /// Reads an id as it is stored.
    ///
    /// # Errors
    /// [`DeviceIdError`].
    pub fn parse_stored(text: &str) -> Result<Self, DeviceIdError> {
        let (_, written) = tenant::split_id(text);
        Self::parse(written)?;
        Ok(Self(text.into()))
    }

    /// The id as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as its owner writes it.
    pub fn written(&self) -> &str {
        tenant::split_id(&self.0).1
    }

    /// Whose it is.
    pub fn tenant(&self) -> crate::Tenant {
        tenant::named(tenant::split_id(&self.0).0)
    }

    /// Where the device stands in the order of tasks.
    pub fn hash(&self) -> DeviceHash {
        DeviceHash::of(&self.0)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of an app: one set of credentials at one provider and environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(Box<str>);

impl AppName {
    /// Reads a name of 1 to 20 characters `[a-z0-9_-]`: `send-<app>-urgent` must stay below the 32
    /// characters that JetStream advises for consumer names.
    ///
    /// # Errors
    /// [`NameError`] says what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_name(text, 20)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A device's address at its provider. A secret: it prints as its last four characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(Box<str>);

impl Token {
    /// Takes a token of 1 to [`MAX_TOKEN_LEN`] printable ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let is_token = (1..=MAX_TOKEN_LEN).contains(&text.len())
            && text.bytes().all(|it| it.is_ascii_graphic());
        is_token.then(|| Self(text.into()))
    }

    /// The secret itself, for the provider's request alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A name for it that does not tell it: 32 hexadecimal digits of a hash.
    pub fn alias(&self) -> String {
        let mut alias = hash::hex(&hash::digest("fanfare.token", &[self.0.as_bytes()]));
        alias.truncate(32);
        alias
    }

    /// The last four characters of a token of at least twelve, which people use to compare.
    pub fn hint(&self) -> &str {
        if self.0.len() < 12 {
            return "";
        }
        self.0.get(self.0.len() - 4..).unwrap_or("")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(…{})", self.hint())
    }
}

/// One interest of a device: a pattern, and conditions that must all pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Which topics.
    pub pattern: Pattern,
    /// Which of their events.
    pub filters: Vec<Filter>,
}

impl Subscription {
    /// Whether an event with these topics and data concerns this interest.
    pub fn matches(&self, topics: &[Topic], data: &Map<String, Value>) -> bool {
        topics.iter().any(|it| self.pattern.matches(it))
            && self.filters.iter().all(|it| it.passes(data))
    }
}

/// The document of one device: all its interests in one value, replaced as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Which credentials reach it.
    pub app: AppName,
    /// Its address.
    pub token: Token,
    /// Whose it is.
    pub user: Option<String>,
    /// Its language, as the app wrote it (BCP 47).
    pub locale: Option<String>,
    /// Its time zone (IANA name).
    pub time_zone: Option<String>,
    /// What it follows.
    pub subscriptions: Vec<Subscription>,
    /// When this token was first registered for this device; what a provider's 410 is compared with.
    pub registered_at: Timestamp,
    /// When it was registered last, with whatever token; `None` where an older version wrote.
    pub last_seen: Option<Timestamp>,
    /// By what the installation proves that it is this device; `None` where it never got a secret.
    pub secret: Option<SecretHash>,
    /// How it came by its token.
    pub holding: Holding,
    /// What it asked for, while its token is another user's. The fields above hold nothing of it.
    pub pending: Option<Pending>,
}

impl Device {
    /// Those of an event's topics because of which it concerns this device; one that waits for a
    /// confirmation is concerned by none.
    pub fn topics_of<'a>(&self, id: &DeviceId, event: &'a Event) -> Vec<&'a Topic> {
        if self.pending.is_some() {
            return Vec::new();
        }
        let data = &event.content.data;
        let own = [
            Some(Topic::of_device(id)),
            self.user.as_deref().map(Topic::of_user),
        ];
        let concerns = |topic: &&Topic| {
            let is_own = own.iter().flatten().any(|it| it == *topic);
            let mut subscriptions = self.subscriptions.iter();
            let is_followed = |it: &Subscription| {
                it.pattern.matches(topic) && it.filters.iter().all(|it| it.passes(data))
            };
            is_own || subscriptions.any(is_followed)
        };
        event.topics.iter().filter(concerns).collect()
    }
}

/// Why a stored document is no device. It never quotes the document.
#[derive(Debug, Error)]
pub enum DecodeDeviceError {
    /// Not the JSON shape.
    #[error("the document has another shape")]
    Shape(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("the document has schema {0}, this version reads {SCHEMA}")]
    Schema(u32),
    /// The app's name.
    #[error("the app's name is not valid")]
    App(#[source] NameError),
    /// The token.
    #[error("the token is not valid")]
    Token,
    /// The hash of a challenge's nonce.
    #[error("the challenge is not valid")]
    Nonce,
    /// A pattern.
    #[error("a pattern is not valid")]
    Pattern(#[source] TopicError),
}

impl DecodeDeviceError {
    /// The schema, if a later version wrote it.
    pub fn later(&self) -> Option<u32> {
        match self {
            Self::Schema(schema) => (*schema > SCHEMA).then_some(*schema),
            Self::Shape(_) | Self::App(_) | Self::Token | Self::Nonce | Self::Pattern(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_read_back_as_written_and_never_prints_its_token() {
        let device = Device {
            app: AppName::parse("ios").unwrap(),
            token: Token::parse(&"ab".repeat(32)).unwrap(),
            user: Some("ada".into()),
            locale: None,
            time_zone: Some("Europe/Berlin".into()),
            subscriptions: vec![Subscription {
                pattern: Pattern::parse("quakes.>").unwrap(),
                filters: vec![Filter::AtLeast {
                    field: "mag".into(),
                    min: 5.0,
                }],
            }],
            registered_at: Timestamp::UNIX_EPOCH,
            last_seen: Some(Timestamp::UNIX_EPOCH),
            secret: Some(crate::key::NewSecret::of_device(&crate::Tenant::main()).hash()),
            holding: Holding {
                since: Some(7),
                is_proven: true,
            },
            pending: None,
        };
        assert_eq!(Device::decode(&device.encode()).unwrap(), device);
        assert!(!format!("{device:?}").contains(&"ab".repeat(32)));
    }

    #[test]
    fn a_filter_with_an_unknown_key_is_refused() {
        let parsed: Result<Filter, _> =
            serde_json::from_value(json!({"field": "mag", "min": 5, "max": 6}));
        assert!(parsed.is_err());
    }
}
