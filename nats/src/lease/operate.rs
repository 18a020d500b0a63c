//! What an operator sees of leases and does about them.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use super::order::Preference;
use super::record::{Record, Seen, Vacancy};
use super::{key, marker};
use crate::clock;
use crate::connect::Broker;
use crate::control::{ReadError, is_marker, kv_subject};
use crate::event::SourceName;
use crate::request::{Answer, header};

/// More sources than anyone has; a bound on one reading.
const MOST: usize = 4096;
/// How long a write of an operator is tried while the broker elects.
const BUDGET: Duration = Duration::from_secs(15);
/// A holder writes every few seconds, each time at another sequence.
const TRIES: u32 = 5;

/// A source's lease as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseReport {
    /// The source.
    pub source: String,
    /// Who holds it.
    pub holder: Option<Record>,
    /// The lease's number, if somebody holds it.
    pub number: Option<u64>,
    /// How it became vacant, if nobody does.
    pub vacancy: Option<Vacancy>,
    /// When this was written, by the broker's clock: the last renewal, or the vacancy.
    pub written: Timestamp,
}

/// What an operator took away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Who held it.
    pub node: String,
    /// The lease's number.
    pub number: u64,
}

/// Why something about leases was not done.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Nobody holds it.
    #[error("nobody holds the lease of `{0}`")]
    NotHeld(String),
    /// Another one took it meanwhile.
    #[error("the lease of `{0}` has changed hands meanwhile")]
    Changed(String),
    /// Nothing is preferred.
    #[error("nothing is preferred there")]
    NoPreference,
    /// No final answer; it is not known whether it was done.
    #[error("the broker gave no final answer")]
    Unknown,
    /// The broker refuses.
    #[error("the broker refuses it")]
    Refused(#[source] crate::request::Refusal),
    /// The leases could not be read.
    #[error("the leases could not be read: {0}")]
    Read(String),
    /// One lease could not be read.
    #[error("the lease could not be read")]
    ReadOne(#[from] ReadError),
}

impl Broker {
    /// All leases that somebody holds or held not long ago, by source.
    ///
    /// # Errors
    /// [`LeaseError::Read`].
    pub async fn leases(&self) -> Result<Vec<LeaseReport>, LeaseError> {
        let mut leases: Vec<LeaseReport> = Vec::new();
        for message in self.control_records("lease.source.*").await? {
            let Some(source) = message.subject.rsplit('.').next() else {
                continue;
            };
            let seen = Seen::read(message.sequence, &message.headers, &message.payload);
            let (holder, number, vacancy) = match seen {
                Seen::Held { seq, record } => {
                    let number = record.as_ref().map_or(seq, |it| it.number(seq));
                    (record, Some(number), None)
                }
                Seen::Vacant { why, .. } => (None, None, Some(why)),
            };
            let written = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
            let lease = LeaseReport {
                source: source.to_owned(),
                holder,
                number,
                vacancy,
                written: written.unwrap_or_default(),
            };
            // A record that was renewed meanwhile is met a second time.
            match leases.iter_mut().find(|it| it.source == lease.source) {
                Some(known) => *known = lease,
                None => leases.push(lease),
            }
        }
        leases.sort_by(|one, two| one.source.cmp(&two.source));
        Ok(leases)
    }

    /// The last message of each key that matches, oldest first, from the leader.
    pub(crate) async fn control_records(
        &self,
        keys: &str,
    ) -> Result<Vec<StreamMessage>, LeaseError> {
        let read = |error: &dyn std::fmt::Display| LeaseError::Read(error.to_string());
        let bucket = self.names.control_bucket();
        let stream = self.reads.get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| read(&error))?;
        let subject = kv_subject(&bucket, keys);
        let (mut found, mut from) = (Vec::new(), 1);
        while found.len() < MOST {
            let next = stream.get_first_raw_message_by_subject(subject.as_str(), from);
            match next.await {
                Ok(message) => {
                    from = message.sequence + 1;
                    found.push(message);
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(read(&error)),
            }
        }
        Ok(found)
    }

    /// Takes a source's lease away from whoever holds it. The holder stops at its next renewal, and
    /// says so; only then, or when it has certainly stopped by itself, another one takes it.
    ///
    /// # Errors
    /// [`LeaseError`]; after `Unknown` look whether it was done.
    pub async fn withdraw_lease(&self, source: &SourceName) -> Result<Withdrawn, LeaseError> {
        let name = source.to_string();
        let mut of: Option<(String, u64)> = None;
        for _ in 0..TRIES {
            let Seen::Held { seq, record } = self.lease(source).await? else {
                return Err(LeaseError::NotHeld(name));
            };
            let number = record.as_ref().map_or(seq, |it| it.number(seq));
            let node = record.map_or_else(|| "?".to_owned(), |it| it.node);
            if of.as_ref().is_some_and(|it| it.1 != number) {
                return Err(LeaseError::Changed(name));
            }
            let (node, number) = of.insert((node, number)).clone();
            let key = key(source);
            let written = self.write_control(&key, marker(seq), Bytes::new());
            if written.await?.is_some() {
                return Ok(Withdrawn { node, number });
            } // Renewed meanwhile.
        }
        Err(LeaseError::Unknown)
    }

    /// Wishes that a node, or a host, holds the lease of a source, or all of them, for so long.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn prefer_holder(
        &self,
        source: Option<&SourceName>,
        node: &str,
        lasting: Duration,
    ) -> Result<Preference, LeaseError> {
        let lasting = Duration::from_secs(lasting.as_secs().max(1));
        let until = SignedDuration::try_from(lasting).unwrap_or(SignedDuration::ZERO);
        let preference = Preference {
            source: source.map(ToString::to_string),
            node: node.to_owned(),
            until: clock::now().checked_add(until).unwrap_or(Timestamp::MAX),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::TTL, lasting.as_secs().to_string().as_str());
        let body = serde_json::to_vec(&preference).unwrap_or_default(); // Plain fields cannot fail.
        let key = preference_key(source);
        match self.write_control(&key, headers, body.into()).await? {
            Some(_) => Ok(preference),
            None => Err(LeaseError::Unknown),
        }
    }

    /// Takes a wish back.
    ///
    /// # Errors
    /// [`LeaseError`].
    pub async fn forget_preference(&self, source: Option<&SourceName>) -> Result<(), LeaseError> {
        let wanted = source.map(ToString::to_string);
        let all = self.preferences().await?;
        if !all.iter().any(|it| it.source == wanted) {
            return Err(LeaseError::NoPreference);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::KV_OPERATION, "PURGE");
        headers.insert(header::ROLLUP, "sub");
        headers.insert(header::TTL, "60");
        let key = preference_key(source);
        self.write_control(&key, headers, Bytes::new()).await?;
        Ok(())
    }

    /// What operators wish.
    ///
    /// # Errors
    /// [`LeaseError::Read`].
    pub async fn preferences(&self) -> Result<Vec<Preference>, LeaseError> {
        let mut preferences: Vec<Preference> = Vec::new();
        for message in self.control_records("prefer.>").await? {
            if is_marker(&message.headers) {
                continue;
            }
            let Ok(preference) = serde_json::from_slice::<Preference>(&message.payload) else {
                self.metrics.skipped_records.inc();
                continue;
            };
            preferences.retain(|it| it.source != preference.source);
            preferences.push(preference);
        }
        Ok(preferences)
    }

    /// `None`: something else stands there than what was expected.
    pub(crate) async fn write_control(
        &self,
        key: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Option<u64>, LeaseError> {
        let subject = kv_subject(&self.names.control_bucket(), key);
        match self
            .publish_until_known(&subject, &headers, &body, BUDGET)
            .await
        {
            Answer::Stored { seq, .. } => Ok(Some(seq)),
            Answer::Exists { .. } => Ok(None),
            Answer::Unknown(_) | Answer::BatchOpen => Err(LeaseError::Unknown),
            Answer::Refused(refusal) => Err(LeaseError::Refused(refusal)),
        }
    }
}

fn preference_key(source: Option<&SourceName>) -> String {
    match source {
        Some(source) => format!("prefer.source.{source}"),
        None => "prefer.fetcher".to_owned(),
    }
}
