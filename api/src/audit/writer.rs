//! Stores records, as many as have gathered in one message, until they are stored.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fanfare_nats::audit::{AuditError, Change, MOST};
use fanfare_nats::permissions::Role;
use fanfare_nats::{Broker, Tenant, fail};
use futures::future::join_all;
use rand::Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Item;
use crate::metric::Metrics;

/// What became of a record.
pub(crate) const STORED: &str = "stored";
/// Of one that nobody was told of.
pub(crate) const LOST: &str = "lost";
/// Pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long records are tried after the API was told to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Whether the broker takes no records at the moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Failing(Arc<AtomicBool>);

impl Failing {
    pub(super) fn now(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Says whether it is so; answers whether that is news.
    fn is(&self, is_failing: bool) -> bool {
        self.0.swap(is_failing, Ordering::Relaxed) != is_failing
    }
}

/// What stores the records of a process.
#[derive(Debug)]
pub(crate) struct Writer {
    taken: mpsc::Receiver<Item>,
    is_failing: Failing,
    metrics: Metrics,
}

/// Records of one tenant, and those who wait for them.
type Records = (Vec<Change>, Vec<oneshot::Sender<()>>);

impl Writer {
    pub(super) fn new(taken: mpsc::Receiver<Item>, is_failing: Failing, metrics: Metrics) -> Self {
        Self {
            taken,
            is_failing,
            metrics,
        }
    }

    /// Stores records until nobody can hand one over any more: when every request is answered. From
    /// `stop` on they are tried for three seconds only.
    ///
    /// Dropping the future loses what is under way; nobody was told of it.
    pub(crate) async fn run(mut self, broker: Broker, stop: CancellationToken) {
        let mut items = Vec::new();
        while self.taken.recv_many(&mut items, MOST).await > 0 {
            let mut by_tenant: BTreeMap<Tenant, Records> = BTreeMap::new();
            for item in items.drain(..) {
                let (tenant, change) = item.record;
                let (changes, waiting) = by_tenant.entry(tenant).or_default();
                changes.push(change);
                waiting.push(item.stored);
            }
            let kept = by_tenant
                .into_iter()
                .map(|(tenant, records)| self.keep(&broker, tenant, records, &stop));
            join_all(kept).await;
        }
    }

    async fn keep(
        &self,
        broker: &Broker,
        tenant: Tenant,
        (changes, waiting): Records,
        stop: &CancellationToken,
    ) {
        let n = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        fail::point("audit.due");
        if !self.store(broker, &tenant, &changes, stop).await {
            self.metrics.audited(LOST, n);
            tracing::warn!(n, "changes that nobody was told of have no record");
            return;
        }
        fail::point("audit.stored");
        self.metrics.audited(STORED, n);
        for it in waiting {
            // Whoever waited and is gone does not mind.
            let _told = it.send(());
        }
    }

    /// Tries until they are stored; not, if the process ends before that.
    async fn store(
        &self,
        broker: &Broker,
        tenant: &Tenant,
        changes: &[Change],
        stop: &CancellationToken,
    ) -> bool {
        let id = format!("audit.{:032x}", rand::rng().random::<u128>());
        let mut pause = FIRST_PAUSE;
        let mut until: Option<Instant> = None;
        loop {
            let kept = broker.keep_changes(Role::Api, tenant, changes, &id).await;
            let Err(error) = kept else {
                if self.is_failing.is(false) {
                    tracing::info!("the audit takes records again");
                }
                return true;
            };
            if self.is_failing.is(true) {
                tell(&error);
            }
            if stop.is_cancelled() {
                let until = *until.get_or_insert_with(|| Instant::now() + GRACE);
                if Instant::now() >= until {
                    return false;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn tell(error: &AuditError) {
    let told = error as &dyn Error;
    match error {
        AuditError::Unknown => {
            tracing::info!(
                error = told,
                "changes are refused until they can be recorded"
            );
        }
        AuditError::Refused(_) => {
            tracing::error!(
                error = told,
                "changes are refused until they can be recorded"
            );
        }
    }
}
