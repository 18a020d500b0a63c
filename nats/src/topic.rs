//! Topics of events and the patterns that devices follow.

use std::fmt;

use thiserror::Error;

/// The most characters a topic or pattern may have.
pub const MAX_LEN: usize = 200;
/// The most segments a topic or pattern may have.
pub const MAX_SEGMENTS: usize = 16;
/// First segment of the topics that belong to fanfare itself (`fanfare.device.<id>`,
/// `fanfare.user.<hash>`): every device follows its own, nobody may subscribe to another's.
pub const RESERVED: &str = "fanfare";

/// Why a text is no topic or pattern.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TopicError {
    /// Nothing was written.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_LEN`] or [`MAX_SEGMENTS`].
    #[error("is longer than {MAX_LEN} characters or {MAX_SEGMENTS} segments")]
    TooLong,
    /// A segment is empty or has a character outside `[A-Za-z0-9_-]`.
    #[error("has the segment `{0}`: write letters, digits, `_` and `-`, separated by dots")]
    Segment(String),
    /// `>` stands before the end.
    #[error("has `>` before its last segment")]
    TailNotLast,
    /// The first segment is [`RESERVED`].
    #[error("starts with `{RESERVED}.`, which is reserved")]
    Reserved,
}

fn check(text: &str, is_pattern: bool) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > MAX_LEN || text.split('.').count() > MAX_SEGMENTS {
        return Err(TopicError::TooLong);
    }
    let mut segments = text.split('.').peekable();
    while let Some(segment) = segments.next() {
        let is_wild = is_pattern && (segment == "*" || segment == ">");
        if segment == ">" && is_wild && segments.peek().is_some() {
            return Err(TopicError::TailNotLast);
        }
        let is_plain = !segment.is_empty()
            && segment
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-');
        if !is_wild && !is_plain {
            return Err(TopicError::Segment(segment.chars().take(32).collect()));
        }
    }
    Ok(())
}

/// A dotted interest name of an event, for example `quakes.us`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Box<str>);

impl Topic {
    /// Reads a topic.
    ///
    /// # Errors
    /// [`TopicError`]; the message continues a sentence that begins with the text's name.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text, false)?;
        Ok(Self(text.into()))
    }

    /// The reserved topic that reaches exactly this device.
    pub fn of_device(device: &crate::DeviceId) -> Self {
        Self(format!("{RESERVED}.device.{device}").into())
    }

    /// The reserved topic that reaches all devices of a user; the user's name does not appear.
    pub fn of_user(user: &str) -> Self {
        Self(format!("{RESERVED}.user.{:016x}", user_hash(user)).into())
    }

    /// True for a topic of fanfare itself.
    pub fn is_reserved(&self) -> bool {
        self.0.split('.').next() == Some(RESERVED)
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The hash of a user's name, as it stands in the reserved topic and in the index.
pub fn user_hash(user: &str) -> u64 {
    crate::DeviceHash::of(user).0
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a device follows: a topic in which a segment may be `*` (one segment) and the last may be
/// `>` (one or more).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`TopicError`], also for patterns below the reserved topics.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text, true)?;
        if text.split('.').next() == Some(RESERVED) {
            return Err(TopicError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// True when an event on `topic` concerns this pattern. Wildcards do not reach reserved topics.
    pub fn matches(&self, topic: &Topic) -> bool {
        if topic.is_reserved() {
            return false;
        }
        let mut wanted = self.0.split('.');
        let mut given = topic.0.split('.');
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(it), Some(segment)) if it == "*" || it == segment => {}
                (Some(_), Some(_) | None) | (None, Some(_)) => return false,
            }
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_match(pattern: &str, topic: &str, expected: bool) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches(&Topic::parse(topic).unwrap()), expected);
    }

    #[test]
    fn wildcards_match_whole_segments() {
        check_match("quakes.us", "quakes.us", true);
        check_match("quakes.us", "quakes.us.big", false);
        check_match("quakes.*", "quakes.us", true);
        check_match("quakes.*", "quakes", false);
        check_match("quakes.*", "quakes.us.big", false);
        check_match("quakes.>", "quakes.us.big", true);
        check_match("quakes.>", "quakes", false);
        check_match("*.us", "quakes.us", true);
        check_match(">", "quakes.us", true);
    }

    #[test]
    fn wildcards_do_not_reach_reserved_topics() {
        check_match(">", "fanfare.device.phone-1", false);
        check_match("*.device.>", "fanfare.device.phone-1", false);
        assert_eq!(Pattern::parse("fanfare.>"), Err(TopicError::Reserved));
    }

    #[test]
    fn foreign_text_is_no_topic() {
        for text in ["", ".", "a..b", "a b", "a.*", "ä", "a.>", &"x".repeat(201)] {
            assert!(Topic::parse(text).is_err(), "{text}");
        }
        assert_eq!(Pattern::parse("a.>.b"), Err(TopicError::TailNotLast));
    }
}
