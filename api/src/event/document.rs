//! A posted event on the wire. Pure.

pub(crate) mod schema;

use std::time::Duration;

use fanfare_nats::event::{Content, Event, Guarantee, MAX_EXPIRES_IN, SourceName, Urgency};
use fanfare_nats::policy::{MAX_ATTEMPTS, Policy, Retry, RetryError, TopicPolicies, Wish};
use fanfare_nats::{DeviceId, Level, Tenant, Topic};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::body::MAX_USER;
use crate::event::POSTED;
use crate::event::digest::digest;
use crate::fields::{Fields, Flaw, Flaws, Read};
use crate::text;

const MAX_ID: usize = 200;
const MAX_TOPICS: usize = 32;
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 2000;
const MAX_WORD: usize = 64;
/// No provider takes more than 4096 bytes in all (APNs, FCM).
const MAX_DATA_BYTES: usize = 4096;

/// What an app asks for; its id may come from the header, or be missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Posted {
    pub(crate) id: Option<String>,
    topics: Vec<Topic>,
    wish: Wish,
    content: Content,
}

impl Posted {
    /// The event of a tenant under this id, delivered as its poster says, then as its topics are,
    /// whosever they are.
    pub(crate) fn into_event(
        self,
        id: &str,
        traceparent: Option<String>,
        policies: &TopicPolicies,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Event {
        let digest = digest(&self.topics, &self.content, &self.wish);
        let Policy {
            retry,
            expires_in,
            guarantee,
            urgency,
        } = policies.decide(self.wish, &self.topics);
        let expires_at = SignedDuration::try_from(expires_in)
            .ok()
            .and_then(|it| now.checked_add(it).ok());
        Event {
            source: SourceName::api(),
            item: tenant.text(id),
            level: Level::First,
            topics: self.topics.iter().map(|it| tenant.topic(it)).collect(),
            kind: POSTED.to_owned(),
            occurred_at: Some(now),
            expires_at: expires_at.unwrap_or(now),
            urgency,
            guarantee,
            retry,
            digest: Some(digest),
            traceparent,
            content: self.content,
        }
    }
}

/// Reads a posted event; `key` is the header's, which is the id too.
///
/// # Errors
/// All fields that are not valid.
pub(crate) fn read(body: Value, key: Option<String>) -> Result<Posted, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let posted = read_fields(body, key, &mut flaws);
    flaws.judge(posted)
}

fn read_fields(body: Value, key: Option<String>, flaws: &mut Flaws) -> Option<Posted> {
    let mut fields = Fields::open(body, "", flaws)?;
    let id = fields.optional("id", flaws, |it| text::name(it, MAX_ID));
    if id.is_some() && key.is_some() && id != key {
        flaws.add("/id", "differs from the header `Idempotency-Key`");
    }
    let topics = topics(&mut fields, flaws);
    let named = one_word(&mut fields, ["priority", "urgency"], flaws);
    let urgency = urgency(&mut fields, named, flaws);
    let named = one_word(&mut fields, ["delivery", "guarantee"], flaws);
    let guarantee = fields.optional(named, flaws, |it| {
        let words = [Guarantee::AtLeastOnce, Guarantee::AtMostOnce];
        text::word(it, &words.map(|it| (it.as_str(), it)))
    });
    let named = one_word(&mut fields, ["ttl", "expires_in"], flaws);
    let expires_in_s = fields.optional(named, flaws, |it| {
        text::seconds(it, MAX_EXPIRES_IN.as_secs())
    });
    let retry = fields.take("retries").and_then(|it| retries(it, flaws));
    let content = content(&mut fields, flaws);
    fields.finish(flaws);
    Some(Posted {
        id: id.or(key),
        topics,
        wish: Wish {
            retry,
            expires_in: expires_in_s.map(Duration::from_secs),
            guarantee,
            urgency,
        },
        content,
    })
}

/// By which of two words for the same thing it is said.
fn one_word(
    fields: &mut Fields,
    [word, other]: [&'static str; 2],
    flaws: &mut Flaws,
) -> &'static str {
    if !fields.has(other) {
        // As null it is absent, and no unknown field.
        drop(fields.take(other));
        return word;
    }
    if fields.take(word).is_some() {
        let detail = format!("is another word for `{word}`: give one of them");
        flaws.add(fields.at(other), detail);
    }
    other
}

/// `{"attempts": 5, "first": "2s", "longest": "15m"}`; what is left out has its default.
fn retries(value: Value, flaws: &mut Flaws) -> Option<Retry> {
    const AT: &str = "/retries";
    let mut fields = Fields::open(value, AT, flaws)?;
    let n_flaws = flaws.len();
    let attempts = fields.optional("attempts", flaws, |it| {
        let number = it.as_u64().and_then(|it| u32::try_from(it).ok());
        let number = number.filter(|it| (1..=MAX_ATTEMPTS).contains(it));
        number.ok_or_else(|| format!("must be a whole number, 1 to {MAX_ATTEMPTS}").into())
    });
    let mut wait = |key: &str, usual: Duration, flaws: &mut Flaws| {
        let wait = fields.optional(key, flaws, |it| text::seconds(it, MAX_EXPIRES_IN.as_secs()));
        wait.map_or(usual, Duration::from_secs)
    };
    let first = wait("first", Retry::DEFAULT.first(), flaws);
    let longest = wait("longest", Retry::DEFAULT.longest(), flaws);
    fields.finish(flaws);
    if flaws.len() > n_flaws {
        return None;
    }
    let retry = Retry::new(attempts, first, longest).map_err(|error| {
        let key = match error {
            RetryError::Attempts => "attempts",
            RetryError::First => "first",
            RetryError::Longest => "longest",
        };
        flaws.add(format!("{AT}/{key}"), error.to_string());
    });
    retry.ok()
}

/// Whom it concerns: topics, or one device, or all devices of one user.
pub(crate) fn topics(fields: &mut Fields, flaws: &mut Flaws) -> Vec<Topic> {
    let named: Vec<&str> = ["topics", "device", "user"]
        .into_iter()
        .filter(|it| fields.has(it))
        .collect();
    match named.as_slice() {
        [] => flaws.add(
            "/topics",
            "is missing: name `topics`, a `device` or a `user`",
        ),
        [_] => {}
        [_, more @ ..] => {
            for it in more {
                flaws.add(
                    fields.at(it),
                    "only one of `topics`, `device` and `user` can be given",
                );
            }
        }
    }
    let are_given = fields.has("topics");
    let n_flaws = flaws.len();
    let listed = fields.items("topics", MAX_TOPICS, flaws, |it, at, flaws| {
        flaws.keep(at, text::topic(it))
    });
    if are_given && listed.is_empty() && flaws.len() == n_flaws {
        flaws.add("/topics", "must have at least one topic");
    }
    let device = fields.optional("device", flaws, device);
    let user = fields.optional("user", flaws, |it| text::name(it, MAX_USER));
    let reserved = [
        device.map(|it| Topic::of_device(&it)),
        user.map(|it| Topic::of_user(&it)),
    ];
    let mut topics: Vec<Topic> = Vec::new();
    for it in listed.into_iter().chain(reserved.into_iter().flatten()) {
        if !topics.contains(&it) {
            topics.push(it);
        }
    }
    topics
}

/// What devices filter by.
pub(crate) fn data(fields: &mut Fields, flaws: &mut Flaws) -> Map<String, Value> {
    let data = fields.optional("data", flaws, |it| text::object(it, MAX_DATA_BYTES));
    data.unwrap_or_default()
}

/// Before everything else, or behind it.
pub(crate) fn urgency(fields: &mut Fields, named: &str, flaws: &mut Flaws) -> Option<Urgency> {
    let words = [Urgency::Urgent, Urgency::Bulk].map(|it| (it.as_str(), it));
    fields.optional(named, flaws, |it| text::word(it, &words))
}

fn device(value: Value) -> Read<DeviceId> {
    DeviceId::parse(&text::string(value)?).map_err(|error| error.to_string().into())
}

fn content(fields: &mut Fields, flaws: &mut Flaws) -> Content {
    let word = |fields: &mut Fields, key: &str, flaws: &mut Flaws| {
        fields.optional(key, flaws, |it| text::name(it, MAX_WORD))
    };
    Content {
        sound: word(fields, "sound", flaws),
        thread: word(fields, "thread", flaws),
        title: fields
            .required("title", flaws, |it| text::line(it, MAX_TITLE))
            .unwrap_or_default(),
        body: fields.optional("body", flaws, |it| text::prose(it, MAX_BODY)),
        url: fields.optional("url", flaws, text::link),
        image: fields.optional("image", flaws, text::picture),
        data: data(fields, flaws),
        badge: fields.optional("badge", flaws, badge),
        interruption: fields.optional("interruption", flaws, |it| {
            // Apple, "UNNotificationInterruptionLevel", as APNs spells them.
            let words = ["passive", "active", "time-sensitive", "critical"];
            text::word(it, &words.map(|it| (it, it))).map(str::to_owned)
        }),
        overrides: fields
            .optional("overrides", flaws, overrides)
            .unwrap_or_default(),
    }
}

fn badge(value: Value) -> Read<u32> {
    let number = value.as_u64().and_then(|it| u32::try_from(it).ok());
    number.ok_or_else(|| "must be a whole number, 0 or more".into())
}

/// Provider name to an object; which names and members mean something is the notifier's to know.
fn overrides(value: Value) -> Read<Map<String, Value>> {
    let overrides = text::object(value, MAX_DATA_BYTES)?;
    let is_name = |it: &String| {
        (1..=20).contains(&it.len())
            && it
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
    };
    if overrides
        .iter()
        .all(|(name, it)| is_name(name) && it.is_object())
    {
        Ok(overrides)
    } else {
        Err("must map names of providers to objects".into())
    }
}

/// The key of the header `Idempotency-Key` (IETF draft 07: a quoted string; plain text is taken
/// too).
///
/// # Errors
/// What is wrong with it.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("was sent more than once");
    }
    let wrong = "must be a quoted string of 1 to 200 printable ASCII characters";
    let text = value.to_str().map_err(|_| wrong)?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest).ok_or(wrong)?,
        None => text.to_owned(),
    };
    let is_key = (1..=MAX_ID).contains(&key.len()) && !key.contains(|it: char| it.is_control());
    if is_key { Ok(Some(key)) } else { Err(wrong) }
}

/// The content of a structured-field string after its first quote (RFC 9651 section 3.3.3).
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut letters = rest.chars();
    loop {
        match letters.next()? {
            '"' => return letters.next().is_none().then_some(key),
            '\\' => key.push(letters.next().filter(|it| matches!(it, '"' | '\\'))?),
            letter => key.push(letter),
        }
    }
}

/// The trace context of the request, if it is one (W3C Trace Context, version 00).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |it: &str, len: usize| {
        it.len() == len
            && it
                .bytes()
                .all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
    };
    let [version, trace, parent, flags] = parts.as_slice() else {
        return None;
    };
    let is_context =
        *version == "00" && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    is_context.then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
