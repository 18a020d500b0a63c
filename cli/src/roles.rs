//! The roles of a process: connected, started, drained.

mod broker;
mod process;

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use fanfare_nats::stream::Topology;
use fanfare_nats::{Broker, ConnectOptions, Readiness};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::{Config, Manage};
use crate::exit::Failure;
use crate::lifecycle::{self, RoleEnd, Signals};
use crate::telemetry;

pub(crate) use broker::connect;
pub(crate) use process::Process;

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

    fn register(self, registry: &mut Registry) -> Registered {
        match self {
            Self::Fetcher => Registered::Fetcher(fanfare_fetcher::Metrics::register(registry)),
            Self::Notifier => Registered::Notifier(fanfare_notifier::Metrics::register(registry)),
            Self::Api => Registered::Api(fanfare_api::Metrics::register(registry)),
        }
    }
}

/// A role whose metrics are in the registry.
enum Registered {
    Fetcher(fanfare_fetcher::Metrics),
    Notifier(fanfare_notifier::Metrics),
    Api(fanfare_api::Metrics),
}

/// How a process that runs roles is composed.
pub(crate) struct Composition {
    pub(crate) roles: Vec<Role>,
    pub(crate) config: Config,
    pub(crate) options: ConnectOptions,
    pub(crate) manage: Manage,
    pub(crate) process: Process,
}

/// What all roles of a process share.
#[derive(Clone)]
struct Shared {
    nats: fanfare_nats::Metrics,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Composition {
    /// Runs the roles until a signal, the end of one of them, or `broken`. Each runs once,
    /// however often it was named.
    pub(crate) async fn run(
        mut self,
        broken: impl Future<Output = anyhow::Error>,
    ) -> Result<(), Failure> {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let admin = Admin::bind(&self.config.own.admin).await;
        let admin = admin.with_context(|| match self.config.own.admin.listen {
            Some(address) => format!("the admin port cannot listen on {address}"),
            None => "no port for probes and metrics".to_owned(),
        })?;
        let mut registry = telemetry::registry();
        let shared = Shared {
            nats: fanfare_nats::Metrics::register(&mut registry),
            readiness: Readiness::new(),
            stop: CancellationToken::new(),
        };
        let mut named = Vec::new();
        self.roles.retain(|role| {
            let is_first = !named.contains(role);
            named.push(*role);
            is_first
        });
        let registered: Vec<_> = self
            .roles
            .iter()
            .map(|role| (*role, role.register(&mut registry)))
            .collect();
        shared.readiness.unmet("running", "starting");
        tracing::info!(
            node = self.process.node(),
            admin = admin.address().map(tracing::field::display).ok(),
            roles = ?self.roles,
            "starting"
        );
        // From here on probes are answered: an orchestrator must see a process that waits for its
        // broker alive.
        let (mut serving, end_admin) = (JoinSet::new(), CancellationToken::new());
        serving.spawn(admin.serve(registry, shared.readiness.clone(), end_admin.clone()));
        let ended = self
            .run_registered(registered, &shared, &mut signals, broken)
            .await;
        end_admin.cancel();
        // A probe being answered gets its answer; a client that never reads gets none.
        let _late = tokio::time::timeout(Duration::from_secs(1), serving.join_next()).await;
        tracing::info!("stopped");
        ended
    }

    async fn run_registered(
        &self,
        registered: Vec<(Role, Registered)>,
        shared: &Shared,
        signals: &mut Signals,
        broken: impl Future<Output = anyhow::Error>,
    ) -> Result<(), Failure> {
        let mut broken = std::pin::pin!(broken);
        let mut tasks = JoinSet::new();
        tokio::select! {
            started = self.start(registered, shared, &mut tasks) => started?,
            error = &mut broken => return Err(error.into()),
            // Nothing was taken up yet, so there is nothing to drain.
            () = signals.next() => return Ok(()),
        }
        shared.readiness.met("running");
        let draining = || shared.readiness.unmet("running", "draining");
        let grace = lifecycle::GRACE;
        let ended =
            lifecycle::run(&mut tasks, signals, &shared.stop, broken, draining, grace).await;
        Ok(ended?)
    }

    async fn start(
        &self,
        registered: Vec<(Role, Registered)>,
        shared: &Shared,
        tasks: &mut JoinSet<RoleEnd>,
    ) -> Result<(), Failure> {
        let lanes = fanfare_notifier::lanes(&self.config.notifier);
        let lanes = lanes.context("an app has a wrong name")?;
        let topology = Topology::new(self.options.replicas, lanes);
        let mut is_settled = false;
        for (role, metrics) in registered {
            // A connection each: the broker's lists of permissions and of clients are per role.
            let options = self.process.introduce(&self.options, role.name());
            let broker = broker::patient(options, shared).await?;
            if !is_settled {
                broker::settle(&broker, &topology, self.manage).await?;
                is_settled = true;
            }
            self.spawn(metrics, broker, shared.clone(), tasks);
        }
        Ok(())
    }

    fn spawn(
        &self,
        role: Registered,
        broker: Broker,
        shared: Shared,
        tasks: &mut JoinSet<RoleEnd>,
    ) {
        let Shared {
            readiness, stop, ..
        } = shared;
        match role {
            Registered::Fetcher(metrics) => {
                let config = self.config.fetcher.clone();
                let run = fanfare_fetcher::run(config, broker, metrics, readiness, stop);
                tasks.spawn(async { run.await.context("the fetcher failed") });
            }
            Registered::Notifier(metrics) => {
                let config = self.config.notifier.clone();
                let run = fanfare_notifier::run(config, broker, metrics, readiness, stop);
                tasks.spawn(async { run.await.context("the notifier failed") });
            }
            Registered::Api(metrics) => {
                let config = self.config.api.clone();
                let run = fanfare_api::run(config, broker, metrics, readiness, stop);
                tasks.spawn(async { run.await.context("the api failed") });
            }
        }
    }
}
