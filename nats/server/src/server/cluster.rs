//! Several servers on this machine as one cluster: one may die, the others go on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::options::{Options, Route, Store};
use super::ports::{self, Ports};
use super::{Server, StartError, Stopped, ready, store};
use crate::process::Signal;

/// How often other ports are tried if somebody took one meanwhile.
const TRIES: usize = 5;

/// A cluster of servers on 127.0.0.1.
#[must_use = "a dropped cluster is killed"]
pub struct Cluster {
    servers: Vec<Server>,
    /// Locked as long as the cluster runs; none if the stores are temporary.
    _folder: Option<store::Folder>,
}

impl Cluster {
    /// Starts `size` servers alike, each with a store of its own, and waits until all are ready and
    /// have elected a leader.
    ///
    /// In [`Store::Folder`] each has a folder in that one, and keeps its ports from start to start;
    /// if somebody else has one of them now, all get others.
    ///
    /// # Errors
    /// [`StartError`] of the first server that fails; then none is left running.
    pub async fn start(binary: &Path, size: usize, options: &Options) -> Result<Self, StartError> {
        let folder = match &options.store {
            Store::Folder(_) => {
                Some(store::Folder::take(&options.store, store::Owner::Cluster).await?)
            }
            Store::Ephemeral => None,
        };
        let unable = |cause| StartError::Run {
            binary: binary.to_owned(),
            cause,
        };
        let kept = folder.as_ref().and_then(|it| kept_ports(it.path(), size));
        let mut ports = match (kept, options.port) {
            (Some(mut kept), Some(first)) => {
                ports::in_a_row(&mut kept, first).map_err(unable)?;
                kept
            }
            (Some(kept), None) => kept,
            (None, first) => ports::choose(size, first).map_err(unable)?,
        };
        let password = ports::password().map_err(unable)?;
        let mut tries = 1..TRIES;
        let servers = loop {
            if let Some(folder) = &folder {
                keep_ports(folder, &ports)?;
            }
            let started = start_all(binary, &ports, &password, options, folder.as_ref()).await;
            match started {
                Ok(servers) => break servers,
                Err(error) if error.is_address_in_use() && tries.next().is_some() => {
                    ports = ports::choose(size, options.port).map_err(unable)?;
                }
                Err(error) => return Err(error),
            }
        };
        if let (Some(folder), Some(first)) = (&folder, servers.first()) {
            folder.write_holder(first.pid());
        }
        let cluster = Self {
            servers,
            _folder: folder,
        };
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Waits until every server that runs is ready; servers that have ended are passed over.
    ///
    /// # Errors
    /// [`StartError::NotReady`], or [`StartError::Ended`] for one that ends meanwhile.
    pub async fn ready(&self) -> Result<(), StartError> {
        for server in self.servers.iter().filter(|it| it.is_running()) {
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

    /// Asks all of them to end at once, waits 10 s for each, kills what is left.
    ///
    /// Dropping this future leaves them running, perhaps with the request to end.
    pub async fn stop(&self) -> Vec<Stopped> {
        for server in &self.servers {
            // One that has ended needs no asking.
            let _asked = server.child.signal(Signal::Terminate);
        }
        let mut stopped = Vec::new();
        for server in &self.servers {
            stopped.push(server.stop().await);
        }
        stopped
    }
}

/// Starts one after the other; if one fails, those before it are killed.
async fn start_all(
    binary: &Path,
    ports: &[Ports],
    password: &str,
    options: &Options,
    folder: Option<&store::Folder>,
) -> Result<Vec<Server>, StartError> {
    let mut servers = Vec::new();
    for (server, number) in ports.iter().zip(1..) {
        let route = Route {
            cluster: "fanfare".into(),
            port: server.route,
            ports: ports.iter().map(|it| it.route).collect(),
            password: password.to_owned(),
        };
        let options = Options {
            name: format!("{}-{number}", options.name),
            store: folder.map_or(Store::Ephemeral, |it| {
                Store::Folder(it.path().join(format!("nats-{number}")))
            }),
            port: Some(server.client),
            monitoring_port: Some(server.monitoring),
            route: Some(route),
            ..options.clone()
        };
        servers.push(Server::start(binary, options).await?);
    }
    Ok(servers)
}

/// The ports of the former start. A file that cannot be read is written anew.
fn kept_ports(folder: &Path, size: usize) -> Option<Vec<Ports>> {
    let text = fs::read(folder.join(store::CLUSTER)).ok()?;
    let ports: Vec<Ports> = serde_json::from_slice(&text).ok()?;
    (ports.len() == size).then_some(ports)
}

fn keep_ports(folder: &store::Folder, ports: &[Ports]) -> Result<(), StartError> {
    let path: PathBuf = folder.path().join(store::CLUSTER);
    let text = serde_json::to_vec(ports).map_err(io::Error::other);
    let written = text.and_then(|text| fs::write(path, text));
    Ok(written.map_err(|cause| folder.unusable(cause))?)
}
