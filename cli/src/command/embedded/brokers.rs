//! One nats-server of our own, or three as a cluster of which one may die.

use std::time::Duration;

use fanfare_nats_server::{Cluster, Server};
use futures::future::join_all;
use tokio::time::Instant;

/// Before a server that ended is started again; doubled for one that ends again and again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that ran so long has not died of its start.
const IS_SOUND: Duration = Duration::from_mins(1);

/// The servers that this process runs.
pub(crate) enum Brokers {
    /// Its end is the end of `up`.
    One(Box<Server>),
    /// Each is started again when it ends; the others carry on meanwhile.
    Cluster(Cluster),
}

impl Brokers {
    /// All of them.
    pub(crate) fn servers(&self) -> &[Server] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.servers(),
        }
    }

    /// Their addresses, separated by commas.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One(server) => server.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// How many copies of everything there are to be.
    pub(crate) fn replicas(&self) -> usize {
        self.servers().len()
    }

    /// Ends when there is no broker any more, which of a cluster never is: what ends is started
    /// again.
    ///
    /// Dropping this kills a server that is being started.
    pub(crate) async fn watch(&mut self) -> anyhow::Error {
        match self {
            Self::One(server) => {
                let status = server.exited().await;
                anyhow::anyhow!("nats-server ended by itself ({status})")
            }
            Self::Cluster(cluster) => {
                join_all(cluster.servers_mut().iter_mut().map(keep)).await;
                std::future::pending().await
            }
        }
    }

    /// Asks them to end, and waits; whether one had to be killed.
    pub(crate) async fn stop(&self) -> bool {
        match self {
            Self::One(server) => server.stop().await.was_killed,
            Self::Cluster(cluster) => cluster.stop().await.iter().any(|it| it.was_killed),
        }
    }
}

/// Keeps a server of a cluster running.
async fn keep(server: &mut Server) {
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let status = server.exited().await;
        if begun.elapsed() >= IS_SOUND {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(
            server = server.name(),
            %status,
            again_in_s = pause.as_secs(),
            "a nats-server ended by itself: the others carry on, it is started again"
        );
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match server.restart().await {
                Ok(()) => break,
                Err(error) => tracing::warn!(
                    server = server.name(),
                    %error,
                    again_in_s = pause.as_secs(),
                    "a nats-server does not start: the others carry on, it is tried again"
                ),
            }
        }
        tracing::info!(
            server = server.name(),
            process = server.pid(),
            "the nats-server is back"
        );
    }
}
