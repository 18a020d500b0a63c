//! What the cases share: values, a raw client, faults, and waiting for a state.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::{self, Context, stream};
use fanfare_nats::event::{Content, Event, Guarantee, SourceName, Urgency};
use fanfare_nats::plan::cut;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::{self, TestServer};
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Lane, Level, Metrics, Pattern, Plan, Readiness,
    Subscription, Token, Topic,
};
use jiff::Timestamp;

/// Longer than an election and a restart together.
const PATIENCE: Duration = Duration::from_secs(40);

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Asks until the answer is `Ok`, and tells what it was last if it never is.
#[track_caller]
pub(crate) fn eventually<T, E: Debug>(
    ask: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    testing::patiently(PATIENCE, ask)
}

/// A client without our contract, for what our contract would not do.
pub(crate) async fn raw(server: &TestServer) -> Context {
    let servers = server.options("raw").servers;
    let client = async_nats::ConnectOptions::new()
        .retry_on_initial_connect()
        .connect(servers)
        .await
        .unwrap();
    jetstream::new(client)
}

pub(crate) async fn state(raw: &Context, stream: &str) -> stream::State {
    let stream = raw.get_stream(stream).await.unwrap();
    stream.cached_info().state.clone()
}

/// How often each subject of a stream is stored.
pub(crate) async fn subjects(raw: &Context, stream: &str, filter: &str) -> BTreeMap<String, usize> {
    use futures::TryStreamExt;

    let stream = raw.get_stream(stream).await.unwrap();
    let subjects = stream.info_with_subjects(filter).await.unwrap();
    subjects.try_collect().await.unwrap()
}

/// A connection as `node` with lanes whose messages come again after two seconds.
pub(crate) async fn hasty(server: &TestServer, node: &str, lanes: &[Lane]) -> Broker {
    let topology = Topology {
        ack_wait: Duration::from_secs(2),
        ..Topology::new(server.replicas(), lanes.to_vec())
    };
    server.broker_with(node, &topology).await
}

pub(crate) async fn connect(server: &TestServer, prefix: &str) -> Broker {
    let mut options = server.options("n1");
    options.names = fanfare_nats::subject::Names::with_prefix(prefix).unwrap();
    Broker::connect(options, Metrics::default(), Readiness::new())
        .await
        .unwrap()
}

/// Kills what the stream depends on: the only server, which comes back, or its leader of three,
/// which stays dead.
pub(crate) async fn strike(server: &mut TestServer, stream: &str) {
    if server.replicas() == 1 {
        server.server().kill9().await.unwrap();
        server.server().restart().await.unwrap();
        return;
    }
    let leader = leader(server, stream).await;
    let servers = server.cluster().unwrap().servers_mut();
    let leading = servers.iter().find(|it| it.name() == leader);
    leading.unwrap().kill9().await.unwrap();
}

async fn leader(server: &TestServer, stream: &str) -> String {
    let raw = raw(server).await;
    eventually(async || {
        let info = raw.get_stream(stream).await.map_err(|it| it.to_string())?;
        let cluster = info.cached_info().cluster.clone();
        let leader = cluster.and_then(|it| it.leader);
        leader.ok_or("no leader".to_owned())
    })
    .await
}

/// Kills every server for good.
pub(crate) async fn kill_all(server: &mut TestServer) {
    match server.cluster() {
        Some(cluster) => {
            for server in cluster.servers_mut() {
                server.kill9().await.unwrap();
            }
        }
        None => server.server().kill9().await.unwrap(),
    }
}

pub(crate) fn usgs() -> SourceName {
    SourceName::parse("usgs").unwrap()
}

pub(crate) fn event_at(item: &str, level: Level) -> Event {
    Event {
        source: usgs(),
        item: item.to_owned(),
        level,
        topics: vec![Topic::parse("quakes.us").unwrap()],
        kind: "org.example.quake".to_owned(),
        occurred_at: None,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: fanfare_nats::policy::Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: format!("{item} ☂"),
            ..Content::default()
        },
    }
}

pub(crate) fn event(item: &str) -> Event {
    event_at(item, Level::First)
}

pub(crate) fn lane(app: &str) -> Lane {
    Lane {
        app: AppName::parse(app).unwrap(),
        urgency: Urgency::Urgent,
    }
}

/// A plan for an event with so many devices in each lane.
pub(crate) fn plan(item: &str, audience: &[(&str, u64)]) -> Plan {
    let audience = audience
        .iter()
        .map(|(app, devices)| (lane(app), *devices))
        .collect();
    Plan {
        event: event(item).id(),
        event_seq: 7,
        lanes: cut(&audience),
        revision: 99,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        planned_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn id(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

pub(crate) fn device(token: &str) -> Device {
    Device {
        app: AppName::parse("ios").unwrap(),
        token: Token::parse(token).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![Subscription {
            pattern: Pattern::parse("quakes.>").unwrap(),
            filters: Vec::new(),
        }],
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    }
}
