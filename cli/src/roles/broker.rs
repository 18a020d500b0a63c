//! Getting hold of the broker, and of the streams on it.

use std::time::Duration;

use anyhow::Context;
use fanfare_nats::connect::ConnectError;
use fanfare_nats::stream::{Topology, TopologyError, Weight};
use fanfare_nats::{Broker, ConnectOptions, Readiness};

use super::{Process, Shared};
use crate::config::{Config, Manage};
use crate::exit::Failure;

/// Pause between tries to reach a broker that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Connects for a command that does one thing and ends.
pub(crate) async fn connect(
    options: ConnectOptions,
    role: &str,
    process: &Process,
) -> Result<Broker, Failure> {
    let options = process.introduce(&options, role);
    let (metrics, readiness) = (fanfare_nats::Metrics::default(), Readiness::new());
    Broker::connect(options, metrics, readiness)
        .await
        .map_err(refused)
}

/// Waits for a broker that does not answer; what it refuses once, it will refuse again.
pub(super) async fn patient(options: ConnectOptions, shared: &Shared) -> Result<Broker, Failure> {
    let mut has_told = false;
    loop {
        let (metrics, readiness) = (shared.nats.clone(), shared.readiness.clone());
        match Broker::connect(options.clone(), metrics, readiness).await {
            Ok(broker) => return Ok(broker),
            Err(ConnectError::Connect(error)) => {
                if !has_told {
                    tracing::warn!(%error, "NATS cannot be reached; trying until it can");
                    has_told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn refused(error: ConnectError) -> Failure {
    match error {
        ConnectError::TooOld { .. } | ConnectError::NoJetStream { .. } => {
            Failure::NoServer(error.into())
        }
        ConnectError::Connect(_) | ConnectError::Credentials(_) => Failure::Failed(error.into()),
    }
}

/// What has to be stored for this configuration.
pub(crate) fn topology(config: &Config, replicas: usize) -> Result<Topology, Failure> {
    let lanes = fanfare_notifier::lanes(&config.notifier);
    let lanes = lanes.context("an app has a wrong name")?;
    let mut topology = Topology::new(replicas, lanes);
    if let Some(ack_wait_ms) = config.own.nats.ack_wait_ms {
        topology.ack_wait = Duration::from_millis(ack_wait_ms);
    }
    let fresh_for = config.fetcher.source.iter().map(|it| it.fresh_for.0);
    topology.fresh_for = fresh_for.max().unwrap_or(topology.fresh_for);
    topology.epoch = epoch();
    Ok(topology)
}

/// A number that grows from each making of a durable to the next.
fn epoch() -> u64 {
    u64::try_from(crate::clock::now().as_second()).unwrap_or(1)
}

/// Creates what is missing, or says what is.
pub(super) async fn settle(
    broker: &Broker,
    topology: &Topology,
    manage: Manage,
) -> Result<(), Failure> {
    let settled = match manage {
        Manage::Auto => broker.ensure(topology).await,
        Manage::Verify => match broker.verify(topology).await {
            differences if differences.iter().all(|it| it.weight == Weight::Doubtful) => {
                for difference in differences {
                    tracing::warn!("{difference}");
                }
                Ok(())
            }
            differences => Err(TopologyError::Differences(differences)),
        },
    };
    let hint = match manage {
        Manage::Auto => "the streams on this server cannot keep fanfare's promise",
        Manage::Verify => {
            "the streams on this server are not what fanfare needs; \
             all of it: fanfare admin verify; to have what is missing created: --manage auto"
        }
    };
    Ok(settled.context(hint)?)
}
