//! The roles of a process: connected, started, drained.

mod broker;
mod process;

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use fanfare_nats::permissions::Role as User;
use fanfare_nats::{Broker, ConnectOptions, Readiness};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::Admin;
use crate::config::{Config, Manage};
use crate::exit::Failure;
use crate::lifecycle::{self, RoleEnd, Signals};
use crate::users::Users;
use crate::{supervisor, telemetry};

pub(crate) use broker::{connect, topology};
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
        self.user().name()
    }

    fn user(self) -> User {
        match self {
            Self::Fetcher => User::Fetcher,
            Self::Notifier => User::Notifier,
            Self::Api => User::Api,
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
    /// As whom the API pauses and replays, if it may.
    pub(crate) operate: Option<Box<ConnectOptions>>,
    pub(crate) manage: Manage,
    pub(crate) process: Process,
    /// Of a server of our own: each role connects as its user.
    pub(crate) users: Option<Users>,
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
        let told = supervisor::tell(self.process.supervisor(), &shared.readiness);
        let ended = tokio::select! {
            ended = self.run_registered(registered, &shared, &mut signals, broken) => ended,
            never = told => match never {},
        };
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
        let topology = broker::topology(&self.config, self.options.replicas)?;
        let mut is_settled = false;
        for (role, metrics) in registered {
            // A connection each: the broker's lists of permissions and of clients are per role.
            let options = self
                .process
                .introduce(&self.admitted(role.user()), role.name());
            let broker = broker::patient(options, shared).await?;
            match self.manage {
                Manage::Auto if is_settled => {}
                Manage::Auto => {
                    let owner = self.owner(&broker).await?;
                    broker::settle(&owner, &topology, self.manage).await?;
                    is_settled = true;
                }
                Manage::Verify => {
                    let seen = topology.clone().seen_by(role.user());
                    broker::settle(&broker, &seen, self.manage).await?;
                }
            }
            self.spawn(metrics, broker, shared.clone(), tasks);
        }
        Ok(())
    }

    /// The options as a user connects with them.
    fn admitted(&self, user: User) -> ConnectOptions {
        match &self.users {
            Some(users) => users.admit(&self.options, user),
            None => self.options.clone(),
        }
    }

    /// Who creates what is missing: on a server of our own its owner, else whoever is connected.
    async fn owner(&self, connected: &Broker) -> Result<Broker, Failure> {
        match &self.users {
            Some(_) => connect(self.admitted(User::Owner), "owner", &self.process).await,
            None => Ok(connected.clone()),
        }
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
                let operator = self.operate.as_ref().map(|it| {
                    let options = self.process.introduce(it, User::Ops.name());
                    fanfare_api::Operator::new(broker::operator(options))
                });
                let run = fanfare_api::run(config, broker, operator, metrics, readiness, stop);
                let run = Box::pin(run);
                tasks.spawn(async { run.await.context("the api failed") });
            }
        }
    }
}
