//! Follows the device bucket into the index.
//!
//! The fold has a thread and a runtime of its own, so that neither a fan-out nor a crowd of requests
//! can starve it: a starved index would look like a broker without quorum.

mod absence;
mod outdated;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use futures::FutureExt;
use rand::Rng;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::absence::Absence;
use self::outdated::{Outdated, Unread};
use crate::device::DeviceId;
use crate::feed::{Change, DeviceWatch, FeedError};
use crate::index::Index;
use crate::{Broker, Readiness};

/// Changes applied under one lock.
const APPLY_AT_ONCE: usize = 256;
/// A change that was stored and not seen by then makes the watch begin anew: the client's own
/// notices only after ten seconds that its consumer died with a server.
const OVERDUE: Duration = Duration::from_secs(2);

/// The devices, as they are followed; clones share them.
#[derive(Clone, Debug)]
pub struct Followed {
    index: Arc<RwLock<Index>>,
    /// The revision that the index has reached, once it is loaded.
    seen: watch::Receiver<Option<u64>>,
    overdue: Arc<Notify>,
    outdated: Outdated,
}

/// The end of the thread that follows; whatever it says, it has ended.
pub type Ended = oneshot::Receiver<()>;

/// Why the index cannot be asked at the moment.
#[derive(Debug, Error)]
pub enum NotCurrent {
    /// The first load is not complete.
    #[error("the device index is being loaded")]
    Loading,
    /// There are documents that it does not contain.
    #[error("a later version wrote device documents that this one cannot read")]
    Outdated,
    /// The bucket's leader did not say how far it is.
    #[error("the device bucket did not answer")]
    Feed(#[from] FeedError),
}

impl Followed {
    /// Starts the fold on a thread of its own, until `stop`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        broker: Broker,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> std::io::Result<(Self, Ended)> {
        let (seen_sender, seen) = watch::channel(None);
        let (ended_sender, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let followed = Self {
            index: Arc::default(),
            seen,
            overdue: Arc::default(),
            outdated: Outdated::new(readiness.clone()),
        };
        let fold = Fold {
            broker,
            index: followed.index.clone(),
            seen: seen_sender,
            overdue: followed.overdue.clone(),
            readiness,
            outdated: followed.outdated.clone(),
        };
        std::thread::Builder::new()
            .name("index".to_owned())
            .spawn(move || {
                let _ended = ended_sender; // Dropped with the thread, also by a panic.
                runtime.block_on(async {
                    tokio::select! {
                        // First: what the fold hears while everything ends is no news.
                        biased;
                        () = stop.cancelled() => {}
                        () = fold.run() => {}
                    }
                });
            })?;
        Ok((followed, ended))
    }

    /// The index as of now. Hold it shortly: changes wait meanwhile.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there seems to be such a device, as far as can be said without waiting: a hint, and
    /// maybe older than a write that was acknowledged.
    pub fn seems_to_have(&self, id: &DeviceId) -> bool {
        let index = self.index.try_read();
        index.is_ok_and(|it| it.device_id(id.hash()).is_some())
    }

    /// The shared index, for work on another thread.
    pub fn shared(&self) -> Arc<RwLock<Index>> {
        self.index.clone()
    }

    /// The revision that the index has reached, once it is loaded.
    pub fn seen(&self) -> watch::Receiver<Option<u64>> {
        self.seen.clone()
    }

    /// Whether there are devices that only a later version can read. The index does not contain
    /// them, and nobody else would know.
    pub fn is_outdated(&self) -> bool {
        self.outdated.is_it()
    }

    /// Begins the watch of the bucket anew: a change that must have happened is overdue.
    pub fn watch_anew(&self) {
        self.overdue.notify_one();
    }

    /// Waits until the index contains everything that was acknowledged before this call. It asks
    /// the leader how far the bucket is, and writes nothing.
    ///
    /// Without a leader it does not return; bound it. Dropping the future is harmless.
    ///
    /// # Errors
    /// [`NotCurrent`].
    pub async fn current(&self, broker: &Broker) -> Result<(), NotCurrent> {
        let mut seen = self.seen.clone();
        if seen.borrow().is_none() {
            return Err(NotCurrent::Loading);
        }
        let last = broker.last_device_revision().await?;
        loop {
            let reached = seen.borrow_and_update().ok_or(NotCurrent::Loading)?;
            if self.is_outdated() {
                return Err(NotCurrent::Outdated);
            }
            if reached >= last {
                return Ok(());
            }
            // What was stored last may be gone by now, so that nobody will ever see it.
            let next = broker.next_device_revision(reached + 1).await?;
            let Some(next) = next.filter(|it| *it <= last) else {
                return Ok(());
            };
            let has_come = seen.wait_for(|it| it.is_none_or(|it| it >= next));
            match timeout(OVERDUE, has_come).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(FeedError::Ended.into()),
                Err(_) => self.watch_anew(),
            }
        }
    }
}

/// The fold on its own thread.
struct Fold {
    broker: Broker,
    index: Arc<RwLock<Index>>,
    seen: watch::Sender<Option<u64>>,
    overdue: Arc<Notify>,
    readiness: Readiness,
    outdated: Outdated,
}

impl Fold {
    /// Loads and follows, and starts over whenever the bucket cannot be followed.
    async fn run(self) {
        self.readiness.unmet("index", "loading");
        loop {
            match self.follow().await {
                Ok(()) => tracing::info!("device index is loaded again after a long absence"),
                Err(error) => {
                    self.readiness.unmet("index", error.to_string());
                    let error = &error as &dyn std::error::Error;
                    if self.broker.is_news("device bucket cannot be followed") {
                        tracing::warn!(error, "device bucket cannot be followed, starting over");
                    } else {
                        tracing::debug!(error, "device bucket cannot be followed, starting over");
                    }
                    let pause = rand::rng().random_range(500..=2000);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
        }
    }

    /// Returns when so much time was missed that deletions may have been forgotten meanwhile.
    async fn follow(&self) -> Result<(), FeedError> {
        let started = Instant::now();
        let mut absence = Absence::new(started, self.broker.marker_ttl());
        let mut index = Index::with_capacity(self.broker.n_devices().await?);
        let mut unread = Unread::default();
        let load = |change, revision| {
            apply(&mut index, &mut unread, change, revision);
        };
        let after = self.broker.load_devices(load).await?;
        index.reach(after);
        let mut watch = self.broker.watch_devices(after).await?;
        tracing::info!(
            devices = index.len(),
            subscriptions = index.n_subscriptions(),
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "device index loaded"
        );
        let reached = index.reached();
        self.outdated.tell(&unread);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
        self.seen.send_replace(Some(reached));
        self.readiness.met("index");
        loop {
            let next = tokio::select! {
                next = watch.next() => next?,
                () = self.overdue.notified() => {
                    tracing::info!("a change is overdue: watching the device bucket anew");
                    // In vain while the bucket has no leader: the watch is as it was, and the next
                    // change that is overdue asks again. What is loaded stays good meanwhile.
                    if let Err(error) = watch.resume().await {
                        tracing::debug!(%error, "the device bucket cannot be watched anew yet");
                    }
                    continue;
                }
            };
            match self.apply_all(next, &mut unread, &mut watch, &mut absence)? {
                Some(reached) => self.seen.send_replace(Some(reached)),
                None => return Ok(()),
            };
        }
    }

    /// Applies a change and what has arrived behind it; returns what the index has reached, or
    /// `None` if deletions may be missing from what arrived.
    fn apply_all(
        &self,
        mut next: (Change, u64),
        unread: &mut Unread,
        watch: &mut DeviceWatch,
        absence: &mut Absence,
    ) -> Result<Option<u64>, FeedError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for n in 1.. {
            if absence.ends_too_late(Instant::now(), watch.heard()) {
                return Ok(None);
            }
            if apply(&mut index, unread, next.0, next.1) {
                self.outdated.tell(unread); // Before anyone can look at the index.
            }
            if n == APPLY_AT_ONCE {
                break;
            }
            let Some(more) = watch.next().now_or_never() else {
                break;
            };
            next = more?;
        }
        Ok(Some(index.reached()))
    }
}

/// Returns whether `unread` has changed.
fn apply(index: &mut Index, unread: &mut Unread, change: Change, revision: u64) -> bool {
    match change {
        Change::Put(id, device) => {
            index.put(&id, &device, revision);
            unread.is_read(&id)
        }
        Change::Removed(id) => {
            index.remove(&id, revision);
            unread.is_read(&id)
        }
        Change::Later(id, schema) => {
            // What is known of the device stays: whoever looks at it this moment must not take it
            // for gone.
            index.reach(revision);
            unread.is_later(id, schema)
        }
        Change::Other => {
            index.reach(revision);
            false
        }
    }
}
