//! Where the processes of a pipeline stand: around a broker of its own, or on hosts of a network.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use fanfare_nats::testing::TestServer;
use fanfare_nats_server::process::Launch;
use tokio::sync::Mutex;

use crate::network::Host;

/// The broker of a pipeline that has one of its own. A pipeline among brokers on a network has none,
/// and asking it for one is a mistake of the test.
#[derive(Default)]
pub struct OwnServer(Option<Mutex<TestServer>>);

impl OwnServer {
    pub(super) fn of(server: TestServer) -> Self {
        Self(Some(Mutex::new(server)))
    }
}

impl Deref for OwnServer {
    type Target = Mutex<TestServer>;

    fn deref(&self) -> &Self::Target {
        let Some(server) = &self.0 else {
            panic!("the brokers of this pipeline are on a network");
        };
        server
    }
}

/// A host of a network, as a process on it needs to know it.
#[derive(Clone, Debug)]
pub struct Ground {
    /// What it may listen on.
    pub address: Ipv4Addr,
    /// The brokers as they are reached from there, separated by commas.
    pub servers: String,
    /// The host; none for the harness's own.
    pub host: Option<Host>,
    /// Which executable, if not the pipeline's.
    pub executable: Option<PathBuf>,
}

/// The password of a user in a test.
pub fn password(user: &str) -> String {
    format!("{user}-password")
}

impl Ground {
    pub(super) fn executable(&self) -> Option<&Path> {
        self.executable.as_deref()
    }

    pub(super) fn launch(&self, executable: &Path) -> Launch {
        match &self.host {
            None => Launch::new(executable),
            Some(host) => host.launch(executable),
        }
    }

    /// Has it connect to the brokers as this user, and listen where others reach it. What is stored
    /// is the owner's business: a role only checks it.
    pub(super) fn admit(&self, launch: Launch, user: &str) -> Launch {
        let any_port = format!("{}:0", self.address);
        launch
            .env("FANFARE__NATS__URL", &self.servers)
            .env("FANFARE__NATS__USER", user)
            .env("FANFARE__NATS__PASSWORD", password(user))
            .env("FANFARE__NATS__REPLICAS", "3")
            .env("FANFARE__ADMIN__LISTEN", &any_port)
            .env("FANFARE__API__LISTEN", &any_port)
            .env("FANFARE__API__INSECURE_NO_AUTH", "true")
            .env("FANFARE__FETCHER__CONTACT", "tests@example.org")
    }
}
