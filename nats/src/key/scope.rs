//! What a key may do, as people write it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::topic::{Pattern, RESERVED, Topic, TopicError};

/// A kind of scope: what a route asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// To read, write and remove any device.
    DevicesWrite,
    /// To register a device that then looks after itself.
    DevicesWriteSelf,
    /// To post events on some topics.
    Publish,
    /// To read everything but secrets.
    Read,
    /// To pause, resume, and send again.
    Operate,
    /// To do everything.
    Admin,
}

impl Right {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::DevicesWrite,
        Self::DevicesWriteSelf,
        Self::Publish,
        Self::Read,
        Self::Operate,
        Self::Admin,
    ];

    /// The scope's word; `events:publish` without its pattern.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DevicesWrite => "devices:write",
            Self::DevicesWriteSelf => "devices:write:self",
            Self::Publish => "events:publish",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// One thing that a key may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `devices:write`.
    DevicesWrite,
    /// `devices:write:self`.
    DevicesWriteSelf,
    /// `events:publish:<pattern>`.
    Publish(PublishPattern),
    /// `read`.
    Read,
    /// `operate`.
    Operate,
    /// `admin`.
    Admin,
}

/// Why a text is no scope.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScopeError {
    /// The word.
    #[error(
        "a scope is `devices:write`, `devices:write:self`, `events:publish:<pattern>`, `read`, \
         `operate` or `admin`"
    )]
    Word,
    /// The pattern.
    #[error("the pattern of `events:publish:` {0}")]
    Pattern(#[source] TopicError),
    /// A pattern of fanfare's own topics.
    #[error(
        "below `{RESERVED}` a key may publish to `{RESERVED}.device.<id>` and \
         `{RESERVED}.user.<hash>`, or to all of one kind with `*`"
    )]
    Reserved,
}

impl Scope {
    /// What kind it is.
    pub fn right(&self) -> Right {
        match self {
            Self::DevicesWrite => Right::DevicesWrite,
            Self::DevicesWriteSelf => Right::DevicesWriteSelf,
            Self::Publish(_) => Right::Publish,
            Self::Read => Right::Read,
            Self::Operate => Right::Operate,
            Self::Admin => Right::Admin,
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if let Some(pattern) = text.strip_prefix("events:publish:") {
            return PublishPattern::parse(pattern).map(Self::Publish);
        }
        Ok(match text {
            "devices:write" => Self::DevicesWrite,
            "devices:write:self" => Self::DevicesWriteSelf,
            "read" => Self::Read,
            "operate" => Self::Operate,
            "admin" => Self::Admin,
            _ => return Err(ScopeError::Word),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.right().as_str();
        match self {
            Self::Publish(pattern) => write!(f, "{word}:{}", pattern.as_str()),
            Self::DevicesWrite
            | Self::DevicesWriteSelf
            | Self::Read
            | Self::Operate
            | Self::Admin => f.write_str(word),
        }
    }
}

/// Which topics a key may publish on: a pattern as in a subscription, or one of fanfare's own
/// topics, which a wildcard never reaches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublishPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Topics(Pattern),
    /// `fanfare.device.<id or *>`, `fanfare.user.<hash or *>`.
    Reserved(Box<str>),
}

impl PublishPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`ScopeError`].
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        match Pattern::parse(text) {
            Ok(pattern) => Ok(Self(Kind::Topics(pattern))),
            Err(TopicError::Reserved) => {
                let segments: Vec<&str> = text.split('.').collect();
                match segments.as_slice() {
                    [_, "device" | "user", last] if *last != ">" => {
                        Ok(Self(Kind::Reserved(text.into())))
                    }
                    _ => Err(ScopeError::Reserved),
                }
            }
            Err(error) => Err(ScopeError::Pattern(error)),
        }
    }

    /// Whether it reaches a topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        match &self.0 {
            Kind::Topics(pattern) => pattern.matches(topic),
            Kind::Reserved(text) => {
                let text: &str = text;
                text == topic.as_str()
                    || text
                        .strip_suffix('*')
                        .is_some_and(|kind| topic.as_str().starts_with(kind))
            }
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Kind::Topics(pattern) => pattern.as_str(),
            Kind::Reserved(text) => text,
        }
    }
}
