//! Each server of the broker, asked by a connection of its own: a client that loses one server goes
//! to any of the others, so all of them have to fit.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::connect::{Broker, ConnectError, ConnectOptions};
use crate::metric::Metrics;
use crate::readiness::Readiness;

/// A server that does not answer within this time is not to be reached from here.
const PATIENCE: Duration = Duration::from_secs(3);

/// One server, as a connection to it told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it was looked for.
    pub address: String,
    /// Its name and version, or why it is not known.
    pub told: Result<(String, String), String>,
}

impl Server {
    /// The machine in its address.
    pub fn host(&self) -> &str {
        let address = self.address.rsplit("://").next().unwrap_or_default();
        let address = address.rsplit('@').next().unwrap_or_default();
        address.rsplit_once(':').map_or(address, |(host, _)| host)
    }
}

/// Asks the servers that `first` knows of, and those that are configured; each once.
///
/// Dropping the future leaves no connection behind.
pub async fn servers(first: &Broker, options: &ConnectOptions) -> Vec<Server> {
    let gossip = first.client.server_info().connect_urls;
    let configured = options.servers.iter().cloned();
    let mut servers: Vec<Server> = Vec::new();
    let mut asked = BTreeSet::new();
    for address in gossip.into_iter().chain(configured) {
        if !asked.insert(plain(&address)) {
            continue;
        }
        let alone = ConnectOptions {
            servers: vec![with_scheme(&address, options)],
            pinned: true,
            ..options.clone()
        };
        let connecting = Broker::connect(alone, Metrics::default(), Readiness::new());
        let told = match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(broker)) => {
                let info = broker.client.server_info();
                Ok((info.server_name, info.version))
            }
            // Its version says more than its refusal.
            Ok(Err(ConnectError::TooOld { version })) => Ok((plain(&address), version)),
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err("it does not answer".to_owned()),
        };
        let is_known = |it: &Server| it.told.is_ok() && it.told == told;
        if !servers.iter().any(is_known) {
            let address = plain(&address);
            servers.push(Server { address, told });
        }
    }
    servers
}

/// Without scheme and without whoever connects.
fn plain(address: &str) -> String {
    let address = address.rsplit("://").next().unwrap_or_default();
    let address = address.rsplit('@').next().unwrap_or_default();
    address.trim_end_matches('/').to_owned()
}

/// What servers tell of each other has no scheme: that of the configured ones.
fn with_scheme(address: &str, options: &ConnectOptions) -> String {
    if address.contains("://") {
        return address.to_owned();
    }
    let scheme = options.servers.iter().find_map(|it| it.split_once("://"));
    format!(
        "{}://{address}",
        scheme.map_or("nats", |(scheme, _)| scheme)
    )
}

/// An error and its causes, in one line.
pub fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let of_cause = error.to_string();
        // Some libraries say their cause's text as well.
        if !text.ends_with(&of_cause) {
            text.extend([": ", &of_cause]);
        }
        cause = error.source();
    }
    text
}
