//! A feed that counts: every so often a tick with the next number, as a frame and in a document of
//! the last minutes. What was shown when is plain from the number, so that a gap shows.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::rest::{Document, etag};
use crate::config::TickerConfig;

/// How much of the past the document shows.
const SHOWN: Duration = Duration::from_mins(3);

#[derive(Debug)]
pub(crate) struct TickerFeed {
    config: TickerConfig,
    opened: Instant,
    opened_ms: i64,
}

impl TickerFeed {
    pub(crate) fn open(config: &TickerConfig, now_ms: i64) -> Self {
        Self {
            config: config.clone(),
            opened: Instant::now(),
            opened_ms: now_ms,
        }
    }

    pub(crate) fn is_at(&self, path: &str) -> bool {
        path == self.config.path
    }

    pub(crate) fn has_socket_at(&self, path: &str) -> bool {
        path.strip_suffix("/ws") == Some(&self.config.path)
    }

    pub(crate) fn ping_every(&self) -> Option<Duration> {
        let ms = self.config.ping_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    fn every(&self) -> Duration {
        Duration::from_millis(self.config.every_ms.max(1))
    }

    /// The number of the last tick; 0 before the first.
    pub(crate) fn n_ticks(&self) -> usize {
        let n = self.opened.elapsed().as_nanos() / self.every().as_nanos();
        usize::try_from(n).unwrap_or(usize::MAX)
    }

    fn tick(&self, n: usize) -> Value {
        let passed = i64::try_from(self.every().as_millis()).unwrap_or(i64::MAX);
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        json!({"n": n, "at_ms": self.opened_ms.saturating_add(passed.saturating_mul(n))})
    }

    pub(crate) fn document(&self) -> Document {
        let last = self.n_ticks();
        let n_shown = SHOWN.as_nanos() / self.every().as_nanos();
        let first = last
            .saturating_sub(usize::try_from(n_shown).unwrap_or(0))
            .max(1);
        let ticks: Vec<Value> = (first..=last).map(|it| self.tick(it)).collect();
        let body = json!({"ticks": ticks}).to_string();
        Document {
            etag: Some(etag(body.as_bytes())),
            body: body.into(),
            last_modified_ms: None,
            content_type: "application/json",
            cache_control: None,
            link: None,
            may_gzip: true,
        }
    }

    /// Waits for a tick and shows it. Dropping the future loses nothing.
    pub(crate) async fn frame(&self, n: usize) -> String {
        let n_from_opening = u32::try_from(n).unwrap_or(u32::MAX);
        sleep_until(self.opened + self.every() * n_from_opening).await;
        json!({"ticks": [self.tick(n)]}).to_string()
    }
}
