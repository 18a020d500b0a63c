//! The shipped quakes as a living feed: a clock at any speed, a document, a stream of frames.

mod geojson;
mod replay;
mod table;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::FeedError;
use super::rest::{Document, etag};
use crate::clock;
use crate::config::QuakesConfig;
use replay::Replay;

/// A pause between two looks at the feed clock, if nothing is due sooner.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A quake or a revision of one, as it went out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emission {
    /// The publisher's id.
    pub id: String,
    /// What the publisher calls it: `earthquake`, `quarry blast`.
    #[serde(default)]
    pub kind: String,
    /// 0 for its first version.
    pub revision: usize,
    /// The magnitude it had then.
    pub mag: f64,
    /// Whether this version was made up, see the table's header.
    pub is_scripted: bool,
    /// When it appeared, in microseconds since the Unix epoch.
    pub at_us: i64,
}

/// The feed.
#[derive(Debug)]
pub(crate) struct QuakeFeed {
    state: Mutex<State>,
    /// Number of emissions so far.
    emitted: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    replay: Replay,
    clock: FeedClock,
    rendered: Option<(usize, i64, Document)>,
}

/// Maps our time to the table's.
#[derive(Debug, Clone, Copy)]
struct FeedClock {
    since: Instant,
    feed_s: f64,
    speed: f64,
}

impl FeedClock {
    fn now_s(&self) -> f64 {
        self.feed_s + self.since.elapsed().as_secs_f64() * self.speed
    }
}

impl QuakeFeed {
    pub(crate) fn open(config: &QuakesConfig, now_ms: i64) -> Result<Self, FeedError> {
        let quakes = table::shipped()?;
        let replay = Replay::new(quakes, config.start_s, config.speed, now_ms);
        let clock = FeedClock {
            since: Instant::now(),
            feed_s: config.start_s,
            speed: config.speed,
        };
        let state = Mutex::new(State {
            replay,
            clock,
            rendered: None,
        });
        Ok(Self {
            state,
            emitted: watch::Sender::new(0),
        })
    }

    /// Emits what is due as the feed clock runs. Ends when stopped.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let wait = {
                let mut state = self.lock();
                let now_s = state.clock.now_s();
                let at_us = clock::now().as_microsecond();
                state.replay.advance_to(now_s, at_us);
                state.wait(now_s)
            };
            self.announce();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Emits the next `n_steps` at once; the feed clock leaps with them.
    pub(crate) fn step(&self, n_steps: usize) {
        {
            let mut state = self.lock();
            let now_s = state.clock.now_s();
            let at_us = clock::now().as_microsecond();
            let reached_s = state.replay.step(n_steps, at_us);
            state.leap_to(now_s.max(reached_s));
        }
        self.announce();
    }

    /// Sets the feed clock on by `seconds` of feed time.
    pub(crate) fn leap(&self, seconds: f64) {
        {
            let mut state = self.lock();
            let to_s = state.clock.now_s() + seconds.max(0.0);
            state.leap_to(to_s);
            let at_us = clock::now().as_microsecond();
            state.replay.advance_to(to_s, at_us);
        }
        self.announce();
    }

    /// Feed seconds per second from now on; 0 stands still.
    pub(crate) fn set_speed(&self, speed: f64) {
        let mut state = self.lock();
        let now_s = state.clock.now_s();
        state.leap_to(now_s);
        state.clock.speed = speed.max(0.0);
        state.replay.speed = speed.max(0.0);
    }

    /// The last day of feed time in the publisher's format.
    pub(crate) fn document(&self, now_ms: i64) -> Document {
        let mut state = self.lock();
        let (n_emitted, from_s) = (state.replay.emissions.len(), state.clock.now_s() - 86_400.0);
        let n_gone = state.replay.n_before(from_s);
        // Rendered once per change: emissions and the window's end.
        if let Some((n_then, gone_then, document)) = &state.rendered
            && (*n_then, *gone_then) == (n_emitted, n_gone)
        {
            return document.clone();
        }
        let body = Bytes::from(geojson::collection(
            state.replay.shown_since(from_s),
            now_ms,
        ));
        let document = Document {
            etag: Some(etag(&body)),
            body,
            last_modified_ms: Some(now_ms),
            content_type: "application/json; charset=utf-8",
            cache_control: None,
            link: None,
            may_gzip: true,
        };
        state.rendered = Some((n_emitted, n_gone, document.clone()));
        document
    }

    /// Emissions so far, in order, those of the start left out.
    pub(crate) fn emissions(&self) -> Vec<Emission> {
        self.lock()
            .replay
            .emissions
            .iter()
            .map(|(emission, _)| emission.clone())
            .collect()
    }

    pub(crate) fn n_emitted(&self) -> usize {
        *self.emitted.borrow()
    }

    /// Whether every quake and revision of the table was shown.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().replay.is_over()
    }

    /// Frame number `at`, once it is emitted. Cancel-safe.
    pub(crate) async fn frame(&self, at: usize) -> String {
        let mut emitted = self.emitted.subscribe();
        loop {
            if let Some((_, frame)) = self.lock().replay.emissions.get(at) {
                return frame.clone();
            }
            if emitted.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn announce(&self) {
        let n_emitted = self.lock().replay.emissions.len();
        self.emitted
            .send_if_modified(|it| std::mem::replace(it, n_emitted) != n_emitted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn leap_to(&mut self, feed_s: f64) {
        self.clock = FeedClock {
            since: Instant::now(),
            feed_s,
            speed: self.clock.speed,
        };
    }

    /// Until the next emission is due, or a look is.
    fn wait(&self, now_s: f64) -> Duration {
        let due = self
            .replay
            .next_s()
            .filter(|_| self.clock.speed > 0.0)
            .and_then(|next_s| {
                Duration::try_from_secs_f64((next_s - now_s).max(0.0) / self.clock.speed).ok()
            });
        due.map_or(LOOK_EVERY, |it| it.min(LOOK_EVERY))
    }
}
