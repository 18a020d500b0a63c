//! An operator's pause of a source: a record in the control bucket that every fetcher follows.
//!
//! It ends by itself: the record carries its end, and a lifetime that is no longer. Fetchers judge by
//! the end, so that a bucket that keeps it longer pauses nobody longer.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::connect::Broker;
use crate::control::is_marker;
use crate::event::SourceName;
use crate::lease::LeaseError;
use crate::request::{Refusal, header};

/// How long the marker of an end is kept.
const ENDED_TTL: &str = "60";

/// A pause as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePause {
    /// The source.
    pub source: String,
    /// Until when it is not read.
    pub until: Timestamp,
    /// When it was asked for, by the operator's clock; for people.
    pub since: Timestamp,
}

/// Why something about pauses was not done.
#[derive(Debug, Error)]
pub enum PauseError {
    /// It would be over already.
    #[error("the pause would end in the past")]
    Over,
    /// No final answer; the same again settles it.
    #[error("the broker gave no final answer")]
    Unknown,
    /// The broker refuses.
    #[error("the broker refuses it")]
    Refused(#[source] Refusal),
    /// The pauses could not be read.
    #[error("the pauses could not be read: {0}")]
    Read(String),
}

impl From<LeaseError> for PauseError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Refused(refusal) => Self::Refused(refusal),
            LeaseError::Unknown
            | LeaseError::NotHeld(_)
            | LeaseError::Changed(_)
            | LeaseError::NoPreference => Self::Unknown,
            LeaseError::Read(text) => Self::Read(text),
            LeaseError::ReadOne(error) => Self::Read(error.to_string()),
        }
    }
}

impl Broker {
    /// Stops the reading of a source until a moment, in every fetcher within about a second. Pausing
    /// again sets the new moment.
    ///
    /// Dropping the future leaves it unknown whether it is paused; the same again settles it.
    ///
    /// # Errors
    /// [`PauseError`].
    pub async fn pause_source(
        &self,
        source: &SourceName,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<SourcePause, PauseError> {
        let left = until.duration_since(now);
        if !left.is_positive() {
            return Err(PauseError::Over);
        }
        let pause = SourcePause {
            source: source.to_string(),
            until,
            since: now,
        };
        let mut headers = HeaderMap::new();
        // Whole seconds, not fewer than it lasts.
        let ttl = left.unsigned_abs().as_secs() + 1;
        headers.insert(header::TTL, ttl.to_string().as_str());
        let body = serde_json::to_vec(&pause).unwrap_or_default(); // Plain fields cannot fail.
        self.put_pause(source, headers, body.into()).await?;
        Ok(pause)
    }

    /// Ends a pause; a source that is not paused stays as it is.
    ///
    /// Dropping the future leaves it unknown whether it is paused; the same again settles it.
    ///
    /// # Errors
    /// [`PauseError`].
    pub async fn resume_source(&self, source: &SourceName) -> Result<(), PauseError> {
        if self.source_pause(source).await?.is_none() {
            return Ok(());
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::KV_OPERATION, "PURGE");
        headers.insert(header::ROLLUP, "sub");
        headers.insert(header::TTL, ENDED_TTL);
        self.put_pause(source, headers, Bytes::new()).await
    }

    async fn put_pause(
        &self,
        source: &SourceName,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), PauseError> {
        let written = self.write_control(&key(source), headers, body).await?;
        written.map(|_| ()).ok_or(PauseError::Unknown)
    }

    /// The pause of a source, from the leader. It may be over already.
    ///
    /// # Errors
    /// [`PauseError::Read`].
    pub async fn source_pause(
        &self,
        source: &SourceName,
    ) -> Result<Option<SourcePause>, PauseError> {
        let read = self.control_get(&key(source)).await;
        let record = read.map_err(|error| PauseError::Read(error.to_string()))?;
        Ok(record.and_then(|it| serde_json::from_slice(&it.value).ok()))
    }

    /// Every pause by its source, from the leader. Some may be over already.
    ///
    /// # Errors
    /// [`PauseError::Read`].
    pub async fn source_pauses(&self) -> Result<BTreeMap<String, SourcePause>, PauseError> {
        let mut pauses = BTreeMap::new();
        for message in self.control_records("pause.source.*").await? {
            if is_marker(&message.headers) {
                continue;
            }
            match serde_json::from_slice::<SourcePause>(&message.payload) {
                Ok(pause) => drop(pauses.insert(pause.source.clone(), pause)),
                Err(_) => drop(self.metrics.skipped_records.inc()),
            }
        }
        Ok(pauses)
    }
}

/// How often fetchers look.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

fn key(source: &SourceName) -> String {
    format!("pause.source.{source}")
}
