//! A document that is polled, with manners.

mod client;
mod reply;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rand::Rng;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::{Batch, Payload, Settled, Source, SourceError};
use crate::backoff::Backoff;
use crate::clock;
use crate::config::HttpConfig;
use crate::cursor::{Cursor, Page};
use client::{Exchange, Failure};

/// A publisher that took its feed away is asked again once a day.
const GONE_PAUSE: Duration = Duration::from_hours(24);
/// Longest pause between polls that fail.
const MAX_BACKOFF: Duration = Duration::from_mins(15);
/// Shortest time between a poll and a catch-up.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(500);

/// Asks a polled input to poll at once, because a socket may have missed something. Clones ask
/// the same input; several requests before the poll are one.
#[derive(Clone, Debug, Default)]
pub struct CatchUp(Arc<Notify>);

impl CatchUp {
    /// Asks.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// A polled input. Its `Debug` shows no address, whose query may hold a key.
pub struct Http {
    input: HttpConfig,
    exchange: Exchange,
    cursor: Cursor,
    /// What the cursor becomes when the batch is stored.
    pending: Option<Cursor>,
    catch_up: CatchUp,
    backoff: Backoff,
    /// When the next poll is due.
    due: Instant,
    /// Before this the publisher does not want to be asked, not even for a catch-up.
    not_before: Instant,
    lower_bound: Option<Duration>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

/// What one poll brought.
struct Polled {
    documents: Vec<Bytes>,
    cursor: Cursor,
    lower_bound: Option<Duration>,
}

impl Http {
    /// An input that begins at `cursor`.
    ///
    /// # Errors
    /// [`SourceError::Address`] for a header that cannot be sent, [`SourceError::Http`] if no
    /// client can be built.
    pub fn new(input: &HttpConfig, agent: &str, cursor: Cursor) -> Result<Self, SourceError> {
        // The first polls of many sources and fetchers are spread.
        let spread = (input.every.0 / 10).min(Duration::from_secs(5));
        let now = Instant::now();
        Ok(Self {
            exchange: Exchange::new(input, agent)?,
            input: input.clone(),
            cursor,
            pending: None,
            catch_up: CatchUp::default(),
            backoff: Backoff::new(input.every.0.min(Duration::from_secs(5)), MAX_BACKOFF),
            due: now + spread.mul_f64(rand::rng().random_range(0.0..=1.0)),
            not_before: now,
            lower_bound: None,
        })
    }

    /// What asks this input for a catch-up.
    pub fn catch_up(&self) -> CatchUp {
        self.catch_up.clone()
    }

    /// Waits until a poll is due. `true`: for a catch-up, which asks for the whole document.
    async fn due(&self) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(self.due.max(self.not_before)) => false,
            () = self.catch_up.0.notified() => {
                tokio::time::sleep_until(self.not_before).await;
                true
            }
        }
    }

    fn address(&self, now: Timestamp) -> Result<Url, SourceError> {
        let text = self.cursor.moved_to.as_deref().unwrap_or(&self.input.http);
        let since = self.cursor.polled_at.unwrap_or(now);
        // On the first run a day is asked for: what is older is no news by default.
        let back = match self.cursor.polled_at {
            Some(_) => self.input.overlap.0,
            None => Duration::from_hours(24),
        };
        let since = since.checked_sub(back).unwrap_or(since);
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        Url::parse(&text.replace("{since}", &since)).map_err(|_| SourceError::Address)
    }

    /// All pages. One that fails fails the poll: half a list is no list.
    async fn poll(&self, is_whole: bool) -> Result<Polled, Failure> {
        let began_at = clock::now();
        let mut next = Some(self.address(began_at)?);
        let mut documents = Vec::new();
        let mut pages: BTreeMap<String, Page> = BTreeMap::new();
        let mut lower_bound = None;
        let mut moved_to = self.cursor.moved_to.clone();
        while let Some(url) = next.take() {
            let key = url.to_string();
            let known = self.cursor.pages.get(&key);
            let reply = self.exchange.get(&url, known.filter(|_| !is_whole)).await?;
            if pages.is_empty() {
                lower_bound = reply.lower_bound;
                if let Some(target) = &reply.moved_to {
                    moved_to = self.permanent(target).or(moved_to);
                }
            }
            let mut page = reply.page;
            let following = if let Some(body) = reply.body {
                // Publishers without validators repeat themselves byte by byte.
                if is_whole || known.is_none_or(|it| it.hash != page.hash) {
                    documents.push(body);
                }
                reply.next
            } else {
                let known = known.cloned().unwrap_or_default();
                page = Page {
                    etag: page.etag.or(known.etag),
                    last_modified: page.last_modified.or(known.last_modified),
                    ..known
                };
                page.next.as_deref().and_then(|it| Url::parse(it).ok())
            };
            pages.insert(key, page);
            // Pages of another origin are another feed, and a page seen twice is a circle.
            next = following.filter(|it| {
                it.origin() == url.origin()
                    && pages.len() < self.input.max_pages
                    && !pages.contains_key(it.as_str())
            });
        }
        let cursor = Cursor {
            config: self.cursor.config.clone(),
            polled_at: Some(began_at),
            moved_to,
            pages,
        };
        Ok(Polled {
            documents,
            cursor,
            lower_bound,
        })
    }

    /// A permanent target, where it can stand for the configured address.
    fn permanent(&self, target: &Url) -> Option<String> {
        (!self.input.http.contains("{since}")).then(|| target.to_string())
    }

    fn failed(&mut self, failure: Failure) -> SourceError {
        let pause = self.backoff.failed();
        let pause = if matches!(failure.error, SourceError::Gone) {
            GONE_PAUSE
        } else {
            pause.max(failure.wait.unwrap_or_default())
        };
        // A permanent move may have been a mistake.
        self.cursor.moved_to = None;
        self.due = Instant::now() + pause;
        self.not_before = Instant::now() + failure.wait.unwrap_or(CATCH_UP_PAUSE);
        failure.error
    }

    fn schedule(&mut self, ttl: Option<Duration>) {
        let chance = rand::rng().random_range(-1.0..=1.0);
        let bound = self.lower_bound.max(ttl);
        self.due = Instant::now() + reply::interval(self.input.every.0, bound, chance);
        self.not_before = Instant::now() + CATCH_UP_PAUSE;
    }
}

impl Source for Http {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        let is_whole = self.due().await;
        let began_at = Instant::now();
        let polled = match self.poll(is_whole).await {
            Ok(polled) => polled,
            Err(failure) => return Err(self.failed(failure)),
        };
        self.lower_bound = polled.lower_bound;
        self.pending = Some(polled.cursor);
        let payload = if polled.documents.is_empty() {
            Payload::NotModified
        } else {
            Payload::Documents(polled.documents)
        };
        Ok(Batch {
            payload,
            is_reopened: false,
            took: began_at.elapsed(),
        })
    }

    fn settle(&mut self, settled: Settled) -> Option<Cursor> {
        let pending = self.pending.take();
        match settled {
            Settled::Stored { ttl, is_lasting } => {
                self.backoff.reset();
                self.schedule(ttl);
                let pending = pending.filter(|_| is_lasting)?;
                // The time of the poll alone is only worth storing where it is asked with.
                let is_news = pending.pages != self.cursor.pages
                    || pending.moved_to != self.cursor.moved_to
                    || self.input.http.contains("{since}");
                self.cursor = pending;
                is_news.then(|| self.cursor.clone())
            }
            Settled::Failed => {
                let pause = self.backoff.failed();
                self.due = Instant::now() + pause;
                self.not_before = Instant::now() + CATCH_UP_PAUSE;
                None
            }
        }
    }
}
