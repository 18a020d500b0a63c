//! API processes that die and come back, and where they listen.

use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use crate::pipeline::Pipeline;
use crate::process::Process;

/// Where the nodes listen; one that is back listens somewhere else.
#[derive(Debug)]
pub struct Addresses(Vec<RwLock<SocketAddr>>);

impl Addresses {
    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where one listens, or did.
    pub(super) fn get(&self, node: usize) -> SocketAddr {
        *self.0[node].read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The processes.
pub struct Nodes {
    processes: Vec<Option<Process>>,
    pub(super) addresses: std::sync::Arc<Addresses>,
}

impl Nodes {
    /// Starts so many.
    pub async fn start(pipeline: &Pipeline, n: usize) -> Self {
        let (mut processes, mut addresses) = (Vec::new(), Vec::new());
        for node in 0..n {
            let process = begin(pipeline, node).await;
            let at = process.address("the API listens", "address").await;
            addresses.push(RwLock::new(at));
            processes.push(Some(process));
        }
        Self {
            processes,
            addresses: Addresses(addresses).into(),
        }
    }

    /// Kills one with SIGKILL.
    ///
    /// # Panics
    /// If it is not running.
    pub async fn kill(&mut self, node: usize) {
        self.processes[node].take().unwrap().kill().await;
    }

    /// Starts one again.
    pub async fn revive(&mut self, pipeline: &Pipeline, node: usize) {
        let process = begin(pipeline, node).await;
        let at = process.address("the API listens", "address").await;
        let mut address = self.addresses.0[node]
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *address = at;
        self.processes[node] = Some(process);
    }

    /// Ends them; `announced` are the warnings that they may have given.
    pub async fn drain(self, announced: &[&str]) {
        for process in self.processes.into_iter().flatten() {
            process.drain(announced).await;
        }
    }
}

async fn begin(pipeline: &Pipeline, node: usize) -> Process {
    pipeline.role("api", &format!("api-{}", node + 1)).await
}
