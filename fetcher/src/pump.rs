//! The loop of one source; the only one that advances its cursors.
//!
//! Order: the baseline stands before the first event, and every publish of a batch is known to be
//! stored before the cursor of its input advances.

mod begin;
mod listen;

use std::sync::Arc;

use fanfare_nats::Broker;
use fanfare_nats::control::ControlError;
use fanfare_nats::lease::Tenure;
use fanfare_nats::policy::TopicPolicies;
use thiserror::Error;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::baseline::BaselineError;
use crate::config::{InputConfig, SourceConfig};
use crate::intake::ReadError;
use crate::mapping::Mapping;
use crate::metric::SourceMetrics;
use crate::pause::Pauses;
use crate::source::{CatchUp, SourceError, WebSocket, Webhook};
use begin::{Beginning, Polled};
use listen::Listener;

/// Why a pump ended before it was told to; it is started again after a pause.
#[derive(Debug, Error)]
pub(crate) enum PumpError {
    #[error("the configuration of the source does not compile")]
    Configuration,
    #[error("the baseline or a cursor could not be read or stored")]
    Control(#[from] ControlError),
    #[error("there is no usable baseline")]
    Baseline(#[from] BaselineError),
    #[error("an input cannot be set up")]
    Input(#[source] SourceError),
    #[error("a document could not be read")]
    Read(#[source] ReadError),
    #[error("an input ended by a panic")]
    Panicked(#[from] JoinError),
}

/// Everything a pump needs; it is started again with the same.
#[derive(Clone)]
pub(crate) struct Pump {
    pub(crate) source: Arc<SourceConfig>,
    pub(crate) topics: Arc<TopicPolicies>,
    pub(crate) agent: Arc<str>,
    pub(crate) broker: Broker,
    pub(crate) metrics: SourceMetrics,
    /// The lease of an exclusive source: nothing is done with the source when it is over.
    pub(crate) tenure: Option<Tenure>,
    /// What operators say.
    pub(crate) pauses: Pauses,
    /// Nobody read the source for a while, because it was paused.
    pub(crate) is_resumed: bool,
}

impl Pump {
    /// Runs until `stop`: then each input finishes its batch, advances its cursor and returns. When
    /// the lease is over everything is dropped where it stands, open connections with it.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), PumpError> {
        let tenure = self.tenure.clone();
        Box::pin(during(tenure, self.run_held(stop))).await
    }

    async fn run_held(self, stop: CancellationToken) -> Result<(), PumpError> {
        let mapping = Mapping::compile(&self.source).map_err(|_| PumpError::Configuration)?;
        let mapping = Arc::new(mapping);
        let Some(Beginning { intake, polled }) = self.begin(&mapping, &stop).await? else {
            return Ok(());
        };
        let intake = Arc::new(intake);
        let catch_ups: Vec<_> = polled.iter().map(|it| it.http.catch_up()).collect();
        // Nobody has read since the last holder stopped, or since the pause began.
        let catches_up = self.tenure.is_some() || self.is_resumed;
        if catches_up {
            catch_ups.iter().for_each(CatchUp::ask);
        }
        let listener = |input| Listener {
            input,
            name: Arc::from(self.source.name.as_str()),
            mapping: Arc::clone(&mapping),
            intake: Arc::clone(&intake),
            broker: self.broker.clone(),
            metrics: self.metrics.clone(),
            catch_ups: catch_ups.clone(),
            catches_up,
            stop: stop.clone(),
        };
        let mut inputs = JoinSet::new();
        for Polled { n, http, seen } in polled {
            let listening = listener(n).listen(http, seen);
            inputs.spawn(during(self.tenure.clone(), listening));
        }
        for (n, input) in self.source.input.iter().enumerate() {
            if let InputConfig::Webhook(webhook) = input {
                let webhook = Webhook::open(&self.source.name, webhook).await;
                let webhook = webhook.map_err(PumpError::Input)?;
                inputs.spawn(during(
                    self.tenure.clone(),
                    listener(n).listen(webhook, None),
                ));
            }
            if let InputConfig::WebSocket(socket) = input {
                let socket = WebSocket::new(socket, &self.agent)
                    .map_err(PumpError::Input)?
                    .counted_by(self.metrics.clone());
                let listening = listener(n).listen(socket, None);
                inputs.spawn(during(self.tenure.clone(), listening));
            }
        }
        // The first error ends the others by dropping the set; what they hold comes again.
        while let Some(ended) = inputs.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// Does `work`, of an exclusive source only while its lease holds. Each task needs it for itself: a
/// task is polled without its parent.
async fn during(
    tenure: Option<Tenure>,
    work: impl Future<Output = Result<(), PumpError>>,
) -> Result<(), PumpError> {
    match tenure {
        None => work.await,
        Some(tenure) => tenure.during(work).await.unwrap_or(Ok(())),
    }
}
