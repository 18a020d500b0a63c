//! A broker, tickers, and pairs of fetchers.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_nats::testing::TestServer;
use fanfare_sim::{Sim, SimConfig, TickerConfig, UpstreamConfig};
use futures::future::join_all;
use rand::Rng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use super::judge::{Judged, judge};
use super::pair::{Fault, Pair, Round};
use crate::process::Ended;

/// How long what was shown last may be on its way.
const PATIENCE_S: u32 = 30;

/// Everything that runs; it ends when dropped.
pub struct Stage {
    sim: Sim,
    server: TestServer,
    pairs: Vec<Pair>,
    _folder: TempDir,
}

impl Stage {
    /// Starts a broker of one server or three, so many sources, and two fetchers for each.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn set(n_pairs: usize, replicas: usize, executable: Option<PathBuf>) -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let ticker = |n| TickerConfig {
            path: format!("/s{n}"),
            every_ms: 500,
            ping_ms: 100,
        };
        let config = SimConfig {
            apns: None,
            fcm: None,
            upstream: UpstreamConfig {
                quakes: None,
                tickers: (0..n_pairs).map(ticker).collect(),
                ..UpstreamConfig::default()
            },
            ..SimConfig::in_folder(folder.path().join("sim"))
        };
        let sim = Sim::start(config).await.unwrap();
        let server = if replicas == 3 {
            TestServer::start_three().await
        } else {
            TestServer::start().await
        };
        // Twenty processes that all create the streams at once would be a test of something else.
        drop(server.broker("first").await);
        let url = server.url();
        let mut pairs = Vec::new();
        for n in 0..n_pairs {
            let folder = folder.path().to_owned();
            pairs.push(Pair::start(n, &sim, &url, folder, executable.clone()).await);
        }
        Self {
            sim,
            server,
            pairs,
            _folder: folder,
        }
    }

    /// A fault for each pair, at chosen moments within a renewal's period, all pairs at once.
    ///
    /// # Panics
    /// If nobody takes over, or both read in the end.
    pub async fn round(&mut self, faults: &[Fault], chance: &mut StdRng) -> Vec<Round> {
        let sim = &self.sim;
        let rounds = self.pairs.iter_mut().zip(faults).map(|(pair, fault)| {
            let after = Duration::from_millis(chance.random_range(1000..5000));
            pair.round(sim, *fault, after)
        });
        join_all(rounds).await
    }

    /// Runs a command of the executable against the broker, to its end.
    ///
    /// # Panics
    /// If there is no pair whose executable it could be.
    pub async fn command(&self, arguments: &[&str]) -> Ended {
        self.pairs.first().unwrap().command(arguments).await
    }

    /// Waits until everything that was shown is stored, for at most half a minute, and ends the
    /// fetchers; says what is stored of what was shown.
    ///
    /// # Panics
    /// If one of them does not end well.
    pub async fn strike(self) -> Judged {
        let paths = (0..self.pairs.len()).map(|n| format!("/s{n}"));
        let shown: Vec<_> = paths
            .map(|it| self.sim.n_ticks(&it).unwrap_or_default())
            .collect();
        for _ in 0..PATIENCE_S {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if judge(&self.server.url(), &shown).await.lost == 0 {
                break;
            }
        }
        join_all(self.pairs.into_iter().map(Pair::end)).await;
        judge(&self.server.url(), &shown).await
    }
}
