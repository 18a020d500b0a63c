//! A source that one fetcher at a time may read: the pump runs while this process holds the lease.
//!
//! | end of a tenure | what happens |
//! |---|---|
//! | lost: not renewed in time, another one reads, an operator took it away | everything is dropped where it stands, connections closed; the cursor waits |
//! | handed over, or this process stops | the batch is finished, connections closed, then the lease is let go of |

use std::sync::Arc;

use fanfare_nats::Broker;
use fanfare_nats::event::{NameError, SourceName};
use fanfare_nats::lease::{Candidate, Electorate, Ended, Lost, Tenure, Times};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::pump::Pump;
use crate::run::supervise;

/// Who could read, as of the last reading.
pub(crate) type Electors = watch::Receiver<Arc<Electorate>>;

/// An exclusive source in this process.
pub(crate) struct Exclusive {
    pump: Pump,
    candidate: Candidate,
    electors: Electors,
}

/// Why the inputs are closed.
enum Why {
    Ended(Ended),
    Stopped,
}

impl Exclusive {
    /// Stands by for the lease of the pump's source.
    ///
    /// # Errors
    /// A source name that is none; validation refuses it before.
    pub(crate) fn new(pump: Pump, broker: &Broker, electors: Electors) -> Result<Self, NameError> {
        let name = SourceName::parse(&pump.source.name)?;
        Ok(Self {
            candidate: broker.candidate(&name, Times::SHIPPED),
            pump,
            electors,
        })
    }

    /// Reads whenever the lease is ours, until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let acquired = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                tenure = self.candidate.acquire(&mut self.electors) => Some(tenure),
            };
            let Some(tenure) = acquired else {
                // An acquisition may be under way.
                self.candidate.release(None).await;
                return;
            };
            let why = self.read(&tenure, &stop).await;
            let number = tenure.number();
            let name = &self.pump.source.name;
            match why {
                Why::Stopped => {
                    self.candidate.release(None).await;
                    tracing::info!(source.name = name, lease = number, "lease let go of");
                    return;
                }
                Why::Ended(Ended::HandOver(to)) => {
                    self.candidate.release(Some(&to)).await;
                    tracing::info!(source.name = name, lease = number, to, "lease handed over");
                }
                Why::Ended(Ended::Lost(lost)) => {
                    self.tell_lost(number, lost);
                    self.candidate.release(None).await;
                }
            }
        }
    }

    /// Reads for one tenure, and returns when every connection is closed.
    async fn read(&mut self, tenure: &Tenure, stop: &CancellationToken) -> Why {
        let (metrics, number) = (&self.pump.metrics, tenure.number());
        metrics.took_lease();
        metrics.holds_lease(true);
        let name = self.pump.source.name.clone();
        tracing::info!(source.name = name, lease = number, "lease taken; reading");
        let closing = stop.child_token();
        let mut inputs = JoinSet::new();
        let pump = Pump {
            tenure: Some(tenure.clone()),
            ..self.pump.clone()
        };
        inputs.spawn(supervise(pump, closing.clone()));
        let why = tokio::select! {
            ended = self.candidate.hold(&mut self.electors) => Why::Ended(ended),
            () = stop.cancelled() => Why::Stopped,
        };
        closing.cancel();
        if !matches!(why, Why::Ended(Ended::Lost(_))) {
            // What is in hand is finished under the lease, which is kept meanwhile.
            let finished = async { while inputs.join_next().await.is_some() {} };
            let (_, mut nobody) = watch::channel(Arc::default()); // No second hand-over.
            tokio::select! {
                () = finished => {}
                () = tenure.over() => {}
                _ = self.candidate.hold(&mut nobody) => {}
            }
        }
        inputs.shutdown().await;
        self.pump.metrics.holds_lease(false);
        why
    }

    fn tell_lost(&self, number: u64, lost: Lost) {
        self.pump.metrics.lost_lease();
        let name = &self.pump.source.name;
        let n_late = self.pump.metrics.n_late_publishes();
        let why = match lost {
            Lost::Expired => "it could not be renewed in time",
            Lost::Fenced => "another fetcher has it",
            Lost::Withdrawn => "an operator took it away",
        };
        tracing::warn!(
            source.name = name,
            lease = number,
            why,
            n_late_publishes = n_late,
            "lease lost; connections are closed"
        );
    }
}
