//! The loop of one input: fetch, read, judge, publish, and only then advance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::{Broker, Event, fail};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::PumpError;
use crate::backoff::Backoff;
use crate::clock;
use crate::cursor;
use crate::intake::{Intake, Judged, NotStored, ReadError, read_documents};
use crate::mapping::{Mapping, Observed, Tracker};
use crate::metric::{PollResult, SourceMetrics};
use crate::source::{Batch, CatchUp, Payload, Settled, Source, SourceError};

/// How long a stop waits for publishes under way. What is not known to be stored by then is
/// published again by the next start, because the cursor did not advance.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// One input at work.
pub(super) struct Listener {
    pub(super) input: usize,
    pub(super) name: Arc<str>,
    pub(super) mapping: Arc<Mapping>,
    pub(super) intake: Arc<Intake>,
    pub(super) broker: Broker,
    pub(super) metrics: SourceMetrics,
    /// The polled inputs of the source.
    pub(super) catch_ups: Vec<CatchUp>,
    /// Nobody has read for a while.
    pub(super) catches_up: bool,
    pub(super) stop: CancellationToken,
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

impl Listener {
    /// Runs until `stop`. `seen` was already fetched and is taken in first.
    pub(super) async fn listen<S: Source>(
        self,
        mut source: S,
        seen: Option<Observed>,
    ) -> Result<(), PumpError> {
        let mut tracker = Tracker::default();
        let mut n_failures = 0_u32;
        if let Some(observed) = seen
            && self.take_in(&mut source, observed).await == Go::Stop
        {
            return Ok(());
        }
        loop {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                next = source.next() => next,
            };
            let batch = match next {
                Ok(batch) => batch,
                Err(error) => {
                    let is_throttled = matches!(error, SourceError::Throttled { .. });
                    let result = if is_throttled {
                        PollResult::Throttled
                    } else {
                        PollResult::Error
                    };
                    self.failed(result, &error, &mut n_failures);
                    continue;
                }
            };
            match self.read(batch, &mut tracker).await {
                Ok(observed) => {
                    n_failures = 0;
                    if self.take_in(&mut source, observed).await == Go::Stop {
                        return Ok(());
                    }
                }
                Err(error @ ReadError::Panicked(_)) => return Err(PumpError::Read(error)),
                Err(error @ ReadError::Document(_)) => {
                    self.failed(PollResult::Error, &error, &mut n_failures);
                    source.settle(Settled::Failed);
                }
            }
        }
    }

    /// Tells of a failure: the first of a row loudly.
    fn failed(
        &self,
        result: PollResult,
        error: &(dyn std::error::Error + 'static),
        n_failures: &mut u32,
    ) {
        self.metrics.polled(result);
        self.metrics.failed(error);
        if *n_failures == 0 {
            tracing::warn!(source.name = %self.name, input = self.input, error, "input failed; trying again");
        } else {
            tracing::debug!(source.name = %self.name, input = self.input, error, n_failures = *n_failures, "input failed again");
        }
        *n_failures = n_failures.saturating_add(1);
    }

    async fn read(&self, batch: Batch, tracker: &mut Tracker) -> Result<Observed, ReadError> {
        if batch.is_reopened {
            tracing::info!(source.name = %self.name, input = self.input, "socket open again; catching up");
            self.catch_up();
        }
        match batch.payload {
            Payload::NotModified => {
                self.metrics.polled(PollResult::NotModified);
                self.metrics.poll_took(batch.took.as_secs_f64());
                Ok(Observed::default())
            }
            Payload::Documents(documents) => {
                let observed = read_documents(&self.mapping, self.input, documents).await?;
                self.metrics.polled(PollResult::New);
                self.metrics.poll_took(batch.took.as_secs_f64());
                Ok(observed)
            }
            Payload::Frames(frames) => {
                if frames.is_empty() {
                    tracker.reset(); // Just opened.
                    if self.catches_up {
                        // What was shown between the end of the last reading and now is on no socket.
                        self.catch_up();
                    }
                }
                Ok(self.read_frames(&frames, tracker))
            }
        }
    }

    fn read_frames(&self, frames: &[Bytes], tracker: &mut Tracker) -> Observed {
        let observed = self.mapping.observe_frames(self.input, frames, tracker);
        if observed.n_missed > 0 {
            self.metrics.missed(observed.n_missed);
            tracing::info!(source.name = %self.name, input = self.input, n_missed = observed.n_missed, "frames are missing; catching up");
            self.catch_up();
        }
        observed
    }

    fn catch_up(&self) {
        self.catch_ups.iter().for_each(CatchUp::ask);
    }

    /// Judges and publishes a batch, then lets the source advance.
    async fn take_in<S: Source>(&self, source: &mut S, observed: Observed) -> Go {
        let ttl = observed.ttl;
        let Judged {
            mut events,
            is_lasting,
        } = self.intake.judge(observed, clock::now());
        if self.store(&mut events).await == Go::Stop {
            return Go::Stop;
        }
        self.metrics.succeeded(clock::now());
        if let Some(cursor) = source.settle(Settled::Stored { ttl, is_lasting }) {
            let key = cursor::key(&self.name, self.input);
            fail::point("fetch.before-cursor");
            let stored = tokio::select! {
                stored = self.broker.control_put(&key, Bytes::from(cursor.encode())) => stored,
                () = self.grace_over() => return Go::Stop,
            };
            if let Err(error) = stored {
                // It only saves work; the next change stores it again.
                let error = &error as &dyn std::error::Error;
                tracing::debug!(source.name = %self.name, error, "cursor not stored");
            }
        }
        Go::On
    }

    /// Publishes until everything is known to be stored. Meanwhile nothing is taken from the
    /// source, so its own pace is ours.
    async fn store(&self, events: &mut Vec<Event>) -> Go {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        let mut held: Option<Instant> = None;
        while !events.is_empty() {
            let stored = tokio::select! {
                stored = self.intake.publish(events) => stored,
                () = self.grace_over() => return Go::Stop,
            };
            let Err(error) = stored else {
                if let Some(began) = held {
                    let seconds = began.elapsed().as_secs_f64();
                    tracing::info!(source.name = %self.name, input = self.input, seconds, "batch stored; the cursor goes on");
                }
                return Go::On;
            };
            self.held(&error, held.is_none());
            held.get_or_insert_with(Instant::now);
            tokio::select! {
                () = tokio::time::sleep(backoff.failed()) => {}
                () = self.stop.cancelled() => return Go::Stop,
            }
        }
        Go::On
    }

    /// Tells of a batch that is held: the first time loudly.
    fn held(&self, error: &NotStored, is_first: bool) {
        let error = error as &dyn std::error::Error;
        self.metrics.failed(error);
        if is_first {
            tracing::warn!(source.name = %self.name, input = self.input, error, "batch held; the cursor waits");
        } else {
            tracing::debug!(source.name = %self.name, input = self.input, error, "batch still held");
        }
    }

    async fn grace_over(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }
}
