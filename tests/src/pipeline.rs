//! The whole path around one broker: sim, configuration, role processes.

mod configuration;
mod stored;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats::testing::TestServer;
use fanfare_nats_server::process::Launch;
use fanfare_sim::ledger::{self, Counts, Entry, ProviderKind, Request};
use fanfare_sim::{Latency, QuakesConfig, Sim, SimConfig};
pub use stored::WAKE_UPS_WAIT;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::Api;
use crate::audit::{Audit, Registrations, StoredEvent};
use crate::eventually::eventually;
use crate::process::{Ended, Process, executable, launch_of};
use crate::proxy::Proxy;

/// Which apps devices may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apps {
    /// `ios` through APNs and `android` through FCM.
    Both,
    /// `ios` and `beta`, both through APNs with one key: each process has one provider token, by
    /// which the ledger tells processes apart.
    Twins,
}

impl Apps {
    /// Their names.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::Both => ["ios", "android"],
            Self::Twins => ["ios", "beta"],
        }
    }
}

/// What differs between tests.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which apps there are.
    pub apps: Apps,
    /// How long the doubles take to answer.
    pub latency: Duration,
    /// Up to so much longer, evenly spread.
    pub jitter: Duration,
    /// Half of that passes before the push is decided, as on a real way there and back. Otherwise
    /// it is decided on arrival, and whatever is in flight at a kill has been delivered.
    pub is_half_before: bool,
    /// `ack_wait` of the durables, if not the shipped one.
    pub ack_wait: Option<Duration>,
    /// Whether roles reach the broker through [`Pipeline::proxy`].
    pub has_proxy: bool,
    /// Which executable, if not the one of [`executable`].
    pub executable: Option<PathBuf>,
    /// More lines for the configuration.
    pub extra: String,
    /// `[notifier] concurrency`.
    pub concurrency: usize,
    /// `[notifier] window`: the most that one kill repeats.
    pub window: usize,
    /// `[notifier] stride`.
    pub stride: usize,
}

impl Default for Setup {
    /// Answers at once, and a small window so that a surplus shows.
    fn default() -> Self {
        Self {
            apps: Apps::Both,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            is_half_before: false,
            ack_wait: None,
            has_proxy: false,
            executable: None,
            extra: String::new(),
            concurrency: 32,
            window: 64,
            stride: 16,
        }
    }
}

impl Setup {
    fn latency(&self) -> Latency {
        let fixed = if self.is_half_before {
            Latency::there_and_back(self.latency)
        } else {
            Latency::fixed(self.latency)
        };
        Latency {
            jitter_us: u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX),
            ..fixed
        }
    }
}

/// One at a time in a process: their timing is part of what they show, and the machine has few
/// cores.
static TURN: Mutex<()> = Mutex::const_new(());

/// A broker, the outside world, and a configuration that joins them. Roles are started as wanted.
pub struct Pipeline {
    /// The doubles and feeds.
    pub sim: Sim,
    /// The broker, for faults.
    pub server: Mutex<TestServer>,
    broker: String,
    /// What stands before the broker, if the setup asks for it.
    pub proxy: Option<Proxy>,
    url: String,
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
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let mut config = SimConfig::in_folder(folder.path().join("sim"));
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
        let server = TestServer::start().await;
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
        let configuration = folder.path().join("fanfare.toml");
        std::fs::write(&configuration, configuration::text(&sim, &setup)).unwrap();
        Self {
            sim,
            server: Mutex::new(server),
            broker,
            proxy,
            url,
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
        let mut launch = self
            .launch()
            .args(["up", role, "--manage", "auto", "--server", &self.url])
            .env("FANFARE__PROCESS__NODE", node);
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
        let launch = self
            .launch()
            .args(arguments.iter().copied())
            .args(["--server", &self.broker]);
        Process::start(arguments[0], launch).ended().await
    }

    fn launch(&self) -> Launch {
        let executable = match &self.setup.executable {
            Some(executable) => executable,
            None => executable(),
        };
        launch_of(executable, self.folder.path())
            .arg("--config")
            .arg(&self.configuration)
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
