//! A real nats-server per test.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_nats_server::{Cluster, Download, Environment, Options, Server, Store, obtain};
use tokio::time::Instant;

use crate::batch::{CommitPlanError, Committed, Way};
use crate::connect::{Broker, ConnectOptions};
use crate::metric::Metrics;
use crate::plan::Plan;
use crate::readiness::Readiness;
use crate::stream::{Topology, TopologyError};

/// Names the nats-server that tests run; else it is found or fetched as the executable would.
const BINARY: &str = "FANFARE_TEST_NATS_SERVER";

/// The nats-server that tests run: the one that `FANFARE_TEST_NATS_SERVER` names, else found or
/// fetched as the executable would.
///
/// # Panics
/// If there is none to be had; the message says what was tried.
#[expect(clippy::panic, reason = "a test without a broker cannot go on")]
pub async fn binary() -> PathBuf {
    let environment = Environment::of_process();
    let named = environment.get(BINARY).map(PathBuf::from);
    match obtain(named.as_deref(), &environment, Download::Allowed, &|step| {
        eprintln!("{step}");
    })
    .await
    {
        Ok(obtained) => obtained.path,
        Err(error) => panic!("no nats-server for the tests: {error}"),
    }
}

impl Broker {
    /// Takes a stream away with all that it holds, as a fault.
    ///
    /// # Panics
    /// If the broker does not do it.
    #[expect(clippy::panic, reason = "support code of tests")]
    pub async fn take_away(&self, stream: &str) {
        if let Err(error) = self.reads.delete_stream(stream).await {
            panic!("{stream} is still there: {error}");
        }
    }

    /// Stores a plan and its tasks, all of them, as a planner does.
    ///
    /// # Errors
    /// [`CommitPlanError`].
    pub async fn commit(&self, plan: &Plan) -> Result<Committed, CommitPlanError> {
        let way = if plan.n_tasks() <= self.singles_up_to() {
            Way::PlanFirst
        } else {
            Way::Together
        };
        let committed = self.store_plan(plan, way).await?;
        match &committed {
            Committed::Stored if way == Way::PlanFirst => self.store_tasks(plan).await?,
            Committed::Stored => {}
            Committed::Found(found) => self.store_tasks(found).await?,
        }
        Ok(committed)
    }
}

/// One server or three, which end with the test.
#[expect(missing_debug_implementations, reason = "holds processes")]
pub struct TestServer {
    servers: Servers,
    replicas: usize,
}

enum Servers {
    One(Box<Server>),
    Three(Cluster),
}

impl TestServer {
    /// Starts one server with an empty, temporary store.
    ///
    /// # Panics
    /// If it does not start.
    #[expect(clippy::panic, reason = "a test without a broker cannot go on")]
    pub async fn start() -> Self {
        let options = Options {
            store: Store::Ephemeral,
            ..Options::ephemeral()
        };
        match Server::start(&binary().await, options).await {
            Ok(server) => Self {
                servers: Servers::One(Box::new(server)),
                replicas: 1,
            },
            Err(error) => panic!("nats-server did not start: {error}"),
        }
    }

    /// Starts three servers as one cluster.
    ///
    /// # Panics
    /// If one of them does not start.
    pub async fn start_three() -> Self {
        Self::start_three_as(&Options::ephemeral()).await
    }

    /// Starts three servers as one cluster, with other options than the tests' own.
    ///
    /// # Panics
    /// If one of them does not start.
    pub async fn start_three_as(options: &Options) -> Self {
        let binary = binary().await;
        let mut tries = 1..=5;
        loop {
            let error = match Cluster::start(&binary, 3, options).await {
                Ok(cluster) => {
                    return Self {
                        servers: Servers::Three(cluster),
                        replicas: 3,
                    };
                }
                Err(error) => error.to_string(),
            };
            // The ports of a cluster were free a moment before; somebody else's outgoing
            // connection may have got one of them since.
            let is_worth_it = error.contains("address already in use") && tries.next().is_some();
            assert!(
                is_worth_it,
                "the nats-server cluster did not start: {error}"
            );
        }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        match &self.servers {
            Servers::One(server) => server.url(),
            Servers::Three(cluster) => cluster.url(),
        }
    }

    /// 1 or 3.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// The process, for faults; the first of three.
    ///
    /// # Panics
    /// If a cluster has no servers, which does not happen.
    #[expect(clippy::panic, reason = "support code of tests")]
    pub fn server(&mut self) -> &mut Server {
        match &mut self.servers {
            Servers::One(server) => server,
            Servers::Three(cluster) => match cluster.servers_mut().first_mut() {
                Some(server) => server,
                None => panic!("an empty cluster"),
            },
        }
    }

    /// The three processes, for faults.
    pub fn cluster(&mut self) -> Option<&mut Cluster> {
        match &mut self.servers {
            Servers::One(_) => None,
            Servers::Three(cluster) => Some(cluster),
        }
    }

    /// How to connect as `node`.
    pub fn options(&self, node: &str) -> ConnectOptions {
        ConnectOptions {
            servers: self.url().split(',').map(str::to_owned).collect(),
            name: format!("fanfare-test/{node}"),
            node: node.to_owned(),
            replicas: self.replicas,
            ..ConnectOptions::default()
        }
    }

    /// A connection as `node`, with every stream and bucket but no lanes.
    pub async fn broker(&self, node: &str) -> Broker {
        self.broker_with(node, &Topology::new(self.replicas, Vec::new()))
            .await
    }

    /// A connection as `node`, with `topology` ensured.
    ///
    /// # Panics
    /// If the server does not take it.
    #[expect(clippy::panic, reason = "a test without a broker cannot go on")]
    pub async fn broker_with(&self, node: &str, topology: &Topology) -> Broker {
        let broker =
            match Broker::connect(self.options(node), Metrics::default(), Readiness::new()).await {
                Ok(broker) => broker,
                Err(error) => panic!("no connection to the test's server: {error}"),
            };
        match broker.ensure(topology).await {
            // What the product refuses to run on a test may want, such as events that are soon forgotten.
            Ok(()) | Err(TopologyError::Differences(_)) => broker,
            Err(error) => panic!("the test's streams could not be made: {error}"),
        }
    }
}

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until a state is reached; a test that waits for it in vain says where.
///
/// # Panics
/// If it is not reached in 40 s.
#[track_caller]
pub fn eventually(mut reached: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !reached().await {
            assert!(
                Instant::now() < deadline,
                "{caller}: the state was not reached in {PATIENCE:?}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Asks until the answer is `Ok`, and gives it; a test that asks in vain says where, and what it was
/// told last. 40 s are enough for any state, and not for an election on a busy machine: say how long.
///
/// # Panics
/// If it is not `Ok` in time.
#[track_caller]
#[expect(
    clippy::panic,
    reason = "a test whose state does not come cannot go on"
)]
pub fn patiently<T, E: std::fmt::Debug>(
    patience: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + patience;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(seen) if Instant::now() > deadline => panic!("{caller}: last seen {seen:?}"),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }
}
