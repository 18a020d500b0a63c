//! Several servers on this machine as one cluster: what tests of elections and lost servers need.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use super::options::{Options, Route};
use super::{Server, StartError, ready};

/// A cluster of servers on 127.0.0.1.
#[must_use = "a dropped cluster is killed"]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Starts `size` servers alike, each with a store of its own (`options.store` must be ephemeral
    /// to be meaningful), and waits until all are ready and have elected a leader.
    ///
    /// # Errors
    /// [`StartError`] of the first server that fails; then none is left running.
    pub async fn start(binary: &Path, size: usize, options: &Options) -> Result<Self, StartError> {
        let ports = free_ports(size).map_err(|cause| StartError::Run {
            binary: binary.to_owned(),
            cause,
        })?;
        let mut servers = Vec::new();
        for (number, port) in ports.iter().enumerate() {
            let route = Route {
                cluster: "fanfare".into(),
                port: *port,
                ports: ports.clone(),
            };
            let name = format!("{}-{number}", options.name);
            let options = Options {
                name,
                route: Some(route),
                ..options.clone()
            };
            servers.push(Server::start(binary, options).await?);
        }
        let cluster = Self { servers };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Waits until every server that runs is ready; servers that have ended are passed over.
    ///
    /// # Errors
    /// [`StartError::NotReady`], or [`StartError::Ended`] for one that ends meanwhile.
    pub async fn ready(&self) -> Result<(), StartError> {
        for server in self.servers.iter().filter(|it| it.child.status().is_none()) {
            let (child, store) = (&server.child, &server.store);
            let question = ready::Question::Everything;
            ready::healthy(child, store, &server.options, server.addresses, question).await?;
        }
        Ok(())
    }

    /// The addresses of all servers, separated by commas.
    pub fn url(&self) -> String {
        self.servers
            .iter()
            .map(Server::url)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The servers, in the order of their names.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The servers, to be killed and restarted.
    pub fn servers_mut(&mut self) -> &mut [Server] {
        &mut self.servers
    }
}

/// Ports that were free a moment ago. A cluster needs to know them before its servers run, so the
/// operating system cannot choose them at the right moment.
fn free_ports(n: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Result<Vec<_>, _> = (0..n)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect();
    listeners?
        .iter()
        .map(|it| Ok(it.local_addr()?.port()))
        .collect()
}
