//! A message held by a worker: extend it, settle it once, or forget it on purpose.

use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use jiff::Timestamp;
use thiserror::Error;

use crate::event::{Event, EventId};
use crate::genuine;
use crate::metric::Metrics;
use crate::plan::{DecodePlanError, Lane, Task};
use crate::request::ANSWER_TIMEOUT;
use crate::subject::{Names, Subject};
use crate::wire::{self, DecodeEventError};

/// A message that was taken and not yet settled.
#[must_use = "settle the message, or it comes again after ack_wait"]
pub struct Message {
    raw: jetstream::Message,
    delivered: u64,
    seq: u64,
    n_behind: u64,
    metrics: Metrics,
    settled: bool,
}

/// Why an acknowledgement did not reach the broker; the message comes again after `ack_wait`.
#[derive(Debug, Error)]
#[error("the broker did not confirm the acknowledgement: {0}")]
pub struct SettleError(String);

/// Why a message is no event.
#[derive(Debug, Error)]
pub enum TakenEventError {
    /// The subject is none of an event.
    #[error("the subject is none of an event")]
    Subject,
    /// The bytes are no event.
    #[error("the message is no event")]
    Decode(#[source] DecodeEventError),
    /// Subject and attributes name different events.
    #[error("subject and attributes name different events")]
    Mismatch,
}

/// Why a message is no task.
#[derive(Debug, Error)]
pub enum TakenTaskError {
    /// The subject is none of a task.
    #[error("the subject is none of a task")]
    Subject,
    /// The bytes are no task.
    #[error("the message is no task")]
    Decode(#[source] DecodePlanError),
    /// Subject and body name different tasks.
    #[error("subject and body name different tasks")]
    Mismatch,
}

impl TakenEventError {
    /// The schema, if a later version wrote it: then this one hands it back.
    pub fn later(&self) -> Option<u32> {
        match self {
            Self::Decode(error) => error.later(),
            Self::Subject | Self::Mismatch => None,
        }
    }
}

impl TakenTaskError {
    /// The schema, if a later version wrote it: then this one hands it back.
    pub fn later(&self) -> Option<u32> {
        match self {
            Self::Decode(error) => error.later(),
            Self::Subject | Self::Mismatch => None,
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("subject", &self.raw.subject)
            .field("seq", &self.seq)
            .field("delivered", &self.delivered)
            .finish_non_exhaustive()
    }
}

impl Message {
    pub(crate) fn new(message: jetstream::Message, metrics: &Metrics) -> Self {
        let (delivered, seq, n_behind) = match message.info() {
            Ok(info) => (
                u64::try_from(info.delivered).unwrap_or(1),
                info.stream_sequence,
                info.pending,
            ),
            Err(_) => (1, 0, 0), // Not a consumer's message; it cannot be decoded either.
        };
        if delivered > 1 {
            metrics.redeliveries.inc();
        }
        Self {
            raw: message,
            delivered,
            seq,
            n_behind,
            metrics: metrics.clone(),
            settled: false,
        }
    }

    /// How often the broker has delivered it, this time included. It may repeat or fall after a
    /// hard restart of a single broker.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Its stream sequence.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Messages that waited behind it in its durable when it was delivered.
    pub fn n_behind(&self) -> u64 {
        self.n_behind
    }

    /// Its subject.
    pub fn subject(&self) -> &str {
        &self.raw.subject
    }

    /// Reads it as an event, strictly.
    ///
    /// # Errors
    /// [`TakenEventError`]: a dead letter, never a retry; but what a [later](TakenEventError::later)
    /// version wrote is handed back.
    pub fn event(&self, names: &Names) -> Result<Event, TakenEventError> {
        let Ok(Subject::Event {
            source,
            screen,
            level,
        }) = names.parse(self.subject())
        else {
            return Err(TakenEventError::Subject);
        };
        let none = async_nats::HeaderMap::new();
        let headers = self.raw.headers.as_ref().unwrap_or(&none);
        let event = wire::decode(headers, &self.raw.payload)
            .map_err(TakenEventError::Decode)
            .inspect_err(|it| self.count_later(it.later()))?;
        let is_same = event.source == source && event.screen() == screen && event.level == level;
        is_same.then_some(event).ok_or(TakenEventError::Mismatch)
    }

    /// Reads it as a task and the pass that it starts, strictly.
    ///
    /// # Errors
    /// [`TakenTaskError`]: a dead letter, never a retry; but what a [later](TakenTaskError::later)
    /// version wrote is handed back.
    pub fn task(&self, names: &Names) -> Result<(Task, u32), TakenTaskError> {
        let Ok(Subject::Task {
            lane,
            event,
            n,
            pass,
        }) = names.parse(self.subject())
        else {
            return Err(TakenTaskError::Subject);
        };
        if self.is_forced(names, &lane, &event, n, pass) {
            return Err(TakenTaskError::Decode(DecodePlanError::Forced));
        }
        let task = Task::decode(&self.raw.payload)
            .map_err(TakenTaskError::Decode)
            .inspect_err(|it| self.count_later(it.later()))?;
        let is_same = task.event == event && task.lane == lane && task.range.index() == n;
        is_same
            .then_some((task, pass))
            .ok_or(TakenTaskError::Mismatch)
    }

    fn count_later(&self, later: Option<u32>) {
        if later.is_some() {
            self.metrics.later_schemas.inc();
        }
    }

    /// Whether it is an answer, or the target of a schedule that is not its own wake-up.
    fn is_forced(&self, names: &Names, lane: &Lane, event: &EventId, n: u32, pass: u32) -> bool {
        let Some(headers) = &self.raw.headers else {
            return false;
        };
        let (lane, event) = (lane.clone(), event.clone());
        let own = Subject::Later {
            event,
            lane,
            n,
            pass,
        };
        let is_strange = |it: &str| names.parse(it).as_ref() != Ok(&own);
        genuine::is_answer(headers) || genuine::scheduler(headers).is_some_and(is_strange)
    }

    /// The event that the subject names, for records about messages that cannot be read.
    pub fn event_id(&self, names: &Names) -> Option<EventId> {
        match names.parse(self.subject()).ok()? {
            Subject::Event { .. } => None, // The item itself stands only in the attributes.
            Subject::Plan { event }
            | Subject::Task { event, .. }
            | Subject::Later { event, .. }
            | Subject::Receipt { event, .. }
            | Subject::Dead { event, .. } => Some(event),
        }
    }

    /// The raw bytes, for a dead letter.
    pub fn payload(&self) -> &[u8] {
        &self.raw.payload
    }

    /// Tells the broker that work goes on. Cheap, unconfirmed.
    pub async fn extend(&self) {
        if let Err(error) = self.raw.ack_with(AckKind::Progress).await {
            tracing::debug!(%error, subject = self.subject(), "in-progress not sent");
        }
    }

    /// Waits for `work` and tells the broker meanwhile that it goes on: every third of `ack_wait`,
    /// and at once if the message is not fresh. The servers replicate a delivery with the time at which
    /// the *message* was stored, so that a consumer's new leader takes every message that is older than
    /// `ack_wait` for overdue and redelivers it immediately, unless it was told (seen at each orderly
    /// restart of a broker under load: two workers on one task).
    ///
    /// Dropping the future drops the work.
    pub async fn extend_while<T>(&self, ack_wait: Duration, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let mut tick = tokio::time::interval(ack_wait / 3);
        tick.tick().await;
        if self.delivered > 1 || self.age() > ack_wait / 3 {
            self.extend().await;
        }
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = tick.tick() => self.extend().await,
            }
        }
    }

    /// How long it has been stored; for ever if it does not say.
    fn age(&self) -> Duration {
        let Ok(info) = self.raw.info() else {
            return Duration::MAX;
        };
        let stored = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
        let age = stored.map(|it| crate::clock::now().duration_since(it));
        // From the future: another clock, and fresh.
        age.map_or(Duration::MAX, |it| {
            Duration::try_from(it).unwrap_or_default()
        })
    }

    /// Settles it for good and waits until the broker has confirmed.
    ///
    /// Dropping the future leaves it unknown; a second delivery finds the work done.
    ///
    /// # Errors
    /// [`SettleError`]: it comes again.
    pub async fn ack(mut self) -> Result<(), SettleError> {
        self.settled = true;
        confirmed(self.raw.double_ack()).await
    }

    /// Hands it back: at once, or after a delay. Only when *we* were not ready.
    pub async fn nak(mut self, delay: Option<Duration>) {
        self.settled = true;
        if let Err(error) = self.raw.ack_with(AckKind::Nak(delay)).await {
            tracing::debug!(%error, subject = self.subject(), "nak not sent");
        }
    }

    /// Takes it out for good, after a dead letter was stored.
    ///
    /// # Errors
    /// [`SettleError`]: it comes again.
    pub async fn terminate(mut self) -> Result<(), SettleError> {
        self.settled = true;
        confirmed(self.raw.double_ack_with(AckKind::Term)).await
    }

    /// Says nothing to the broker: another worker holds a greater claim, and an acknowledgement of
    /// an older delivery would be honoured.
    pub fn forget(mut self) {
        self.settled = true;
    }
}

/// Waits for the broker's word, no longer than for any other answer: an acknowledgement that died
/// with a leader is never answered.
async fn confirmed(
    asked: impl Future<Output = Result<(), async_nats::Error>>,
) -> Result<(), SettleError> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| SettleError(error.to_string())),
        Err(elapsed) => Err(SettleError(elapsed.to_string())),
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if !self.settled {
            self.metrics.claims_unsettled.inc();
            tracing::warn!(subject = %self.raw.subject, "message dropped without a verdict");
        }
    }
}
