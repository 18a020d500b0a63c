//! A nats-server on a host of a network, one of a cluster, as an operator would configure it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Output, Signal};
use serde_json::Value;
use tokio::process::Command;

use super::{Host, Kind, Network, PORTS};
use crate::eventually::eventually_within;

/// How long a server may take until it has caught up with its fellows.
const CATCH_UP: Duration = Duration::from_mins(1);
/// How long a server may take to end in order: its lame-duck duration is 30 s.
const ORDERLY: Duration = Duration::from_mins(1);
/// How long an answer of the monitoring port is waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// Where a server tells of itself.
const MONITORING: u16 = 8222;
/// The password of the servers among themselves.
const ROUTE: &str = "route-password";

/// A server of a cluster; it may be down. Dropping it kills it.
pub struct Server {
    host: Host,
    binary: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

/// Who leads what, by the names of the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaders {
    /// The group that keeps the cluster's own state.
    pub meta: String,
    /// The stream of events.
    pub events: String,
    /// The stream of tasks.
    pub tasks: String,
    /// The durable that events are taken from.
    pub consumer: String,
}

impl Leaders {
    fn each(&self) -> [&str; 4] {
        [&self.meta, &self.events, &self.tasks, &self.consumer]
    }

    /// Whether this broker leads all of it.
    pub fn are_all(&self, name: &str) -> bool {
        self.each().iter().all(|it| *it == name)
    }

    /// Whether it leads any of it.
    pub fn is_any(&self, name: &str) -> bool {
        self.each().contains(&name)
    }
}

impl Server {
    /// Writes the configuration of a server on the host `number` below `folder`; starts nothing.
    /// `accounts` is the text of a block `accounts`.
    ///
    /// # Panics
    /// If the folder cannot be written.
    pub fn new(
        network: &Network,
        number: usize,
        binary: &Path,
        folder: &Path,
        accounts: &str,
    ) -> Self {
        let host = network.hosts()[number].clone();
        let folder = folder.join(host.name);
        std::fs::create_dir_all(&folder).unwrap();
        let routes = (0..network.hosts().len()).map(|to| {
            let at = SocketAddr::from((network.way(number, to), PORTS[1]));
            format!("\"nats://route:{ROUTE}@{at}\"")
        });
        let text = configuration(
            &host,
            network.kind(),
            &folder,
            &routes.collect::<Vec<_>>().join(", "),
        );
        std::fs::write(folder.join("nats.conf"), text + accounts).unwrap();
        Self {
            host,
            binary: binary.to_owned(),
            folder,
            child: None,
        }
    }

    /// Its host's name, which is its own.
    pub fn name(&self) -> &'static str {
        self.host.name
    }

    /// Where clients on its own host reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.host.address
    }

    /// Whether it runs, frozen or not.
    pub fn is_up(&self) -> bool {
        self.child.as_ref().is_some_and(|it| it.status().is_none())
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn start(&mut self) {
        let launch = self
            .host
            .launch(&self.binary)
            .arg("-c")
            .arg(self.folder.join("nats.conf"))
            .output(Output::Keep);
        self.child = Some(launch.start().unwrap());
    }

    /// Starts it as another version from now on.
    pub fn set_binary(&mut self, binary: &Path) {
        binary.clone_into(&mut self.binary);
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            let _gone = child.signal(Signal::Kill);
            child.ended().await;
        }
    }

    /// Freezes or thaws it.
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen {
            Signal::Stop
        } else {
            Signal::Continue
        };
        if let Some(child) = &self.child {
            let _gone = child.signal(signal);
        }
    }

    /// Ends it as an operator does before an upgrade: lame duck, so that its clients and its
    /// leaderships move away, and then it ends by itself.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn retire(&mut self) {
        let Some(child) = self.child.take() else {
            return;
        };
        let ldm = format!("ldm={}", child.pid());
        let told = Command::new(&self.binary)
            .args(["--signal", &ldm])
            .status()
            .await;
        assert!(told.unwrap().success(), "{} was not told", self.name());
        let ended = child.wait(ORDERLY).await;
        assert!(
            ended.is_some(),
            "{} does not end: {}",
            self.name(),
            self.log()
        );
    }

    /// What its monitoring port says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub async fn ask(&self, path: &str) -> Result<Value, String> {
        let at = SocketAddr::from((self.host.address, MONITORING));
        let request = crate::api::client().get(format!("http://{at}{path}"));
        let answer = request.timeout(ANSWER).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.json().await.map_err(|error| error.to_string())
    }

    /// Waits until it has caught up with its fellows.
    pub async fn healthy(&self) {
        eventually_within(CATCH_UP, "a healthy server", async || {
            match self.ask("/healthz").await {
                Ok(said) if said["status"] == "ok" => Ok(()),
                Ok(said) => Err(format!("{}: {said}", self.name())),
                Err(error) => Err(format!("{}: {error}: {}", self.name(), self.log())),
            }
        })
        .await;
    }

    /// Its version, if it answers.
    pub async fn version(&self) -> Option<String> {
        let said = self.ask("/varz").await.ok()?;
        said["version"].as_str().map(str::to_owned)
    }

    /// Messages that came from a fellow server over the connections that now stand.
    pub async fn n_heard(&self, from: &str) -> u64 {
        let said = self.ask("/routez").await.unwrap_or_default();
        let routes = said["routes"].as_array().into_iter().flatten();
        let its = routes.filter(|it| it["remote_name"] == from);
        its.filter_map(|it| it["in_msgs"].as_u64()).sum()
    }

    /// Who leads, as far as this server knows.
    pub async fn leaders(&self) -> Option<Leaders> {
        let said = self.ask("/jsz?accounts=true&consumers=true").await.ok()?;
        let leader = |it: &Value| it["leader"].as_str().unwrap_or_default().to_owned();
        let accounts = said["account_details"].as_array()?.iter();
        let streams: Vec<&Value> = accounts
            .filter_map(|it| it["stream_detail"].as_array())
            .flatten()
            .collect();
        let stream = |name: &str| streams.iter().find(|it| it["name"] == name);
        let of = |name: &str| {
            stream(name)
                .map(|it| leader(&it["cluster"]))
                .unwrap_or_default()
        };
        let consumers = stream("FANFARE_EVENTS").and_then(|it| it["consumer_detail"].as_array());
        let consumer = consumers
            .into_iter()
            .flatten()
            .find(|it| it["name"] == "notifier");
        Some(Leaders {
            meta: leader(&said["meta_cluster"]),
            events: of("FANFARE_EVENTS"),
            tasks: of("FANFARE_TASKS"),
            consumer: consumer
                .map(|it| leader(&it["cluster"]))
                .unwrap_or_default(),
        })
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.join("nats.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Where its log is.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("nats.log")
    }
}

/// As `deploy/nats/node.conf`, with the addresses and folders of a test.
fn configuration(host: &Host, kind: Kind, folder: &Path, routes: &str) -> String {
    let (name, at, folder) = (host.name, host.address, folder.display());
    let [clients, servers] = PORTS;
    // Through proxies nobody may learn of a way around them.
    let discreet = match kind {
        Kind::Namespaces => String::new(),
        Kind::Proxy => format!("  no_advertise: true\n  advertise: \"{at}:1\"\n"),
    };
    format!(
        r#"server_name: {name}
listen: "{at}:{clients}"
http: "{at}:{MONITORING}"
log_file: "{folder}/nats.log"
logfile_size_limit: 64MB
max_pending: 256MB
ping_interval: "20s"
lame_duck_duration: "30s"
cluster {{
  name: fanfare
  listen: "{at}:{servers}"
{discreet}  authorization {{ user: route, password: "{ROUTE}" }}
  routes: [ {routes} ]
}}
jetstream {{
  store_dir: "{folder}"
  max_mem: 256MB
  max_file: 8GB
  sync_interval: always
}}
"#
    )
}
