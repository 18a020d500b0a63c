//! Races between API nodes: several clients want to be the one, each through a node of its own, at
//! the same moment. Exactly one of them may be told that it was.
//!
//! A client that is told nothing (503, a lost connection) does what clients do: it asks again, or
//! reads what became of its write. Every final answer is set against what the broker stores.

mod client;
mod devices;
mod events;
mod tokens;
mod waves;

pub use client::{Answer, Node};
pub use tokens::SIDES;
pub use tokens::{Claimed, claim};
pub use waves::{Tally, WavesOver, run};

use std::sync::Arc;

use fanfare_nats::testing::TestServer;

use crate::eventually::eventually;
use crate::pipeline::{Pipeline, connect};
use crate::process::Process;

/// API processes and a client of each.
pub struct Nodes {
    processes: Vec<Process>,
    /// The clients.
    pub nodes: Arc<[Node]>,
}

impl Nodes {
    /// Starts so many.
    pub async fn start(pipeline: &Pipeline, n: usize) -> Self {
        let (mut processes, mut nodes) = (Vec::new(), Vec::new());
        for n in 1..=n {
            let process = pipeline.role("api", &format!("api-{n}")).await;
            nodes.push(Node::new(
                process.address("the API listens", "address").await,
            ));
            processes.push(process);
        }
        Self {
            processes,
            nodes: nodes.into(),
        }
    }

    /// Ends them; `announced` are the warnings that they may have given.
    pub async fn drain(self, announced: &[&str]) {
        for process in self.processes {
            process.drain(announced).await;
        }
    }
}

/// Kills the leader of a stream on three servers; returns which server it was.
///
/// # Panics
/// If there is no leader, or there are not three servers.
pub async fn kill_leader(server: &mut TestServer, stream: &str) -> usize {
    let url = server.url();
    let leader = eventually("the stream's leader", async || {
        let info = cluster_of(&url, stream).await?;
        info.leader.ok_or("no leader".to_owned())
    })
    .await;
    let servers = server.cluster().unwrap().servers_mut();
    let at = servers.iter().position(|it| it.name() == leader).unwrap();
    servers[at].kill9().await.unwrap();
    at
}

/// Starts a killed server again and waits until it has caught up with a stream.
///
/// # Panics
/// If it does not.
pub async fn revive(server: &mut TestServer, at: usize, stream: &str) {
    server.cluster().unwrap().servers_mut()[at]
        .restart()
        .await
        .unwrap();
    let url = server.url();
    eventually("all three have caught up", async || {
        let info = cluster_of(&url, stream).await?;
        let n_current = info.replicas.iter().filter(|it| it.current).count();
        if info.leader.is_some() && n_current == 2 {
            Ok(())
        } else {
            Err(format!("{n_current} followers are current"))
        }
    })
    .await;
}

async fn cluster_of(
    url: &str,
    stream: &str,
) -> Result<async_nats::jetstream::stream::ClusterInfo, String> {
    let context = async_nats::jetstream::new(connect(url).await);
    let stream = context.get_stream(stream).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let cluster = stream.cached_info().cluster.clone();
    cluster.ok_or("no cluster".to_owned())
}
