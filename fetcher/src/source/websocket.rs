//! A socket that is listened to.

mod open;

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Batch, Payload, Settled, Source, SourceError};
use crate::backoff::Backoff;
use crate::config::SocketConfig;
use crate::cursor::Cursor;
use crate::metric::SourceMetrics;
use open::{Opener, Stream};

/// A connection that lasted so long begins again with the shortest pause when it breaks.
const STABLE: Duration = Duration::from_mins(1);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// Most frames and bytes of one batch.
const MAX_FRAMES: usize = 256;
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// After a batch was held up, the other side gets this long to be heard before it counts as dead.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listened-to input.
#[derive(Debug)]
pub struct WebSocket {
    input: SocketConfig,
    opener: Opener,
    open: Option<Open>,
    backoff: Backoff,
    pause_until: Instant,
    was_open: bool,
    metrics: Option<SourceMetrics>,
}

/// An open connection.
#[derive(Debug)]
struct Open {
    stream: Box<Stream>,
    since: Instant,
    ping_at: Instant,
    /// The answer to the last ping must be here by then.
    pong_by: Option<Instant>,
    last_frame: Instant,
}

/// What a wait on an open connection ended with.
enum Heard {
    Message(Message),
    PingDue,
}

impl WebSocket {
    /// An input that opens its socket when it is first asked.
    ///
    /// # Errors
    /// [`SourceError::Address`] for an address, header or frame that cannot be used.
    pub fn new(input: &SocketConfig, agent: &str) -> Result<Self, SourceError> {
        Ok(Self {
            opener: Opener::new(input, agent)?,
            input: input.clone(),
            open: None,
            backoff: Backoff::new(FIRST_PAUSE, MAX_PAUSE),
            pause_until: Instant::now(),
            was_open: false,
            metrics: None,
        })
    }

    /// Counts its connection.
    #[must_use]
    pub fn counted_by(mut self, metrics: SourceMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    fn count(&self, change: i64) {
        if let Some(metrics) = &self.metrics {
            metrics.connected(change);
        }
    }

    async fn reopen(&mut self) -> Result<Open, SourceError> {
        tokio::time::sleep_until(self.pause_until).await;
        let stream = self.opener.open().await?;
        let now = Instant::now();
        Ok(Open {
            stream: Box::new(stream),
            since: now,
            ping_at: now + self.input.ping_every.0,
            pong_by: None,
            last_frame: now,
        })
    }

    /// Forgets the connection and decides when to open the next one.
    fn lost(&mut self, error: SourceError) -> SourceError {
        if let Some(open) = self.open.take() {
            self.count(-1);
            if open.since.elapsed() >= STABLE {
                self.backoff.reset();
            }
        }
        self.pause_until = Instant::now() + self.backoff.failed();
        error
    }

    /// The next frames: one is waited for, the ready ones come along.
    async fn frames(&mut self) -> Result<Vec<Bytes>, SourceError> {
        let Some(open) = self.open.as_mut() else {
            return Ok(Vec::new());
        };
        let patient_until = Instant::now() + PATIENCE;
        let mut frames = Vec::new();
        let mut n_bytes = 0;
        while frames.is_empty() {
            match open.hear(&self.input, patient_until).await? {
                Heard::PingDue => open.ping(&self.input).await?,
                Heard::Message(message) => open.take(message, &mut frames)?,
            }
        }
        while frames.len() < MAX_FRAMES && n_bytes < MAX_BATCH_BYTES {
            match open.stream.next().now_or_never() {
                Some(Some(Ok(message))) => {
                    // The end comes again at the next read; what was heard before it counts.
                    if open.take(message, &mut frames).is_err() {
                        break;
                    }
                }
                Some(Some(Err(_)) | None) | None => break,
            }
            n_bytes = frames.iter().map(Bytes::len).sum();
        }
        Ok(frames)
    }
}

impl Open {
    async fn hear(
        &mut self,
        input: &SocketConfig,
        patient_until: Instant,
    ) -> Result<Heard, SourceError> {
        let silent_at = (self.last_frame + input.stale_after.0).max(patient_until);
        let dead_at = self
            .pong_by
            .map_or(silent_at, |it| it.max(patient_until))
            .min(silent_at);
        tokio::select! {
            // What has arrived counts before any deadline.
            biased;
            message = self.stream.next() => match message {
                Some(Ok(message)) => Ok(Heard::Message(message)),
                Some(Err(error)) => Err(failure_of(error)),
                None => Err(SourceError::Closed),
            },
            () = tokio::time::sleep_until(dead_at) => {
                Err(SourceError::Silent(self.last_frame.elapsed()))
            }
            () = tokio::time::sleep_until(self.ping_at) => Ok(Heard::PingDue),
        }
    }

    async fn ping(&mut self, input: &SocketConfig) -> Result<(), SourceError> {
        let now = Instant::now();
        self.ping_at = now + input.ping_every.0;
        self.pong_by = Some(self.ping_at);
        let own = input.ping.as_ref().map(|it| Message::text(it.clone()));
        let pings = [Some(Message::Ping(Bytes::new())), own];
        for message in pings.into_iter().flatten() {
            self.stream.feed(message).await.map_err(failure_of)?;
        }
        self.stream.flush().await.map_err(failure_of)
    }

    fn take(&mut self, message: Message, frames: &mut Vec<Bytes>) -> Result<(), SourceError> {
        // Whatever comes shows that the other side lives.
        self.pong_by = None;
        let frame = match message {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return Err(SourceError::Closed),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        self.last_frame = Instant::now();
        frames.push(frame);
        Ok(())
    }
}

/// Tungstenite's errors do not show headers; one about an address could show its query.
fn failure_of(error: Error) -> SourceError {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => SourceError::Closed,
        Error::Url(_) => SourceError::Address,
        error @ (Error::Io(_)
        | Error::Tls(_)
        | Error::Capacity(_)
        | Error::Protocol(_)
        | Error::WriteBufferFull(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::Http(_)
        | Error::HttpFormat(_)) => SourceError::Socket(Box::new(error)),
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.count(-1);
        }
    }
}

impl Source for WebSocket {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        let began_at = Instant::now();
        if self.open.is_none() {
            match self.reopen().await {
                Ok(open) => {
                    self.open = Some(open);
                    self.count(1);
                }
                Err(error) => return Err(self.lost(error)),
            }
            let is_reopened = std::mem::replace(&mut self.was_open, true);
            let payload = Payload::Frames(Vec::new());
            return Ok(Batch {
                payload,
                is_reopened,
                took: began_at.elapsed(),
            });
        }
        match self.frames().await {
            Ok(frames) => Ok(Batch {
                payload: Payload::Frames(frames),
                is_reopened: false,
                took: began_at.elapsed(),
            }),
            Err(error) => Err(self.lost(error)),
        }
    }

    fn settle(&mut self, _: Settled) -> Option<Cursor> {
        None
    }
}
