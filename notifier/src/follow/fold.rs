//! The fold of the device bucket into the index.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fanfare_nats::feed::{Change, DeviceWatch, FeedError};
use fanfare_nats::index::Index;
use fanfare_nats::{Broker, Readiness};
use futures::FutureExt;
use rand::Rng;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::absence::Absence;
use crate::outdated::{Outdated, Unread};

/// Changes applied under one lock.
const APPLY_AT_ONCE: usize = 256;

/// The fold on its own thread.
pub(super) struct Fold {
    pub(super) broker: Broker,
    pub(super) index: Arc<RwLock<Index>>,
    pub(super) seen: watch::Sender<Option<u64>>,
    pub(super) overdue: Arc<Notify>,
    pub(super) readiness: Readiness,
    pub(super) outdated: Outdated,
}

impl Fold {
    /// Loads and follows, and starts over whenever the bucket cannot be followed.
    pub(super) async fn run(self) {
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
                    tracing::info!("own barrier is overdue: watching the device bucket anew");
                    // In vain while the bucket has no leader: the watch is as it was, and the next
                    // barrier that is overdue asks again. What is loaded stays good meanwhile.
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
