//! The whole path around one broker: sim, configuration, role processes.

mod configuration;
mod ground;
mod setup;
mod stored;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Duration;

use fanfare_nats::testing::TestServer;
use fanfare_nats_server::process::Launch;
use fanfare_sim::ledger::{self, Counts, Entry, ProviderKind, Request};
use fanfare_sim::{Latency, QuakesConfig, Sim, SimConfig};
pub use ground::{Ground, OwnServer, password};
pub use setup::{Apps, Setup};
pub use stored::WAKE_UPS_WAIT;
pub(crate) use stored::connect;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::Api;
use crate::audit::{Audit, Registrations, StoredEvent};
use crate::eventually::eventually;
use crate::process::{Ended, Process, executable, free, launch_of, without_keys};
use crate::proxy::Proxy;

/// One at a time in a process: their timing is part of what they show, and the machine has few
/// cores.
static TURN: Mutex<()> = Mutex::const_new(());

/// A broker, the outside world, and a configuration that joins them. Roles are started as wanted.
pub struct Pipeline {
    /// The doubles and feeds.
    pub sim: Sim,
    /// The broker, for faults, if it is not on a network.
    pub server: OwnServer,
    broker: String,
    /// What stands before the broker, if the setup asks for it.
    pub proxy: Option<Proxy>,
    url: String,
    /// Where commands run, if brokers and roles are on a network.
    ground: std::sync::Mutex<Option<Ground>>,
    setup: Setup,
    folder: TempDir,
    configuration: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Pipeline {
    /// Starts broker and sim; no role yet. The feed of quakes stands still.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start(setup: Setup) -> Self {
        let turn = TURN.lock().await;
        let server = if setup.is_three {
            TestServer::start_three().await
        } else {
            TestServer::start().await
        };
        let broker = server.url();
        let mut url = broker.clone();
        let proxy = if setup.has_proxy {
            let target = url.trim_start_matches("nats://").parse().unwrap();
            let proxy = Proxy::start(target).await;
            url = format!("nats://{}", proxy.address());
            Some(proxy)
        } else {
            None
        };
        let world = Ipv4Addr::LOCALHOST;
        let pipeline = Self::around(turn, world, broker, setup).await;
        Self {
            server: OwnServer::of(server),
            proxy,
            url,
            ..pipeline
        }
    }

    /// Starts the outside world at this address of a network and writes the configuration; brokers
    /// and roles are started elsewhere. `ground` is where commands run; `broker` is how the harness
    /// itself reaches the brokers.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn among(ground: Ground, broker: String, setup: Setup) -> Self {
        let turn = TURN.lock().await;
        let pipeline = Self::around(turn, ground.address, broker, setup).await;
        Self {
            ground: std::sync::Mutex::new(Some(ground)),
            ..pipeline
        }
    }

    /// Everything but the broker.
    async fn around(
        turn: MutexGuard<'static, ()>,
        world: Ipv4Addr,
        broker: String,
        setup: Setup,
    ) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut config = SimConfig::in_folder(folder.path().join("sim"));
        config.address = world.into();
        config.upstream.quakes = Some(QuakesConfig {
            speed: 0.0,
            ..QuakesConfig::default()
        });
        let latency = setup.latency();
        if let (Some(apns), Some(fcm)) = (&mut config.apns, &mut config.fcm) {
            (apns.latency, fcm.latency) = (latency, latency);
            apns.topics.push(configuration::SECOND_BUNDLE.to_owned());
        }
        let sim = Sim::start(config).await.unwrap();
        let configuration = folder.path().join("fanfare.toml");
        std::fs::write(&configuration, configuration::text(&sim, &setup)).unwrap();
        Self {
            sim,
            server: OwnServer::default(),
            proxy: None,
            url: broker.clone(),
            broker,
            ground: std::sync::Mutex::default(),
            setup,
            folder,
            configuration,
            _turn: turn,
        }
    }

    /// Starts a role as a process of its own and waits until it is ready.
    pub async fn role(&self, role: &str, node: &str) -> Process {
        let process = self.begin(role, node, &[]);
        process.ready().await;
        process
    }

    /// Starts a role with these variables and waits for nothing.
    pub fn begin(&self, role: &str, node: &str, variables: &[(&str, String)]) -> Process {
        self.begin_at(&self.url, role, node, variables)
    }

    fn begin_at(&self, url: &str, role: &str, node: &str, variables: &[(&str, String)]) -> Process {
        let launch = self
            .launch(None)
            .args(["up", role, "--manage", "auto", "--server", url]);
        Self::process(launch, node, variables)
    }

    /// As [`Pipeline::begin`], on a host of a network and as the role's own user.
    pub fn begin_on(
        &self,
        ground: &Ground,
        role: &str,
        node: &str,
        variables: &[(&str, String)],
    ) -> Process {
        let launch = ground.admit(self.launch(Some(ground)).args(["up", role]), role);
        Self::process(launch, node, variables)
    }

    fn process(mut launch: Launch, node: &str, variables: &[(&str, String)]) -> Process {
        launch = launch.env("FANFARE__PROCESS__NODE", node);
        for (name, value) in variables {
            launch = launch.env(*name, value);
        }
        Process::start(node, launch)
    }

    /// Adds lines to the configuration of what is started from now on.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn configure(&mut self, more: &str) {
        self.setup.extra.push_str(more);
        let text = configuration::text(&self.sim, &self.setup);
        std::fs::write(&self.configuration, text).unwrap();
    }

    /// Where the broker is, past the proxy.
    pub fn broker(&self) -> &str {
        &self.broker
    }

    /// Runs a command of the executable against the broker, past the proxy, to its end.
    ///
    /// # Panics
    /// If it cannot be started or does not end.
    pub async fn command(&self, arguments: &[&str]) -> Ended {
        let ground = self.ground();
        let launch = self.launch(ground.as_ref()).args(arguments.iter().copied());
        let launch = match &ground {
            None => launch.args(["--server", &self.broker]),
            Some(ground) if arguments[0] == "admin" => ground.admit(launch, "owner"),
            Some(ground) => ground.admit(launch, "auditor"),
        };
        Process::start(arguments[0], launch).ended().await
    }

    fn launch(&self, ground: Option<&Ground>) -> Launch {
        let executable = match (
            ground.and_then(Ground::executable),
            self.setup.executable.as_deref(),
        ) {
            (Some(executable), _) | (None, Some(executable)) => executable,
            (None, None) => executable(),
        };
        let launch = match ground {
            None => without_keys(launch_of(executable, self.folder.path())),
            Some(ground) => free(ground.launch(executable), self.folder.path()),
        };
        let launch = if self.setup.is_three {
            launch.env("FANFARE__NATS__REPLICAS", "3")
        } else {
            launch
        };
        launch.arg("--config").arg(&self.configuration)
    }

    fn ground(&self) -> Option<Ground> {
        let ground = self.ground.lock();
        ground.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commands are run by the pipeline's own executable from now on, whichever it was before.
    pub fn renew(&self) {
        let mut ground = self.ground.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ground) = ground.as_mut() {
            ground.executable = None;
        }
    }

    /// What this pipeline was set up with.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The folder of everything but the broker's store; it goes away with the pipeline.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts an API and returns a client of it.
    pub async fn api(&self) -> (Process, Api) {
        let process = self.role("api", "api").await;
        let at = process.address("the API listens", "address").await;
        (process, Api::new(at))
    }

    /// As [`Pipeline::api`], past the proxy: what happens to the others there does not happen to it.
    pub async fn api_past_the_proxy(&self) -> (Process, Api) {
        let process = self.begin_at(&self.broker, "api", "api", &[]);
        process.ready().await;
        let at = process.address("the API listens", "address").await;
        (process, Api::new(at))
    }

    /// The most pushes that the death of one notifier may repeat.
    pub fn window(&self) -> u64 {
        self.setup.window as u64
    }

    /// Numbers of the ledger so far.
    pub fn counts(&self) -> Counts {
        self.sim.counts()
    }

    /// Changes how long both doubles take to answer, from now on.
    pub fn set_latency(&self, latency: Duration) {
        for provider in [ProviderKind::Apns, ProviderKind::Fcm] {
            self.sim.set_latency(provider, Latency::fixed(latency));
        }
    }

    /// Every request that the doubles decided, in order.
    ///
    /// # Panics
    /// If the ledger cannot be read.
    pub fn requests(&self) -> Vec<Request> {
        self.sim.ledger().flush().unwrap();
        let path = self.sim.whereabouts().ledger.clone().unwrap();
        let entries = ledger::read(&path).unwrap();
        let requests = entries.filter_map(|entry| match entry.unwrap() {
            Entry::Request(request) => Some(request),
            Entry::Answered { .. } => None,
        });
        requests.collect()
    }

    /// The requests of one event.
    pub fn requests_of(&self, event: &str) -> Vec<Request> {
        let is_its = |it: &Request| it.event.as_deref() == Some(event);
        self.requests().into_iter().filter(is_its).collect()
    }

    /// Every event in the stream of events, read off the wire.
    pub async fn stored_events(&self) -> Vec<StoredEvent> {
        stored::events(&self.broker).await
    }

    /// Every dead letter in its stream, read off the wire.
    pub async fn dead_letters(&self) -> Vec<serde_json::Value> {
        stored::dead_letters(&self.broker).await
    }

    /// How often tasks were delivered again, counted once everything is settled.
    pub async fn tasks_redelivered(&self) -> u64 {
        stored::tasks_redelivered(&self.broker).await
    }

    /// Waits until every task is settled: nothing pending, nothing unsettled, no wake-up waiting.
    pub async fn settled(&self) {
        let url = self.broker.clone();
        eventually("everything is settled", async || {
            stored::unsettled(&url).await
        })
        .await;
    }

    /// What still waits at this moment: messages not taken, not settled, wake-ups.
    ///
    /// # Errors
    /// What it is, in words.
    pub async fn is_settled(&self) -> Result<(), String> {
        stored::waiting(&self.broker).await
    }

    /// Sets what these registrations were owed of all stored events against the ledger.
    pub async fn audit(&self, registrations: &Registrations) -> Audit {
        let owed = registrations.owed(&self.stored_events().await);
        Audit::new(owed, &self.requests())
    }
}
