//! The roles of a process: connected, started, drained.

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use fanfare_nats::connect::ConnectError;
use fanfare_nats::stream::{Topology, TopologyError};
use fanfare_nats::{Broker, ConnectOptions, Readiness};
use fanfare_nats_server::Environment;
use prometheus_client::registry::Registry;
use rand::Rng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::{Config, Manage};
use crate::exit::Failure;
use crate::lifecycle::{self, RoleEnd, Signals};
use crate::telemetry;

/// Pause between tries to reach a broker that nobody answers for.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// What a process can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Turns sources into events
    Fetcher,
    /// Turns events into pushes
    Notifier,
    /// Takes registrations and events over HTTP
    Api,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Fetcher, Self::Notifier, Self::Api];

    fn name(self) -> &'static str {
        match self {
            Self::Fetcher => "fetcher",
            Self::Notifier => "notifier",
            Self::Api => "api",
        }
    }
}

/// This process among all.
pub(crate) struct Process {
    host: String,
    node: String,
}

impl Process {
    /// The configured node, or one that no other process has.
    pub(crate) fn of_command(config: &Config, environment: &Environment) -> Self {
        let node = config.own.process.node.clone();
        let node = node.unwrap_or_else(|| format!("{:08x}", rand::rng().random::<u32>()));
        // A name in lists; any will do.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.or_else(|| environment.text("HOSTNAME").map(str::to_owned));
        let host = host
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty());
        Self {
            host: host.unwrap_or_else(|| "host".to_owned()),
            node,
        }
    }

    /// The options as `role` connects with them.
    fn introduce(&self, options: &ConnectOptions, role: &str) -> ConnectOptions {
        let mut options = options.clone();
        options.name = format!("fanfare-{role}/{}/{}", self.host, self.node);
        options.node.clone_from(&self.node);
        if options.inbox_prefix.is_empty() {
            options.inbox_prefix = format!("_INBOX_{role}");
        }
        options
    }
}

/// What the roles of one process share.
struct Shared {
    registry: Registry,
    nats: fanfare_nats::Metrics,
    readiness: Readiness,
    stop: CancellationToken,
}

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

/// Runs the roles until a signal, the end of one of them, or `broken`.
pub(crate) async fn run(
    roles: &[Role],
    config: Config,
    options: ConnectOptions,
    manage: Manage,
    process: &Process,
    broken: impl Future<Output = anyhow::Error>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let admin = Admin::bind(&config.own.admin)
        .await
        .context("cannot open the admin port")?;
    let address = admin.address().context("cannot open the admin port")?;
    let mut registry = telemetry::registry();
    let nats = fanfare_nats::Metrics::register(&mut registry);
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    let mut shared = Shared {
        registry,
        nats,
        readiness: readiness.clone(),
        stop: stop.clone(),
    };
    let mut tasks = JoinSet::new();
    tracing::info!(node = process.node, admin = %address, ?roles, "starting");
    let starting = start(
        roles,
        config,
        &options,
        manage,
        process,
        &mut shared,
        &mut tasks,
    );
    tokio::select! {
        started = starting => started?,
        () = signals.next() => return Ok(()),
    }
    let mut serving = JoinSet::new();
    let end_admin = CancellationToken::new();
    serving.spawn(admin.serve(shared.registry, readiness.clone(), end_admin.clone()));
    let draining = || readiness.unmet("running", "draining");
    let ended = lifecycle::run(
        &mut tasks,
        &mut signals,
        &stop,
        broken,
        draining,
        lifecycle::GRACE,
    )
    .await;
    end_admin.cancel();
    // A probe that is being answered gets its answer; a client that never reads gets none.
    let _late = tokio::time::timeout(Duration::from_secs(1), serving.join_next()).await;
    tracing::info!("stopped");
    Ok(ended?)
}

async fn start(
    roles: &[Role],
    config: Config,
    options: &ConnectOptions,
    manage: Manage,
    process: &Process,
    shared: &mut Shared,
    tasks: &mut JoinSet<RoleEnd>,
) -> Result<(), Failure> {
    let lanes = config.lanes();
    let topology = Topology::new(options.replicas, lanes);
    let mut is_settled = false;
    for role in roles {
        let broker = patient(process.introduce(options, role.name()), shared).await?;
        if !is_settled {
            settle(&broker, &topology, manage).await?;
            is_settled = true;
        }
        spawn(*role, &config, broker, shared, tasks);
    }
    Ok(())
}

fn spawn(
    role: Role,
    config: &Config,
    broker: Broker,
    shared: &mut Shared,
    tasks: &mut JoinSet<RoleEnd>,
) {
    let (readiness, stop) = (shared.readiness.clone(), shared.stop.clone());
    match role {
        Role::Fetcher => {
            let metrics = fanfare_fetcher::Metrics::register(&mut shared.registry);
            let config = config.fetcher.clone();
            tasks.spawn(async move {
                let end = fanfare_fetcher::run(config, broker, metrics, readiness, stop).await;
                end.context("the fetcher failed")
            });
        }
        Role::Notifier => {
            let metrics = fanfare_notifier::Metrics::register(&mut shared.registry);
            let config = config.notifier.clone();
            tasks.spawn(async move {
                let end = fanfare_notifier::run(config, broker, metrics, readiness, stop).await;
                end.context("the notifier failed")
            });
        }
        Role::Api => {
            let metrics = fanfare_api::Metrics::register(&mut shared.registry);
            let config = config.api.clone();
            tasks.spawn(async move {
                let end = fanfare_api::run(config, broker, metrics, readiness, stop).await;
                end.context("the api failed")
            });
        }
    }
}

/// Waits for a broker that nobody answers for; what it refuses, it will refuse again.
async fn patient(options: ConnectOptions, shared: &Shared) -> Result<Broker, Failure> {
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
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
            Err(error) => return Err(refused(error)),
        }
    }
}

fn refused(error: ConnectError) -> Failure {
    match &error {
        ConnectError::TooOld { .. } | ConnectError::NoJetStream { .. } => {
            Failure::NoServer(error.into())
        }
        ConnectError::Connect(_) => Failure::Failed(error.into()),
        ConnectError::Credentials(_) => Failure::Failed(error.into()),
    }
}

/// Creates what is missing, or says what is.
async fn settle(broker: &Broker, topology: &Topology, manage: Manage) -> Result<(), Failure> {
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
             to have missing ones created: --manage auto"
        }
    };
    Ok(settled.context(hint)?)
}
