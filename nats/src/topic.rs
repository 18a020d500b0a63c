//! Topics of events and the patterns that devices follow.

use std::fmt;

use thiserror::Error;

use crate::tenant;

/// The most characters a topic or pattern may have, as its owner writes it.
pub const MAX_LEN: usize = 200;
/// The most segments a topic or pattern may have.
pub const MAX_SEGMENTS: usize = 16;
/// First segment of the topics that belong to fanfare itself (`fanfare.device.<id>`,
/// `fanfare.user.<hash>`): every device follows its own, nobody may subscribe to another's. Below
/// `fanfare.tenant.<tenant>` stand the topics of tenants, these two kinds of each among them.
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
    /// Reads a topic as people and clients write it, which is one of `main`;
    /// [`crate::Tenant::topic`] makes it another's.
    ///
    /// # Errors
    /// [`TopicError`]; the message continues a sentence that begins with the text's name.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text, false)?;
        if tenant::is_path(text) {
            return Err(TopicError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// Reads a topic as it is stored: of `main` or of another tenant.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn parse_stored(text: &str) -> Result<Self, TopicError> {
        Self::parse(tenant::written_path(text))?;
        Ok(Self(text.into()))
    }

    pub(crate) fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// The reserved topic that reaches exactly this device.
    pub fn of_device(device: &crate::DeviceId) -> Self {
        let written = format!("{RESERVED}.device.{}", device.written());
        device.tenant().topic(&Self(written.into()))
    }

    /// The reserved topic that reaches all devices of a user, who is given as stored; the user's
    /// name does not appear.
    pub fn of_user(user: &str) -> Self {
        let (tenant, user) = tenant::split_text(user);
        let written = format!("{RESERVED}.user.{}", crate::DeviceHash::of(user));
        tenant::named(tenant).topic(&Self(written.into()))
    }

    /// The reserved topic that reaches the token of this device while it is not confirmed, and nothing
    /// else of it.
    pub fn of_challenge(device: &crate::DeviceId) -> Self {
        let written = format!("{RESERVED}.challenge.{}", device.written());
        device.tenant().topic(&Self(written.into()))
    }

    /// True for a topic of fanfare itself, and for every topic of a tenant other than `main`.
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }

    /// Whose it is.
    pub fn tenant(&self) -> crate::Tenant {
        tenant::named(tenant::split_path(&self.0).0)
    }

    /// The same as its owner writes it.
    #[must_use]
    pub fn written(&self) -> Self {
        Self(tenant::written_path(&self.0).into())
    }

    /// Whose it is, `None` for `main`, and what patterns are held against: nothing where it is a
    /// topic that no pattern reaches.
    pub(crate) fn followed(&self) -> (Option<&str>, Option<&str>) {
        let (tenant, written) = tenant::split_path(&self.0);
        (tenant, Some(written).filter(|it| !is_reserved(it)))
    }

    /// The reserved topic of what is told of registrations that expire.
    pub fn of_expiring(tenant: &crate::Tenant) -> Self {
        tenant.topic(&Self(format!("{RESERVED}.registration.expiring").into()))
    }

    /// True for the topic of a challenge, of whatever tenant.
    pub fn is_of_challenge(&self) -> bool {
        let mut segments = tenant::written_path(&self.0).split('.');
        segments.next() == Some(RESERVED) && segments.next() == Some("challenge")
    }

    /// The topic as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_reserved(text: &str) -> bool {
    text.split('.').next() == Some(RESERVED)
}

/// The hash by which the index finds the devices of a user, who is given as stored. Of `main` it is
/// the hash in the reserved topic.
pub fn user_hash(user: &str) -> u64 {
    let (tenant, user) = tenant::split_text(user);
    addressed_user(&tenant::named(tenant), crate::DeviceHash::of(user))
}

/// The hash of the user whom a reserved topic of a tenant names by the hash of his name alone: one of
/// two tenants' users of a name cannot be named by the other.
pub(crate) fn addressed_user(tenant: &crate::Tenant, named: crate::DeviceHash) -> u64 {
    if tenant.is_main() {
        return named.0;
    }
    crate::DeviceHash::of(&tenant.text(&named.to_string())).0
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
    /// Reads a pattern as people and clients write it, which is one of `main`;
    /// [`crate::Tenant::pattern`] makes it another's.
    ///
    /// # Errors
    /// [`TopicError`], also for patterns below the reserved topics.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check(text, true)?;
        if is_reserved(text) {
            return Err(TopicError::Reserved);
        }
        Ok(Self(text.into()))
    }

    /// Reads a pattern as it is stored: of `main` or of another tenant.
    ///
    /// # Errors
    /// [`TopicError`].
    pub fn parse_stored(text: &str) -> Result<Self, TopicError> {
        Self::parse(tenant::written_path(text))?;
        Ok(Self(text.into()))
    }

    pub(crate) fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// The pattern as its owner writes it.
    pub fn written(&self) -> &str {
        tenant::written_path(&self.0)
    }

    /// True when an event on `topic` concerns this pattern. Wildcards reach neither reserved topics
    /// nor those of another tenant.
    pub fn matches(&self, topic: &Topic) -> bool {
        let (tenant, wanted) = tenant::split_path(&self.0);
        let (Some(given), true) = (topic.followed().1, topic.followed().0 == tenant) else {
            return false;
        };
        let mut wanted = wanted.split('.');
        let mut given = given.split('.');
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some(it), Some(segment)) if it == "*" || it == segment => {}
                (Some(_), Some(_) | None) | (None, Some(_)) => return false,
            }
        }
    }

    /// The pattern as it is stored.
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
