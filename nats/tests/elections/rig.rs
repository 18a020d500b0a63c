//! Three servers, connections that sit on a chosen one, and who leads what.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, Context};
use fanfare_nats::request::Unknown;
use fanfare_nats::stream::Topology;
use fanfare_nats::subject::Names;
use fanfare_nats::testing::{self, TestServer};
use fanfare_nats::{Broker, Lane, Metrics, Readiness};
use fanfare_nats_server::Options;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::values::lane;
use super::witness::Witness;

/// Longer than an election and a restart together.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lanes with durables.
const LANES: [&str; 3] = ["churn", "woken", "held"];
const CHURN: Duration = Duration::from_secs(2);
const WOKEN: Duration = Duration::from_secs(5);

/// Asks until the answer is `Ok`, and tells what it was last if it never is.
#[track_caller]
pub(crate) fn patiently<T, E: Debug>(
    ask: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    testing::patiently(PATIENCE, ask)
}

/// Three servers with everything that is stored on each of them.
pub(crate) struct Rig {
    server: TestServer,
    /// One plain client for each server, which stays with it.
    raws: Vec<Context>,
    /// The servers' names, as they stand in the broker's answers.
    names: Vec<String>,
    /// What all connections of the run count together.
    metrics: Metrics,
    pub(crate) witness: Witness,
    _listening: JoinSet<()>,
}

impl Rig {
    /// Starts the servers and makes the streams; `held` is the `ack_wait` of messages in hand.
    pub(crate) async fn start(options: &Options, held: Duration) -> Self {
        let mut server = TestServer::start_three_as(options).await;
        let servers = server.cluster().unwrap().servers();
        let names = servers.iter().map(|it| it.name().to_owned()).collect();
        let mut raws = Vec::new();
        for url in server.options("raw").servers {
            raws.push(jetstream::new(plain(&url).await));
        }
        let (witness, mut listening) = (Witness::default(), JoinSet::new());
        let clients: Vec<Client> = raws.iter().map(Context::client).collect();
        witness.listen(&clients, &mut listening).await;
        let rig = Self {
            server,
            raws,
            names,
            metrics: Metrics::default(),
            witness,
            _listening: listening,
        };
        for (app, ack_wait) in LANES.into_iter().zip([CHURN, WOKEN, held]) {
            let topology = Topology {
                ack_wait,
                ..Topology::new(3, vec![lane(app)])
            };
            rig.server.broker_with("setup", &topology).await;
        }
        rig
    }

    /// A connection that prefers a server and leaves it only when it is gone.
    pub(crate) async fn broker(&self, node: &str, first: usize) -> Broker {
        let mut servers = self.server.options(node).servers;
        servers.rotate_left(first);
        self.broker_by(node, servers).await
    }

    /// A connection by these addresses, in this order.
    pub(crate) async fn broker_by(&self, node: &str, servers: Vec<String>) -> Broker {
        let mut options = self.server.options(node);
        options.servers = servers;
        options.pinned = true;
        patiently(async || {
            let readiness = Readiness::new();
            Broker::connect(options.clone(), self.metrics.clone(), readiness).await
        })
        .await
    }

    /// Addresses of the servers' client ports.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.server.options("urls").servers
    }

    /// A plain client on a server other than this one.
    pub(crate) fn raw_beside(&self, victim: usize) -> &Context {
        &self.raws[(victim + 1) % 3]
    }

    /// Answers that left it open whether something was stored: 10164, 10158, 503, silence.
    pub(crate) fn unknown(&self) -> [u64; 4] {
        let whys = [
            Unknown::InFlight,
            Unknown::IdInFlight,
            Unknown::NoLeader,
            Unknown::Silence,
        ];
        whys.map(|why| self.metrics.publish_unknown(why).get())
    }

    /// Streams and consumers with three replicas, as they stand in the broker's questions.
    fn groups() -> Vec<String> {
        let names = Names::default();
        let streams = [
            names.events(),
            names.tasks(),
            names.receipts(),
            format!("KV_{}", names.control_bucket()),
            format!("KV_{}", names.devices_bucket()),
        ];
        let mut groups: Vec<String> = streams.iter().map(|it| format!("STREAM.{it}")).collect();
        let sends = LANES.map(|app| Names::send_consumer(&lane(app)));
        groups.extend(sends.map(|it| format!("CONSUMER.{}.{it}", names.tasks())));
        groups
    }

    async fn leader(&self, raw: &Context, group: &str) -> Result<usize, String> {
        let (kind, name) = group.split_once('.').unwrap();
        let question = format!("{kind}.INFO.{name}");
        let nothing = json!({});
        let asked = raw.request::<_, _, Value>(question, &nothing);
        let info = tokio::time::timeout(Duration::from_secs(1), asked)
            .await
            .map_err(|_| format!("{group}: no answer"))?
            .map_err(|error| format!("{group}: {error}"))?;
        let leader = info["cluster"]["leader"].as_str().unwrap_or_default();
        let number = self.names.iter().position(|it| it == leader);
        number.ok_or_else(|| format!("{group}: led by `{leader}`"))
    }

    async fn leaders(&self, raw: &Context) -> Result<BTreeMap<String, usize>, String> {
        let groups = Self::groups();
        let leaders = join_all(groups.iter().map(|it| self.leader(raw, it))).await;
        let leaders = groups.into_iter().zip(leaders);
        leaders.map(|(group, it)| Ok((group, it?))).collect()
    }

    /// Makes one server the leader of everything, so that its fault is a fault of every protocol.
    pub(crate) async fn gather(&self, chosen: usize) {
        let raw = &self.raws[chosen];
        patiently(async || {
            let leaders = self.leaders(raw).await?;
            let elsewhere: Vec<_> = leaders.iter().filter(|(_, it)| **it != chosen).collect();
            let placement = json!({"placement": {"preferred": self.names[chosen]}});
            for (group, _) in &elsewhere {
                let (kind, name) = group.split_once('.').unwrap();
                let step_down = format!("{kind}.LEADER.STEPDOWN.{name}");
                let _asked_again = raw.request::<_, _, Value>(step_down, &placement).await;
            }
            if elsewhere.is_empty() {
                Ok(())
            } else {
                Err(format!("{elsewhere:?}"))
            }
        })
        .await;
    }

    /// Waits until everything is led by a server other than this one.
    pub(crate) async fn led_without(&self, victim: usize) {
        let raw = self.raw_beside(victim);
        patiently(async || {
            let leaders = self.leaders(raw).await?;
            let is_free = leaders.values().all(|it| *it != victim);
            if is_free {
                Ok(())
            } else {
                Err(format!("{leaders:?}"))
            }
        })
        .await;
    }

    /// Waits until everything is led by somebody, seen from each server.
    pub(crate) async fn led(&self) {
        for raw in &self.raws {
            patiently(async || self.leaders(raw).await).await;
        }
    }

    /// Who leads one of the groups.
    pub(crate) async fn leader_of(&self, stream: &str) -> usize {
        let group = format!("STREAM.{stream}");
        patiently(async || self.leader(&self.raws[0], &group).await).await
    }

    pub(crate) async fn kill(&mut self, which: &[usize]) {
        let servers = self.server.cluster().unwrap().servers_mut();
        for it in which {
            servers[*it].kill9().await.unwrap();
        }
    }

    pub(crate) fn freeze(&mut self, which: usize) {
        self.server.cluster().unwrap().servers_mut()[which]
            .freeze()
            .unwrap();
    }

    pub(crate) fn thaw(&mut self, which: usize) {
        self.server.cluster().unwrap().servers_mut()[which]
            .thaw()
            .unwrap();
    }

    /// Starts servers again, at the same time: they wait for one another.
    pub(crate) async fn restart(&mut self, which: &[usize]) {
        let servers = self.server.cluster().unwrap().servers_mut();
        let chosen = servers.iter_mut().enumerate();
        let chosen = chosen.filter(|(n, _)| which.contains(n));
        for restarted in join_all(chosen.map(|(_, it)| it.restart())).await {
            restarted.unwrap();
        }
    }

    /// Waits until every server says that it is ready.
    pub(crate) async fn ready(&mut self) {
        self.server.cluster().unwrap().ready().await.unwrap();
    }
}

/// A client without our contract that stays with one server.
async fn plain(url: &str) -> Client {
    let options = async_nats::ConnectOptions::new()
        .ignore_discovered_servers()
        .max_reconnects(None)
        .ping_interval(Duration::from_secs(2))
        .reconnect_delay_callback(|_| Duration::from_millis(100));
    options.connect(url).await.unwrap()
}

/// The lanes of the rig, for those who work on them.
pub(crate) fn lane_of(app: &str) -> Lane {
    assert!(LANES.contains(&app), "no durable: {app}");
    lane(app)
}
