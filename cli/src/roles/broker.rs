//! Getting hold of the broker, and of the streams on it.

use std::time::Duration;

use anyhow::Context;
use fanfare_nats::connect::ConnectError;
use fanfare_nats::stream::{Difference, Topology, TopologyError, Weight};
use fanfare_nats::{Broker, ConnectOptions, Readiness};

use super::{Process, Shared};
use crate::config::{Config, Manage};
use crate::exit::Failure;

/// Pause between tries to reach a broker that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The same for the connection of operators, which may be refused for as long as nobody mends it.
const OPERATOR_PAUSE: Duration = Duration::from_secs(5);

/// How long a role that starts waits until it is known what is stored: several elections.
const ANSWERED_WITHIN: Duration = Duration::from_mins(1);

/// Tries of a command where one server of several is without JetStream: each goes to any of them.
const TRIES: usize = 8;

/// Connects for a command that does one thing and ends.
pub(crate) async fn connect(
    options: ConnectOptions,
    role: &str,
    process: &Process,
) -> Result<Broker, Failure> {
    let options = process.introduce(&options, role);
    let mut tries = 1..TRIES;
    loop {
        let (metrics, readiness) = (fanfare_nats::Metrics::default(), Readiness::new());
        match Broker::connect(options.clone(), metrics, readiness).await {
            Ok(broker) => return Ok(broker),
            Err(ConnectError::NoJetStream { .. })
                if options.servers.len() > 1 && tries.next().is_some() => {}
            Err(error) => return Err(refused(error, &options)),
        }
    }
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
            // A server whose disk is full switches JetStream off; the others go on.
            Err(error @ ConnectError::NoJetStream { .. }) if options.servers.len() > 1 => {
                if !has_told {
                    tracing::warn!(%error, "one of the servers is of no use; trying the others");
                    has_told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(refused(error, &options)),
        }
    }
}

/// Tries until there is a connection of operators. It counts nowhere: what else the process does goes on
/// without it, so that it is none of its conditions of readiness.
pub(super) async fn operator(options: ConnectOptions) -> Broker {
    let mut has_told = false;
    loop {
        let (metrics, readiness) = (fanfare_nats::Metrics::default(), Readiness::new());
        match Broker::connect(options.clone(), metrics, readiness).await {
            Ok(broker) => return broker,
            Err(error) => {
                if !has_told {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "operators have no connection; trying until they have"
                    );
                    has_told = true;
                }
                tokio::time::sleep(OPERATOR_PAUSE).await;
            }
        }
    }
}

/// Says which servers were asked.
fn refused(error: ConnectError, options: &ConnectOptions) -> Failure {
    let servers: Vec<_> = options.servers.iter().map(|it| without_user(it)).collect();
    let is_server = matches!(
        error,
        ConnectError::TooOld { .. } | ConnectError::NoJetStream { .. }
    );
    let error = anyhow::Error::from(error).context(servers.join(", "));
    if is_server {
        Failure::NoServer(error)
    } else {
        Failure::Failed(error)
    }
}

/// A server's address without the user and password that may stand in it.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, it)| it)
}

/// What has to be stored for this configuration.
pub(crate) fn topology(config: &Config, replicas: usize) -> Result<Topology, Failure> {
    let lanes = fanfare_notifier::lanes(&config.notifier);
    let lanes = lanes.context("an app has a wrong name")?;
    let mut topology = Topology::new(replicas, lanes);
    if let Some(ack_wait_ms) = config.own.nats.ack_wait_ms {
        topology.ack_wait = Duration::from_millis(ack_wait_ms);
    }
    if let Some(marker_ttl_s) = config.own.nats.marker_ttl_s {
        topology.marker_ttl = Duration::from_secs(marker_ttl_s);
    }
    let fresh_for = config.fetcher.source.iter().map(|it| it.fresh_for.0);
    if let Some(fresh_for) = fresh_for.max() {
        topology = topology.remembering(fresh_for);
    }
    topology.epoch = epoch();
    Ok(topology)
}

/// A number that grows from each making of a durable to the next.
fn epoch() -> u64 {
    u64::try_from(crate::clock::now().as_second()).unwrap_or(1)
}

/// What is not as needed, once it is known. A role that starts while the servers elect a leader waits
/// for it (seen: it ended when its machine came back); but not for ever, because what a user may not
/// ask is not answered either.
async fn answered(broker: &Broker, topology: &Topology) -> Vec<Difference> {
    let deadline = tokio::time::Instant::now() + ANSWERED_WITHIN;
    let mut has_told = false;
    loop {
        let differences = broker.verify(topology).await;
        let Some(unanswered) = differences.iter().find(|it| it.is_unanswered()) else {
            return differences;
        };
        if tokio::time::Instant::now() > deadline {
            return differences;
        }
        if !has_told {
            tracing::warn!("{unanswered}; asking until it is known");
            has_told = true;
        }
        tokio::time::sleep(PAUSE).await;
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
        Manage::Verify => match answered(broker, topology).await {
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
