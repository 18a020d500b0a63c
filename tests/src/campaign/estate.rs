//! Two machines and a witness: a broker on each, the roles on two of them, the outside world and the
//! load where no fault reaches.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::seat::{Role, Seat};
use crate::network::{Leaders, Network, PORTS, Server};
use crate::pipeline::{Ground, Pipeline, Setup, connect, password};

/// The hosts, in this order.
pub const HOSTS: [&str; 3] = ["a", "b", "witness"];
/// The machines with roles.
pub const MACHINES: [usize; 2] = [0, 1];
/// Whom the harness connects as: it may do everything.
const HARNESS: &str = "harness";
/// Whom it connects as to move the cluster's own leader.
const SYSTEM: &str = "system";
/// What is led, besides the cluster itself: subjects that move a leader.
const LED: [&str; 7] = [
    "STREAM.LEADER.STEPDOWN.FANFARE_EVENTS",
    "STREAM.LEADER.STEPDOWN.FANFARE_TASKS",
    "STREAM.LEADER.STEPDOWN.FANFARE_RECEIPTS",
    "STREAM.LEADER.STEPDOWN.KV_fanfare_devices",
    "STREAM.LEADER.STEPDOWN.KV_fanfare_control",
    "CONSUMER.LEADER.STEPDOWN.FANFARE_EVENTS.notifier",
    "META.LEADER.STEPDOWN",
];
/// How often a leader is asked to move before it is left where it is.
const TRIES: usize = 5;
/// What runs on a machine.
const ROLES: [Role; 3] = [Role::Fetcher, Role::Notifier, Role::Api];
/// How long a role may take to be ready once everything is healed.
const READY: Duration = Duration::from_mins(1);
/// How long a leader may take to be known.
const ELECTED: Duration = Duration::from_mins(1);

/// Everything that runs. Dropping it takes everything away.
pub struct Estate {
    /// The roles: those of the first machine, then those of the second.
    pub seats: Vec<Seat>,
    /// Outside world, configuration, ledger.
    pub pipeline: Pipeline,
    /// The brokers, by host.
    pub servers: Vec<Mutex<Server>>,
    /// What is between them.
    pub network: Network,
}

/// The brokers as they are reached from a host, or from outside, its own first.
fn servers(network: &Network, from: Option<usize>, user: &str) -> String {
    let n = network.hosts().len();
    let first = from.unwrap_or(0);
    let url = |to: usize| {
        let at = match from {
            Some(from) => network.way(from, to),
            None => network.hosts()[to].address,
        };
        format!("nats://{user}{at}:{}", PORTS[0])
    };
    let urls = (0..n).map(|it| url((first + it) % n));
    urls.collect::<Vec<_>>().join(",")
}

impl Estate {
    /// Starts brokers of this binary and makes the streams; the seats are empty. Whoever sits down is
    /// of the former executable, if there is one; `more` are lines of the configuration, made from the
    /// address of the feed.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start(
        network: Network,
        binary: &Path,
        former: Option<&Path>,
        setup: Setup,
        more: impl FnOnce(&str) -> String,
    ) -> Self {
        let former = former.map(Path::to_owned);
        let outside = Ground {
            address: network.outside(),
            servers: servers(&network, None, ""),
            host: None,
            executable: former.clone(),
        };
        let harness = servers(&network, None, &format!("{HARNESS}:{}@", password(HARNESS)));
        let mut pipeline = Pipeline::among(outside, harness, setup).await;
        let more = more(&pipeline.sim.quakes_url());
        pipeline.configure(&more);
        let printed = pipeline
            .command(&["admin", "permissions", "--all"])
            .await
            .printed;
        let accounts = accounts(&printed);
        let folder = pipeline.folder().join("nats");
        let server = |number| Server::new(&network, number, binary, &folder, &accounts);
        let servers: Vec<_> = (0..HOSTS.len()).map(|it| Mutex::new(server(it))).collect();
        for server in &servers {
            server.lock().await.start();
        }
        let estate = Self {
            seats: seats(&network, &pipeline, former.as_deref()),
            pipeline,
            servers,
            network,
        };
        estate.healthy().await;
        let applied = estate.pipeline.command(&["admin", "apply"]).await;
        assert_eq!(applied.code, Some(0), "admin apply: {}", applied.printed);
        estate.healthy().await;
        estate
    }

    /// Starts all roles.
    ///
    /// # Panics
    /// If one of them ends.
    pub async fn staff(&self) {
        for (seat, is_ready) in self.seats.iter().zip(self.take(&self.seats).await) {
            assert!(is_ready, "no start: {:#?}", seat.lines().await);
        }
    }

    async fn take(&self, seats: &[Seat]) -> Vec<bool> {
        join_all(seats.iter().map(|it| it.start(&self.pipeline, None))).await
    }

    /// The roles on a machine.
    pub fn machine(&self, number: usize) -> &[Seat] {
        let n = ROLES.len();
        &self.seats[number * n..(number + 1) * n]
    }

    /// Kills everything on a machine (SIGKILL), at once.
    pub async fn kill_machine(&self, number: usize) {
        let mut server = self.servers[number].lock().await;
        tokio::join!(
            server.kill(),
            join_all(self.machine(number).iter().map(Seat::kill))
        );
    }

    /// Starts everything on a machine and waits until it works.
    pub async fn revive_machine(&self, number: usize) {
        self.servers[number].lock().await.start();
        self.take(self.machine(number)).await;
        self.healthy().await;
    }

    /// Moves the leaders of streams, consumer and cluster to a broker, as far as they go.
    pub async fn lead(&self, number: usize) {
        let name = HOSTS[number];
        let place = json!({"placement": {"preferred": name}}).to_string();
        for _ in 0..TRIES {
            let leaders = self.leaders(None).await.unwrap_or_default();
            if leaders.are_all(name) {
                return;
            }
            for subject in LED {
                let user = if subject.starts_with("META") {
                    SYSTEM
                } else {
                    HARNESS
                };
                let client = self.client(user).await;
                let subject = format!("$JS.API.{subject}");
                // One that leads already refuses to move.
                let _refused = client.request(subject, place.clone().into()).await;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn client(&self, user: &str) -> async_nats::Client {
        let user = format!("{user}:{}@", password(user));
        connect(&servers(&self.network, None, &user)).await
    }

    /// Waits until every broker that runs has caught up.
    pub async fn healthy(&self) {
        for server in &self.servers {
            let server = server.lock().await;
            if server.is_up() {
                server.healthy().await;
            }
        }
    }

    /// Who leads, as far as those other than `but` know and agree that somebody does.
    pub async fn leaders(&self, but: Option<usize>) -> Option<Leaders> {
        for (number, server) in self.servers.iter().enumerate() {
            if Some(number) == but {
                continue;
            }
            let server = server.lock().await;
            if server.is_up()
                && let Some(leaders) = server.leaders().await
                && !leaders.meta.is_empty()
                && !leaders.events.is_empty()
                && !leaders.consumer.is_empty()
            {
                return Some(leaders);
            }
        }
        None
    }

    /// Waits until somebody other than `but` leads everything; how long that took, if it did.
    pub async fn elected_without(&self, but: usize) -> Option<Duration> {
        let begun = Instant::now();
        let name = HOSTS[but];
        while begun.elapsed() < ELECTED {
            if let Some(now) = self.leaders(Some(but)).await
                && !now.is_any(name)
            {
                return Some(begun.elapsed());
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    /// Waits until every broker and every role that runs works; says who does not.
    pub async fn whole(&self) -> Vec<String> {
        self.healthy().await;
        let ready = join_all(self.seats.iter().map(|it| it.ready_again(READY))).await;
        ready.into_iter().filter_map(Result::err).collect()
    }

    /// The place of a broker by its name.
    pub fn place_of(name: &str) -> Option<usize> {
        HOSTS.iter().position(|it| *it == name)
    }

    /// Keeps the brokers' logs.
    pub async fn keep(&self, folder: &Path) {
        for server in &self.servers {
            let server = server.lock().await;
            let copy = folder.join(format!("nats-{}.log", server.name()));
            let _kept = std::fs::copy(server.log_file(), copy);
        }
    }

    /// Ends everything.
    pub async fn end(&self) {
        join_all(self.seats.iter().map(Seat::kill)).await;
        for server in &self.servers {
            server.lock().await.kill().await;
        }
    }
}

fn seats(network: &Network, pipeline: &Pipeline, former: Option<&Path>) -> Vec<Seat> {
    let mut seats = Vec::new();
    for machine in MACHINES {
        let host = &network.hosts()[machine];
        for role in ROLES {
            let seat = Seat::new(pipeline, seats.len(), role);
            seat.place(Ground {
                address: host.address,
                servers: servers(network, Some(machine), ""),
                host: Some(host.clone()),
                executable: former.map(Path::to_owned),
            });
            seats.push(seat);
        }
    }
    seats
}

/// The printed accounts with passwords in them, and with the harness's own user.
fn accounts(printed: &str) -> String {
    let begin = printed.find("accounts {").unwrap_or_default();
    let mut text = printed[begin..].to_owned();
    for user in ["fetcher", "notifier", "api", "ops", "auditor", "owner"] {
        let variable = format!("$FANFARE_{}_PASSWORD", user.to_uppercase());
        text = text.replace(&variable, &format!("\"{}\"", password(user)));
    }
    let harness = format!(
        "users: [\n      {{ user: {HARNESS}, password: \"{}\" }}",
        password(HARNESS)
    );
    let with = text.replacen("users: [", &harness, 1);
    let system = format!(
        "accounts {{\n  SYS {{ users: [ {{ user: {SYSTEM}, password: \"{}\" }} ] }}",
        password(SYSTEM)
    );
    let with = with.replacen("accounts {", &system, 1) + "\nsystem_account: SYS\n";
    assert!(with.contains(HARNESS), "no accounts: {printed}");
    with
}
