//! The whole path around one broker: sim, configuration, role processes.

mod configuration;
mod stored;

use std::path::PathBuf;
use std::time::Duration;

use fanfare_nats::testing::TestServer;
use fanfare_sim::ledger::{self, Counts, Entry, ProviderKind, Request};
use fanfare_sim::{Latency, QuakesConfig, Sim, SimConfig};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::api::Api;
use crate::audit::{Audit, Registrations, StoredEvent};
use crate::eventually::eventually;
use crate::process::{Process, launch};

/// What differs between tests.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How long the doubles take to answer.
    pub latency: Duration,
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
            latency: Duration::ZERO,
            concurrency: 32,
            window: 64,
            stride: 16,
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
    /// The broker.
    pub server: TestServer,
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
        let latency = Latency::fixed(setup.latency);
        if let (Some(apns), Some(fcm)) = (&mut config.apns, &mut config.fcm) {
            (apns.latency, fcm.latency) = (latency, latency);
        }
        let sim = Sim::start(config).await.unwrap();
        let server = TestServer::start().await;
        let configuration = folder.path().join("fanfare.toml");
        std::fs::write(&configuration, configuration::text(&sim, &setup)).unwrap();
        Self {
            sim,
            server,
            setup,
            folder,
            configuration,
            _turn: turn,
        }
    }

    /// Starts a role as a process of its own and waits until it is ready.
    pub async fn role(&self, role: &str, node: &str) -> Process {
        let launch = launch(self.folder.path())
            .arg("--config")
            .arg(&self.configuration)
            .args([
                "up",
                role,
                "--manage",
                "auto",
                "--server",
                &self.server.url(),
            ])
            .env("FANFARE__PROCESS__NODE", node);
        let process = Process::start(node, launch);
        process.ready().await;
        process
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
        stored::events(&self.server.url()).await
    }

    /// Every dead letter in its stream, read off the wire.
    pub async fn dead_letters(&self) -> Vec<serde_json::Value> {
        stored::dead_letters(&self.server.url()).await
    }

    /// How often tasks were delivered again, counted once everything is settled.
    pub async fn tasks_redelivered(&self) -> u64 {
        stored::tasks_redelivered(&self.server.url()).await
    }

    /// Waits until every task is settled: nothing pending, nothing unsettled, no wake-up waiting.
    pub async fn settled(&self) {
        let url = self.server.url();
        eventually("everything is settled", async || {
            stored::unsettled(&url).await
        })
        .await;
    }

    /// Sets what these registrations were owed of all stored events against the ledger.
    pub async fn audit(&self, registrations: &Registrations) -> Audit {
        let owed = registrations.owed(&self.stored_events().await);
        Audit::new(owed, &self.requests())
    }
}
