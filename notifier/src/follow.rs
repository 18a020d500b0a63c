//! Proves how fresh the index is, which is followed on a thread of its own.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use fanfare_nats::follow::{Ended, Followed};
use fanfare_nats::index::Index;
use fanfare_nats::{Broker, Readiness};
use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the index proves itself while there is work (design section 5).
const REFRESH: Duration = Duration::from_millis(500);
/// A barrier that does not come back by then is given up and another one begun, on a new watch: the
/// client's own notices only after ten seconds that its consumer died with a server.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(2);
/// The state of the barriers of this process.
#[derive(Clone, Copy, Debug, Default)]
struct Barriers {
    /// How many were begun.
    begun: u64,
    /// The last of them that was seen in the watch.
    done: u64,
    /// The revision of that one.
    revision: u64,
    /// When it was begun: the index is at least as new as this.
    fresh_as_of: Option<Instant>,
}

/// The index and the proof of its freshness; clones share both.
#[derive(Clone)]
pub struct Follower {
    followed: Followed,
    barriers: watch::Receiver<Barriers>,
    wanted: Arc<AtomicU64>,
    ask: Arc<Notify>,
    work: Arc<AtomicUsize>,
    freshness: Duration,
}

/// While one of these lives, the index keeps proving itself.
pub struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The follower's thread ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
#[error("the thread that follows the device bucket ended")]
pub struct FollowerEnded;

/// What drives a [`Follower`]: to be run until it returns.
pub struct Driver {
    broker: Broker,
    barriers: watch::Sender<Barriers>,
    followed: Followed,
    wanted: Arc<AtomicU64>,
    ask: Arc<Notify>,
    work: Arc<AtomicUsize>,
    ended: Ended,
    stop: CancellationToken,
}

impl Follower {
    /// Starts the fold on a thread of its own. Its [`Driver`] must be run beside.
    ///
    /// `stop` ends both; it must be cancelled after the last send.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        broker: Broker,
        freshness: Duration,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> std::io::Result<(Self, Driver)> {
        let (barriers_sender, barriers) = watch::channel(Barriers::default());
        let (wanted, ask) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let work = Arc::new(AtomicUsize::new(0));
        let (devices, ended) = Followed::start(broker.clone(), readiness, stop.clone())?;
        let follower = Self {
            followed: devices.clone(),
            barriers,
            wanted: wanted.clone(),
            ask: ask.clone(),
            work: work.clone(),
            freshness,
        };
        let driver = Driver {
            broker,
            barriers: barriers_sender,
            followed: devices,
            wanted,
            ask,
            work,
            ended,
            stop,
        };
        Ok((follower, driver))
    }

    /// The index as of now. Hold it shortly: changes wait meanwhile.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.followed.index()
    }

    /// The shared index, for work on another thread.
    pub(crate) fn shared(&self) -> Arc<RwLock<Index>> {
        self.followed.shared()
    }

    /// Waits for a barrier that is begun after this call, and returns its revision: the index
    /// contains everything that was acknowledged before this call.
    ///
    /// Without a quorum it waits until there is one. Dropping the future is harmless.
    pub async fn barrier(&self) -> u64 {
        let mut barriers = self.barriers.clone();
        let want = barriers.borrow().begun + 1;
        self.wanted.fetch_max(want, Ordering::AcqRel);
        self.ask.notify_one();
        let revision = barriers
            .wait_for(|it| it.done >= want)
            .await
            .map(|it| it.revision);
        match revision {
            Ok(revision) => revision,
            Err(_) => std::future::pending().await, // The driver has ended; so will the role.
        }
    }

    /// Waits until the index has reached a revision and is fresh.
    pub async fn ready_for(&self, revision: u64) {
        let mut seen = self.followed.seen();
        if seen
            .wait_for(|it| it.is_some_and(|it| it >= revision))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
        while !self.is_fresh() {
            if self.is_outdated() {
                tokio::time::sleep(REFRESH).await;
            }
            self.barrier().await;
        }
    }

    /// Whether the index is known to be at most the configured time old. Older than that, an
    /// unsubscribe may have been answered that it does not show: nothing may be sent.
    pub fn is_fresh(&self) -> bool {
        let as_of = self.barriers.borrow().fresh_as_of;
        !self.is_outdated() && as_of.is_some_and(|it| it.elapsed() < self.freshness)
    }

    /// Whether there are devices that only a later version can read. Whoever does not know them must
    /// neither plan nor send: they would be left out, and nobody would know.
    pub fn is_outdated(&self) -> bool {
        self.followed.is_outdated()
    }

    /// Age of the last proof, if there was one.
    pub fn age(&self) -> Option<Duration> {
        self.barriers.borrow().fresh_as_of.map(|it| it.elapsed())
    }

    /// Keeps the index proving itself while the guard lives.
    pub fn at_work(&self) -> AtWork {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.ask.notify_one();
        AtWork(self.work.clone())
    }

    /// Waits until the first load is complete.
    pub async fn loaded(&self) {
        let mut seen = self.followed.seen();
        if seen.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Driver {
    /// Writes barriers when they are asked for or due, until stopped.
    ///
    /// # Errors
    /// [`FollowerEnded`] if the fold's thread panicked.
    pub async fn run(mut self) -> Result<(), FollowerEnded> {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                _ = &mut self.ended => {
                    return if self.stop.is_cancelled() { Ok(()) } else { Err(FollowerEnded) };
                }
                () = self.ask.notified() => true,
                _ = refresh.tick() => self.work.load(Ordering::Relaxed) > 0,
            };
            if !is_due {
                continue;
            }
            loop {
                let is_wanted = || {
                    let state = *self.barriers.borrow();
                    self.wanted.load(Ordering::Acquire) > state.done
                        || (self.work.load(Ordering::Relaxed) > 0
                            && state.fresh_as_of.is_none_or(|it| it.elapsed() >= REFRESH))
                };
                if !is_wanted() {
                    break;
                }
                let stop = self.stop.clone();
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.barrier() => {}
                }
            }
        }
    }

    /// One barrier: written, and awaited in our own watch.
    async fn barrier(&mut self) {
        let started = Instant::now();
        self.barriers.send_modify(|it| it.begun += 1);
        let mine = self.barriers.borrow().begun;
        let pause = match self.broker.put_barrier().await {
            Ok(revision) => {
                let mut seen = self.followed.seen();
                let seen = seen.wait_for(|it| it.is_some_and(|it| it >= revision));
                if let Ok(Ok(_)) = tokio::time::timeout(BARRIER_TIMEOUT, seen).await {
                    self.barriers.send_modify(|it| {
                        it.done = mine;
                        it.revision = revision;
                        it.fresh_as_of = Some(started);
                    });
                    return;
                }
                let what = "our own barrier was not seen in the watch of the device bucket";
                if self.broker.is_news(what) {
                    tracing::warn!("{what}");
                }
                self.followed.watch_anew();
                Duration::from_millis(50)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no barrier");
                Duration::from_millis(rand::rng().random_range(100..=300))
            }
        };
        tokio::time::sleep(pause).await;
    }
}
