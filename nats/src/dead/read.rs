//! Reading dead letters back: all that match, or one.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use futures::StreamExt;
use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use super::{DeadLetter, DeadReason};
use crate::connect::Broker;
use crate::consumer::{Patience, one_reading};
use crate::device::AppName;
use crate::event::EventId;
use crate::subject::Names;

/// Letters of one pull.
const BATCH: usize = 500;

/// What lies in the stream: why something was given up, or the broker's word that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A letter of ours.
    Letter(DeadReason),
    /// The broker gave a message up because somebody set a limit on a consumer.
    Advisory,
}

impl Kind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Letter(reason) => reason.as_str(),
            Self::Advisory => "advisory",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Letter(DeadReason::Refused),
            Self::Letter(DeadReason::Invalid),
            Self::Letter(DeadReason::Poison),
            Self::Advisory,
        ]
        .into_iter()
        .find(|it| it.as_str() == word)
    }
}

/// Which letters are asked for; what is `None` does not narrow it down.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Why.
    pub kind: Option<Kind>,
    /// Through which app.
    pub app: Option<AppName>,
    /// Of which event.
    pub event: Option<EventId>,
    /// Stored at or after this.
    pub since: Option<Timestamp>,
}

/// What the broker says when a consumer's limit on deliveries is reached. With our settings it
/// never is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Advisory {
    /// Stream of the message.
    pub stream: String,
    /// Consumer that gave it up.
    pub consumer: String,
    /// Sequence of the message in its stream.
    pub stream_seq: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// What one message of the stream holds.
#[derive(Clone, Debug)]
pub enum Found {
    /// A letter.
    Letter(Box<DeadLetter>),
    /// The broker's advisory.
    Advisory(Advisory),
    /// Neither; why it is not readable.
    Unreadable(String),
}

/// One message of the stream of dead letters.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its sequence: the letter's number.
    pub seq: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// What it holds.
    pub found: Found,
}

impl Entry {
    fn read(seq: u64, stored_at: Timestamp, subject: &str, payload: &[u8]) -> Self {
        let found = if subject.starts_with("$JS.") {
            serde_json::from_slice(payload).map(Found::Advisory)
        } else {
            serde_json::from_slice(payload).map(|it| Found::Letter(Box::new(it)))
        };
        Self {
            seq,
            stored_at,
            subject: subject.to_owned(),
            found: found.unwrap_or_else(|error| Found::Unreadable(error.to_string())),
        }
    }

    pub(super) fn of(message: &StreamMessage) -> Self {
        let at = timestamp(message.time);
        Self::read(message.sequence, at, &message.subject, &message.payload)
    }

    /// The letter, if it is one.
    pub fn letter(&self) -> Option<&DeadLetter> {
        match &self.found {
            Found::Letter(letter) => Some(letter),
            Found::Advisory(_) | Found::Unreadable(_) => None,
        }
    }

    /// What it is, where it can be read.
    pub fn kind(&self) -> Option<Kind> {
        match &self.found {
            Found::Letter(letter) => Some(Kind::Letter(letter.reason)),
            Found::Advisory(_) => Some(Kind::Advisory),
            Found::Unreadable(_) => None,
        }
    }
}

/// Why dead letters could not be read.
#[derive(Debug, Error)]
pub enum ReadDeadError {
    /// The stream or its consumer.
    #[error("the stream {stream} cannot be read: {text}")]
    Read {
        /// Its name.
        stream: String,
        /// The broker's words.
        text: String,
    },
    /// It gave fewer messages than it has.
    #[error("the stream {stream} stands still with {left} messages to come")]
    StandsStill {
        /// Its name.
        stream: String,
        /// How many were to come.
        left: u64,
    },
}

impl Wanted {
    /// The subjects that can hold what is wanted.
    pub(super) fn filters(&self, names: &Names) -> Vec<String> {
        let any = || "*".to_owned();
        let mut filters = Vec::new();
        if self.kind != Some(Kind::Advisory) {
            let reason = self.kind.map_or_else(any, |it| it.as_str().to_owned());
            let event = self.event.as_ref().map_or_else(any, ToString::to_string);
            let app = self.app.as_ref().map_or_else(any, ToString::to_string);
            filters.push(format!("{}.dead.{reason}.{event}.{app}.*", names.prefix()));
        }
        let is_narrow = self.event.is_some() || self.app.is_some();
        let wants_advisories = matches!(self.kind, None | Some(Kind::Advisory)) && !is_narrow;
        if wants_advisories {
            let of = |it| format!("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.{it}.*");
            filters.extend([names.events(), names.tasks()].map(of));
        }
        filters
    }
}

impl Broker {
    /// Hands every letter that is wanted to `each`, the oldest first, with the number of those that
    /// are still to come; returns how many there were.
    ///
    /// What is stored meanwhile may or may not be among them. Dropping the future stops the reading.
    ///
    /// # Errors
    /// [`ReadDeadError`]: some may have been handed out already; start over.
    pub async fn dead_letters(
        &self,
        wanted: &Wanted,
        mut each: impl FnMut(Entry, u64) + Send,
    ) -> Result<u64, ReadDeadError> {
        let name = self.names.dead();
        let failed = |text: String| ReadDeadError::Read {
            stream: name.clone(),
            text,
        };
        let filter_subjects = wanted.filters(&self.names);
        if filter_subjects.is_empty() {
            return Ok(0); // Advisories name no event and no app.
        }
        let stream = self.context.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        let consumer = stream
            .create_consumer(pull::Config {
                deliver_policy: beginning(wanted.since),
                filter_subjects,
                ..one_reading()
            })
            .await
            .map_err(|error| failed(error.to_string()))?;
        let n = consumer.cached_info().num_pending;
        let mut left = n;
        let mut patience = Patience::default();
        while left > 0 {
            let mut batch = consumer
                .batch()
                .max_messages(BATCH)
                .expires(Duration::from_secs(5))
                .messages()
                .await
                .map_err(|error| failed(error.to_string()))?;
            let before = left;
            let mut is_early = false;
            while let Some(message) = batch.next().await {
                let message = match message {
                    Ok(message) => message,
                    Err(error) if patience.bears(&error).await => {
                        is_early = true;
                        break;
                    }
                    Err(error) => return Err(failed(error.to_string())),
                };
                let info = message.info().map_err(|error| failed(error.to_string()))?;
                left = left.saturating_sub(1);
                let at = timestamp(info.published);
                let subject = message.subject.as_str();
                let entry = Entry::read(info.stream_sequence, at, subject, &message.payload);
                each(entry, left);
                if left == 0 {
                    break;
                }
            }
            if left == before && !is_early {
                let stream = name;
                return Err(ReadDeadError::StandsStill { stream, left });
            }
        }
        Ok(n)
    }

    /// The message with this number, from the leader; `None` if there is none.
    ///
    /// # Errors
    /// [`ReadDeadError::Read`].
    pub async fn dead_letter(&self, seq: u64) -> Result<Option<Entry>, ReadDeadError> {
        let name = self.names.dead();
        let failed = |text: String| ReadDeadError::Read {
            stream: name.clone(),
            text,
        };
        let stream = self.reads.get_stream_no_info(&name).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        match stream.get_raw_message(seq).await {
            Ok(message) => Ok(Some(Entry::of(&message))),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::InvalidSubject
                | RawMessageErrorKind::JetStream(_)
                | RawMessageErrorKind::Other => Err(failed(error.to_string())),
            },
        }
    }
}

/// Where a reading begins.
fn beginning(since: Option<Timestamp>) -> DeliverPolicy {
    match since.and_then(offset) {
        Some(start_time) => DeliverPolicy::ByStartTime { start_time },
        None => DeliverPolicy::All,
    }
}

fn offset(at: Timestamp) -> Option<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).ok()
}

fn timestamp(at: time::OffsetDateTime) -> Timestamp {
    Timestamp::from_nanosecond(at.unix_timestamp_nanos()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisories_are_asked_for_only_where_they_can_match() {
        let names = Names::default();
        let n = |wanted: &Wanted| wanted.filters(&names).len();
        assert_eq!(n(&Wanted::default()), 3);
        let of_app = Wanted {
            app: AppName::parse("ios").ok(),
            ..Wanted::default()
        };
        assert_eq!(of_app.filters(&names), ["fanfare.dead.*.*.ios.*"]);
        let advisories = Wanted {
            kind: Some(Kind::Advisory),
            ..Wanted::default()
        };
        assert_eq!(n(&advisories), 2);
        let none = Wanted {
            app: of_app.app.clone(),
            ..advisories
        };
        assert_eq!(n(&none), 0);
    }

    #[test]
    fn fields_of_a_later_version_are_ignored_and_missing_ones_of_an_earlier_are_nothing() {
        let text = r#"{"reason":"refused","event":"","event_seq":7,"app":"ios","device":"",
            "attempts":1,"error":"x","at":"2026-01-01T00:00:00Z","colour":"red"}"#;
        let at = Timestamp::UNIX_EPOCH;
        let entry = Entry::read(1, at, "fanfare.dead.refused.x.ios.y", text.as_bytes());
        let letter = entry.letter().unwrap();
        assert_eq!((letter.schema, letter.event_seq), (0, 7));
        assert!(letter.task.is_none());
        let other = Entry::read(2, at, "fanfare.dead.refused.x.ios.y", b"{}");
        assert!(matches!(other.found, Found::Unreadable(_)));
    }
}
