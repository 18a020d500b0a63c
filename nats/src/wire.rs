//! The only wire form of an event: `CloudEvents` 1.0, binary mode. Each attribute is a header
//! `ce-<name>`, the payload is the content as JSON. What says how to deliver may be absent, which
//! means the default; attributes that nobody here knows are ignored.

use async_nats::HeaderMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::event::{Content, Event, EventId, Guarantee, SourceName, Urgency};
use crate::genuine;
use crate::level::Level;
use crate::policy::Retry;
use crate::topic::Topic;

const SPEC_VERSION: &str = "1.0";
/// The number of this shape, which stands in no event: an event without one has this.
const SCHEMA: u32 = 1;
const SOURCE_PREFIX: &str = "urn:fanfare:source:";

/// Why stored bytes are no event.
#[derive(Debug, Error)]
pub enum DecodeEventError {
    /// A header is missing or not readable.
    #[error("the attribute `{0}` is missing or not valid")]
    Attribute(&'static str),
    /// The payload is not the content.
    #[error("the payload has another shape")]
    Content(#[source] serde_json::Error),
    /// The id is not the hash of source, item and level: a forged or damaged event.
    #[error("the id does not belong to source, item and level")]
    Identity,
    /// Written by a later version.
    #[error("the event has schema {0}, this version reads {SCHEMA}")]
    Schema(u32),
    /// Headers that only a server's direct-get answer carries: somebody let an answer be stored.
    #[error("it is a stored answer of the broker, not an event")]
    StoredAnswer,
}

impl DecodeEventError {
    /// The schema, if a later version wrote it.
    pub fn later(&self) -> Option<u32> {
        match self {
            Self::Schema(schema) => Some(*schema),
            Self::Attribute(_) | Self::Content(_) | Self::Identity | Self::StoredAnswer => None,
        }
    }
}

/// Percent-encodes what the specification asks for: space, `"`, `%` and everything outside
/// printable ASCII, as UTF-8 bytes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' | b'"' | b'%' | 0..=0x1f | 0x7f..=0xff => {
                escaped.push('%');
                escaped.push_str(&crate::hash::hex(&[byte]).to_uppercase());
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |it: Option<u8>| char::from(it?).to_digit(16);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Writes headers and payload.
pub(crate) fn encode(event: &Event) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| headers.insert(name, escape(value).as_str());
    put("ce-specversion", SPEC_VERSION);
    put("ce-id", event.id().as_str());
    put("ce-source", &format!("{SOURCE_PREFIX}{}", event.source));
    put("ce-type", &event.kind);
    if let Some(first) = event.topics.first() {
        put("ce-subject", first.as_str());
    }
    if let Some(time) = event.occurred_at {
        put("ce-time", &time.to_string());
    }
    put("ce-item", &event.item);
    put("ce-level", &event.level.to_string());
    let topics: Vec<&str> = event.topics.iter().map(Topic::as_str).collect();
    put("ce-topics", &topics.join(","));
    put("ce-expiresat", &event.expires_at.to_string());
    put("ce-urgency", event.urgency.as_str());
    put("ce-guarantee", event.guarantee.as_str());
    if let Some(attempts) = event.retry.attempts() {
        put("ce-retryattempts", &attempts.to_string());
    }
    let waits = [
        ("ce-retryfirst", event.retry.first(), Retry::DEFAULT.first()),
        (
            "ce-retrylongest",
            event.retry.longest(),
            Retry::DEFAULT.longest(),
        ),
    ];
    for (name, wait, _) in waits.iter().filter(|(_, wait, usual)| wait != usual) {
        put(name, &wait.as_millis().to_string());
    }
    if let Some(digest) = &event.digest {
        put("ce-digest", digest);
    }
    if let Some(traceparent) = &event.traceparent {
        put("ce-traceparent", traceparent);
    }
    headers.insert("Content-Type", "application/json");
    (
        headers,
        serde_json::to_vec(&event.content).unwrap_or_default(),
    )
}

fn attribute(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|it| unescape(it.as_str()))
}

/// How urgent headers call an event, if that can be read; the payload is not needed.
pub(crate) fn urgency(headers: &HeaderMap) -> Option<Urgency> {
    word(headers, "ce-urgency").ok()
}

fn required(headers: &HeaderMap, name: &'static str) -> Result<String, DecodeEventError> {
    attribute(headers, name).ok_or(DecodeEventError::Attribute(name))
}

fn word<T: DeserializeOwned + Default>(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<T, DecodeEventError> {
    let Some(word) = attribute(headers, name) else {
        return absent(headers, name);
    };
    serde_json::from_value(word.into()).map_err(|_| DecodeEventError::Attribute(name))
}

/// The default, unless the header is there and cannot be read.
fn absent<T: Default>(headers: &HeaderMap, name: &'static str) -> Result<T, DecodeEventError> {
    match headers.get(name) {
        None => Ok(T::default()),
        Some(_) => Err(DecodeEventError::Attribute(name)),
    }
}

fn number<T: std::str::FromStr>(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Option<T>, DecodeEventError> {
    let Some(text) = attribute(headers, name) else {
        return absent(headers, name);
    };
    let number = text
        .parse()
        .map_err(|_| DecodeEventError::Attribute(name))?;
    Ok(Some(number))
}

fn retry(headers: &HeaderMap) -> Result<Retry, DecodeEventError> {
    let wait =
        |name, usual: Duration| Ok(number(headers, name)?.map_or(usual, Duration::from_millis));
    let (first, longest) = (
        wait("ce-retryfirst", Retry::DEFAULT.first())?,
        wait("ce-retrylongest", Retry::DEFAULT.longest())?,
    );
    Retry::new(number(headers, "ce-retryattempts")?, first, longest)
        .map_err(|_| DecodeEventError::Attribute("ce-retry…"))
}

/// Reads headers and payload strictly.
pub(crate) fn decode(headers: &HeaderMap, payload: &[u8]) -> Result<Event, DecodeEventError> {
    use DecodeEventError::Attribute;

    if genuine::is_answer(headers) {
        return Err(DecodeEventError::StoredAnswer);
    }
    if let Some(later) = number(headers, "ce-schema")?.filter(|it| *it > SCHEMA) {
        return Err(DecodeEventError::Schema(later));
    }
    if required(headers, "ce-specversion")? != SPEC_VERSION {
        return Err(Attribute("ce-specversion"));
    }
    let source = required(headers, "ce-source")?;
    let source = source
        .strip_prefix(SOURCE_PREFIX)
        .and_then(|it| SourceName::parse(it).ok())
        .ok_or(Attribute("ce-source"))?;
    let topics = required(headers, "ce-topics")?
        .split(',')
        .map(Topic::parse_stored)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| Attribute("ce-topics"))?;
    let occurred_at = attribute(headers, "ce-time")
        .map(|it| it.parse::<Timestamp>())
        .transpose()
        .map_err(|_| Attribute("ce-time"))?;
    let content: Content = serde_json::from_slice(payload).map_err(DecodeEventError::Content)?;
    let event = Event {
        source,
        item: required(headers, "ce-item")?,
        level: Level::parse(&required(headers, "ce-level")?).ok_or(Attribute("ce-level"))?,
        topics,
        kind: required(headers, "ce-type")?,
        occurred_at,
        expires_at: required(headers, "ce-expiresat")?
            .parse()
            .map_err(|_| Attribute("ce-expiresat"))?,
        urgency: word::<Urgency>(headers, "ce-urgency")?,
        guarantee: word::<Guarantee>(headers, "ce-guarantee")?,
        retry: retry(headers)?,
        digest: attribute(headers, "ce-digest"),
        traceparent: attribute(headers, "ce-traceparent"),
        content,
    };
    let id = required(headers, "ce-id")?;
    if EventId::parse(&id) != Some(event.id()) {
        return Err(DecodeEventError::Identity);
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::header;

    fn event(item: &str, title: &str) -> Event {
        Event {
            source: SourceName::parse("usgs").unwrap(),
            item: item.to_owned(),
            level: Level::Step(4.5),
            topics: vec![
                Topic::parse("quakes.us").unwrap(),
                Topic::parse("all").unwrap(),
            ],
            kind: "fanfare.event".to_owned(),
            occurred_at: Some(Timestamp::UNIX_EPOCH),
            expires_at: Timestamp::UNIX_EPOCH,
            urgency: Urgency::Bulk,
            guarantee: Guarantee::AtLeastOnce,
            retry: Retry::DEFAULT,
            digest: None,
            traceparent: None,
            content: Content {
                title: title.to_owned(),
                ..Content::default()
            },
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(item in ".{1,30}", title in ".{0,30}") {
            let event = event(&item, &title);
            let (headers, payload) = encode(&event);
            prop_assert_eq!(decode(&headers, &payload).unwrap(), event);
        }

        #[test]
        fn a_retry_policy_is_read_back(n in 0_u32..=1000, first in 100_u64..=5000, more in 0_u64..=900_000) {
            let (first, longest) = (Duration::from_millis(first), Duration::from_millis(first + more));
            let retry = Retry::new((n > 0).then_some(n), first, longest).unwrap();
            let event = Event { retry, ..event("a", "t") };
            let (headers, payload) = encode(&event);
            prop_assert_eq!(decode(&headers, &payload).unwrap().retry, retry);
        }
    }

    /// The headers of an event without this one.
    fn without(headers: &HeaderMap, name: &str) -> HeaderMap {
        let mut rest = HeaderMap::new();
        for (key, values) in headers.iter().filter(|(key, _)| key.to_string() != name) {
            for value in values {
                rest.append(key.clone(), value.clone());
            }
        }
        rest
    }

    #[test]
    fn what_says_how_to_deliver_may_be_absent_and_foreign_attributes_are_ignored() {
        let bulk = event("a", "t");
        let (mut headers, payload) = encode(&bulk);
        headers.insert("ce-fromthefuture", "1");
        assert_eq!(decode(&headers, &payload).unwrap(), bulk);
        let headers = without(&without(&headers, "ce-urgency"), "ce-guarantee");
        let event = decode(&headers, &payload).unwrap();
        assert_eq!(event.urgency, Urgency::Urgent);
        assert_eq!(event.guarantee, Guarantee::AtLeastOnce);
        assert_eq!(event.retry, Retry::DEFAULT);
    }

    #[test]
    fn a_policy_that_cannot_be_read_is_no_default() {
        for (name, value) in [
            ("ce-urgency", "soon"),
            ("ce-guarantee", "%"),
            ("ce-retryattempts", "0"),
            ("ce-retryattempts", "many"),
            ("ce-retryfirst", "1"),
            ("ce-retrylongest", "-1"),
        ] {
            let (mut headers, payload) = encode(&event("a", "t"));
            headers.insert(name, value);
            assert!(decode(&headers, &payload).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn attributes_are_escaped_as_the_specification_shows() {
        // CloudEvents HTTP and NATS bindings: "Euro € 😀" becomes "Euro%20%E2%82%AC%20%F0%9F%98%80".
        assert_eq!(escape("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(
            unescape("Euro%20%E2%82%AC%20%F0%9F%98%80").unwrap(),
            "Euro € 😀"
        );
        assert_eq!(unescape("100%"), None);
    }

    #[test]
    fn a_forged_id_and_a_stored_answer_are_refused() {
        let (mut headers, payload) = encode(&event("a", "t"));
        headers.insert("ce-id", "0".repeat(32).as_str());
        assert!(matches!(
            decode(&headers, &payload),
            Err(DecodeEventError::Identity)
        ));
        let (mut headers, payload) = encode(&event("a", "t"));
        headers.insert(header::STREAM, "X");
        assert!(matches!(
            decode(&headers, &payload),
            Err(DecodeEventError::StoredAnswer)
        ));
    }
}
