//! Getting hold of the broker, and of the streams on it.

use std::time::Duration;

use anyhow::Context;
use fanfare_nats::connect::ConnectError;
use fanfare_nats::stream::{Topology, TopologyError};
use fanfare_nats::{Broker, ConnectOptions, Readiness};

use super::{Process, Shared};
use crate::config::Manage;
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

/// Creates what is missing, or says what is.
pub(super) async fn settle(
    broker: &Broker,
    topology: &Topology,
    manage: Manage,
) -> Result<(), Failure> {
    let settled = match manage {
        Manage::Auto => broker.ensure(topology).await,
        Manage::Verify => match broker.verify(topology).await {
            differences if differences.is_empty() => Ok(()),
            differences => Err(TopologyError::Differences(differences)),
        },
    };
    let hint = match manage {
        Manage::Auto => "the streams on this server cannot keep fanfare's promise",
        Manage::Verify => {
            "the streams on this server are not what fanfare needs; \
             to have what is missing created: --manage auto"
        }
    };
    Ok(settled.context(hint)?)
}
