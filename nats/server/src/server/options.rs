//! How a server is to run.

use std::path::PathBuf;
use std::time::Duration;

/// Where a server keeps its streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// In this folder, which is made if it is absent, and belongs to one server at a time, or to one
    /// cluster, whose servers have a folder each in it.
    Folder(PathBuf),
    /// In a temporary folder that goes away with the [`super::Server`].
    Ephemeral,
}

/// When the server writes what it acknowledged through to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncInterval {
    /// Before it acknowledges: what is acknowledged survives a power cut.
    Always,
    /// This often: a process that dies loses nothing, a machine that dies the last interval. Whole
    /// milliseconds.
    Every(Duration),
}

/// A server's place in a cluster on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The cluster's name.
    pub cluster: String,
    /// The port for the other servers.
    pub port: u16,
    /// The ports of all servers, its own included.
    pub ports: Vec<u16>,
    /// What the servers show one another, as the user `route`: letters and digits.
    pub password: String,
}

/// How a server is to run. `Options::default()` is what `fanfare up` uses, with an ephemeral store.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Where the streams are.
    pub store: Store,
    /// When it writes through; always by default.
    pub sync_interval: SyncInterval,
    /// The clients' port on 127.0.0.1; `None` lets the operating system choose. Of a cluster: the
    /// first of as many ports in a row; `None` takes those of the former start, else free ones.
    pub port: Option<u16>,
    /// The monitoring port on 127.0.0.1; `None` lets the operating system choose.
    pub monitoring_port: Option<u16>,
    /// Its name; unique within a cluster, whose servers are called `<name>-1` and so on.
    pub name: String,
    /// User and password, if clients must show them.
    pub credentials: Option<(String, String)>,
    /// How often it pings idle clients, in whole seconds.
    pub ping_interval: Duration,
    /// Its place in a cluster.
    pub route: Option<Route>,
    /// More lines for its configuration, such as accounts and permissions.
    pub extra: String,
    /// How long it may take to be ready. A store of millions of messages is read first.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            store: Store::Ephemeral,
            sync_interval: SyncInterval::Always,
            port: None,
            monitoring_port: None,
            name: "fanfare".into(),
            credentials: None,
            ping_interval: Duration::from_secs(20),
            route: None,
            extra: String::new(),
            ready_within: Duration::from_mins(2),
        }
    }
}

impl Options {
    /// For tests and demonstrations: a temporary store that survives a kill but not a power cut.
    pub fn ephemeral() -> Self {
        let sync_interval = SyncInterval::Every(Duration::from_mins(1));
        Self {
            sync_interval,
            ready_within: Duration::from_secs(30),
            ..Self::default()
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Options");
        shown
            .field("store", &self.store)
            .field("sync_interval", &self.sync_interval);
        shown
            .field("port", &self.port)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
