//! A fetcher as the executable runs it, with a real broker.

use std::time::Duration;

use fanfare_fetcher::metric::{EventResult, ItemResult, PollResult, SourceMetrics};
use fanfare_fetcher::{Config, Metrics};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Readiness};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One running fetcher.
pub struct Fetcher {
    pub metrics: Metrics,
    pub readiness: Readiness,
    stop: CancellationToken,
    task: JoinSet<()>,
}

impl Fetcher {
    pub async fn start(server: &TestServer, node: &str, config: &str) -> Self {
        Self::with(server.broker(node).await, config)
    }

    pub fn with(broker: Broker, config: &str) -> Self {
        super::install_tls();
        let config: Config = toml::from_str(config).unwrap();
        let (metrics, readiness) = (Metrics::default(), Readiness::new());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let run = fanfare_fetcher::run(
            config,
            broker,
            metrics.clone(),
            readiness.clone(),
            stop.clone(),
        );
        task.spawn(async move { run.await.unwrap() });
        Self {
            metrics,
            readiness,
            stop,
            task,
        }
    }

    pub fn of(&self, source: &str) -> SourceMetrics {
        self.metrics.of_source(source)
    }

    pub fn n_stored(&self, source: &str) -> u64 {
        self.of(source).n_events(EventResult::Stored)
    }

    pub fn n_polls(&self, source: &str) -> u64 {
        let metrics = self.of(source);
        metrics.n_polls(PollResult::New) + metrics.n_polls(PollResult::NotModified)
    }

    pub fn n_items(&self, source: &str) -> u64 {
        let metrics = self.of(source);
        let results = [
            ItemResult::Event,
            ItemResult::Silent,
            ItemResult::Stale,
            ItemResult::Rejected,
        ];
        results.map(|it| metrics.n_items(it)).iter().sum()
    }

    /// Ends as on SIGTERM.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.task.join_next()).await;
        ended.expect("the fetcher drains").unwrap().unwrap();
    }
}

/// Freezes the broker. The signal is sent, but each thread of the server stops when it comes to it, so
/// `asker`, which is connected, asks until nobody answers.
pub async fn freeze(server: &mut TestServer, asker: &Broker) {
    server.server().freeze().unwrap();
    let silence = Duration::from_millis(300);
    while tokio::time::timeout(silence, asker.control_get("nothing"))
        .await
        .is_ok()
    {}
}

/// Waits until `state` says `Ok`; fails with what it said last.
#[track_caller]
pub fn eventually<S: AsyncFnMut() -> Result<(), String>>(state: S) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    wait(state, caller)
}

async fn wait<S: AsyncFnMut() -> Result<(), String>>(
    mut state: S,
    caller: &'static std::panic::Location<'static>,
) {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        match state().await {
            Ok(()) => return,
            Err(seen) if tokio::time::Instant::now() > until => panic!("{caller}: at last: {seen}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// `Ok` if `left == right`, else both as text.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, left: T, right: T) -> Result<(), String> {
    if left == right {
        Ok(())
    } else {
        Err(format!("{what}: {left:?}, not {right:?}"))
    }
}
