//! From a stored event to an accepted push, against a real broker and the `log` provider.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
use fanfare_nats::publish::Published;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::{TestServer, eventually};
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Event, Level, Pattern, Readiness, Subscription, Token, Topic,
};
use fanfare_notifier::provider::{AppConfig, ProviderKind};
use fanfare_notifier::{Config, Metrics, RunError, lanes, run};
use fanfare_sim::ledger::Entry;
use fanfare_sim::{Latency, Sim, SimConfig};
use jiff::{Timestamp, ToSpan};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Notifier {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Notifier {
    async fn start(broker: &Broker, config: Config) -> Self {
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let running = run(
            config,
            broker.clone(),
            Metrics::default(),
            readiness.clone(),
            stop.clone(),
        );
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `end`")]
        let task = tokio::spawn(running);
        eventually(async || readiness.is_ready() && readiness.conditions().len() >= 2).await;
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn config(file: &Path) -> Config {
    let app = AppConfig {
        file: Some(file.to_owned()),
        ..AppConfig::log("main")
    };
    Config {
        app: vec![app],
        ..Config::default()
    }
}

fn device(n: usize, patterns: &[&str]) -> (DeviceId, Device) {
    let device = Device {
        app: AppName::parse("main").unwrap(),
        token: Token::parse(&format!("{n:064x}")).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: patterns
            .iter()
            .map(|it| Subscription {
                pattern: Pattern::parse(it).unwrap(),
                filters: vec![],
            })
            .collect(),
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    };
    (DeviceId::parse(&format!("device-{n}")).unwrap(), device)
}

#[expect(clippy::disallowed_methods, reason = "an event of now")]
fn event(item: &str, level: Level, topics: &[&str]) -> Event {
    Event {
        source: SourceName::parse("test").unwrap(),
        item: item.to_owned(),
        level,
        topics: topics.iter().map(|it| Topic::parse(it).unwrap()).collect(),
        kind: "fanfare.event".to_owned(),
        occurred_at: Some(Timestamp::now()),
        expires_at: Timestamp::now() + 1.hours(),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: fanfare_nats::policy::Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: item.to_owned(),
            ..Content::default()
        },
    }
}

/// Lines of the log provider's file, counted per event and device. The last one may still be written:
/// a reader can see a part of a write.
fn pushes(file: &Path) -> HashMap<(String, String), usize> {
    let mut counts = HashMap::new();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    for line in text.split_inclusive('\n').filter(|it| it.ends_with('\n')) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        *counts.entry((text("event"), text("device"))).or_default() += 1;
    }
    counts
}

/// The double as an app.
fn apns(sim: &Sim) -> AppConfig {
    let at = sim.whereabouts();
    AppConfig {
        key_file: Some(at.apns_key.clone()),
        key_id: Some(at.apns_key_id.as_str().into()),
        team_id: Some(at.apns_team_id.as_str().into()),
        bundle_id: Some(at.apns_topics[0].as_str().into()),
        endpoint: Some(format!("https://{}", at.apns.unwrap()).into()),
        ca_file: Some(at.ca.clone()),
        ..AppConfig::new("main", ProviderKind::Apns)
    }
}

async fn set_up() -> (TestServer, Broker, tempfile::TempDir, PathBuf) {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pushes.jsonl");
    let topology = Topology::new(1, lanes(&config(&file)).unwrap());
    let broker = server.broker_with("n1", &topology).await;
    (server, broker, folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_reaches_each_device_that_follows_it_once() {
    let (_server, broker, _folder, file) = set_up().await;
    for n in 0..1200 {
        let patterns: &[&str] = match n % 3 {
            0 => &["quakes.>"],
            1 => &["quakes.us", "quakes.*"], // Two patterns match: one push.
            _ => &["weather.>"],
        };
        let (id, device) = device(n, patterns);
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
    }
    let notifier = Notifier::start(&broker, config(&file)).await;
    let event = event("us1", Level::First, &["quakes.us"]);
    assert!(matches!(
        broker.publish(&event, false).await.unwrap(),
        Published::Stored(_)
    ));
    assert_eq!(
        broker.publish(&event, false).await.unwrap(),
        Published::Already
    );
    eventually(async || pushes(&file).len() >= 800).await;
    notifier.end().await;
    let pushes = pushes(&file);
    assert_eq!(pushes.len(), 800);
    assert!(pushes.values().all(|it| *it == 1));
    assert!(pushes.keys().all(|(id, _)| id == event.id().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_notifiers_share_the_work_and_repeat_nothing() {
    let (server, broker, _folder, file) = set_up().await;
    for n in 0..600 {
        let (id, device) = device(n, &["all"]);
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
    }
    let other = server.broker("n2").await;
    let first = Notifier::start(&broker, config(&file)).await;
    let second = Notifier::start(&other, config(&file)).await;
    for n in 0..20 {
        broker
            .publish(&event(&format!("e{n}"), Level::First, &["all"]), false)
            .await
            .unwrap();
    }
    eventually(async || pushes(&file).len() >= 12_000).await;
    first.end().await;
    second.end().await;
    assert!(pushes(&file).values().all(|it| *it == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_registered_before_the_event_is_served_and_whoever_left_is_not() {
    let (_server, broker, _folder, file) = set_up().await;
    let notifier = Notifier::start(&broker, config(&file)).await;
    let mut left = None;
    for n in 0..50 {
        // No pause between the answer of the registration and the event.
        let (id, device) = device(n, &["news"]);
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
        if let Some(left) = left.replace(id.clone()) {
            broker.delete_device(&left, Expect::Any).await.unwrap();
        }
        let event = event(&format!("e{n}"), Level::First, &["news"]);
        broker.publish(&event, false).await.unwrap();
        let expected = (event.id().to_string(), id.to_string());
        eventually(async || pushes(&file).contains_key(&expected)).await;
    }
    notifier.end().await;
    assert_eq!(pushes(&file).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_level_is_not_sent_when_a_higher_one_stands() {
    let (_server, broker, _folder, file) = set_up().await;
    let (id, device) = device(1, &["quakes.>"]);
    broker
        .put_device(&id, &device, Expect::Absent)
        .await
        .unwrap();
    let low = event("us1", Level::Step(4.5), &["quakes.us"]);
    let high = event("us1", Level::Step(6.0), &["quakes.us"]);
    let marker = event("marker", Level::First, &["quakes.us"]);
    for event in [&high, &low, &marker] {
        broker.publish(event, false).await.unwrap();
    }
    let notifier = Notifier::start(&broker, config(&file)).await;
    let last = (marker.id().to_string(), id.to_string());
    eventually(async || pushes(&file).contains_key(&last)).await;
    let reached = (high.id().to_string(), id.to_string());
    eventually(async || pushes(&file).contains_key(&reached)).await;
    notifier.end().await;
    let sent = pushes(&file);
    assert!(sent.contains_key(&(high.id().to_string(), id.to_string())));
    assert!(!sent.contains_key(&(low.id().to_string(), id.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_one_device_or_one_user_reaches_nobody_else() {
    let (_server, broker, _folder, file) = set_up().await;
    for n in 0..30 {
        let (id, mut device) = device(n, &[">"]);
        device.user = (n < 3).then(|| "ada".to_owned());
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
    }
    let notifier = Notifier::start(&broker, config(&file)).await;
    let (seventh, _) = device(7, &[]);
    let mut to_device = event("d", Level::First, &["x"]);
    to_device.topics = vec![Topic::of_device(&seventh)];
    let mut to_user = event("u", Level::First, &["x"]);
    to_user.topics = vec![Topic::of_user("ada")];
    broker.publish(&to_device, false).await.unwrap();
    broker.publish(&to_user, false).await.unwrap();
    eventually(async || pushes(&file).len() >= 4).await;
    notifier.end().await;
    let mut sent: Vec<_> = pushes(&file)
        .into_keys()
        .map(|(_, device)| device)
        .collect();
    sent.sort();
    assert_eq!(sent, ["device-0", "device-1", "device-2", "device-7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_lower_level_after_somebody_got_a_higher_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut doubles = SimConfig::in_folder(folder.path());
    doubles.apns.as_mut().unwrap().latency = Latency::fixed(Duration::from_millis(40));
    let sim = Sim::start(doubles).await.unwrap();
    let config = Config {
        app: vec![apns(&sim)],
        concurrency: 16, // 400 pushes a second, so that the lower level takes its time.
        window: 64,
        ..Config::default()
    };
    let server = TestServer::start().await;
    let topology = Topology::new(1, lanes(&config).unwrap());
    let broker = server.broker_with("n1", &topology).await;
    for n in 0..1200 {
        let (id, device) = device(n, &["quakes.>"]);
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
    }
    let other = server.broker("n2").await;
    let first = Notifier::start(&broker, config.clone()).await;
    let second = Notifier::start(&other, config).await;
    let low = event("us1", Level::Step(4.5), &["quakes.us"]);
    let high = event("us1", Level::Step(6.0), &["quakes.us"]);
    broker.publish(&low, false).await.unwrap();
    eventually(async || sim.counts().accepted >= 100).await;
    broker.publish(&high, false).await.unwrap();
    let high_id = high.id().to_string();
    let requests = || {
        fanfare_sim::ledger::read(sim.ledger().path().unwrap())
            .unwrap()
            .filter_map(|it| match it {
                Ok(Entry::Request(request)) => Some(request.event.unwrap_or_default()),
                Ok(_) | Err(_) => None,
            })
            .collect::<Vec<_>>()
    };
    let n_high = || requests().iter().filter(|it| **it == high_id).count();
    eventually(async || n_high() >= 1200).await;
    first.end().await;
    second.end().await;
    let sent = requests();
    let first_high = sent.iter().position(|it| *it == high_id).unwrap();
    let n_low = sent.len() - sent.iter().filter(|it| **it == high_id).count();
    assert!(n_low < 1200, "void: the lower level was through already");
    assert!(sent.iter().skip(first_high).all(|it| *it == high_id));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_once_a_graceful_stop_loses_nothing_and_a_crash_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut doubles = SimConfig::in_folder(folder.path());
    doubles.apns.as_mut().unwrap().latency = Latency::fixed(Duration::from_millis(40));
    let sim = Sim::start(doubles).await.unwrap();
    let config = Config {
        app: vec![apns(&sim)],
        concurrency: 16,
        window: 64,
        ..Config::default()
    };
    let server = TestServer::start().await;
    let mut topology = Topology::new(1, lanes(&config).unwrap());
    topology.ack_wait = Duration::from_secs(2);
    let broker = server.broker_with("n1", &topology).await;
    for n in 0..400 {
        let (id, device) = device(n, &["all"]);
        broker
            .put_device(&id, &device, Expect::Absent)
            .await
            .unwrap();
    }
    let mut event = event("e1", Level::First, &["all"]);
    event.guarantee = Guarantee::AtMostOnce;
    broker.publish(&event, false).await.unwrap();
    let first = Notifier::start(&broker, config.clone()).await;
    eventually(async || sim.counts().accepted >= 50).await;
    first.end().await; // In order: whoever was announced and got nothing is given to the next.
    let handed_over = sim.counts().accepted;
    assert!(handed_over < 400, "void: the task was through already");
    let crashing = server.broker_with("n2", &topology).await;
    let second = Notifier::start(&crashing, config.clone()).await;
    eventually(async || sim.counts().accepted >= handed_over + 50).await;
    second.task.abort(); // With requests in flight, as a crash does.
    drop(second);
    let third = server.broker_with("n3", &topology).await;
    let third = Notifier::start(&third, config).await;
    let task = {
        let plan = broker.stored_plan(&event.id()).await.unwrap().unwrap();
        plan.tasks().next().unwrap()
    };
    eventually(async || {
        let (_, receipt) = broker.receipts(&task).await.unwrap();
        receipt.is_some_and(|it| it.is_finished())
    })
    .await;
    third.end().await;
    let mut counts: HashMap<String, usize> = HashMap::new();
    for entry in fanfare_sim::ledger::read(sim.ledger().path().unwrap()).unwrap() {
        if let Ok(Entry::Request(request)) = entry {
            *counts.entry(request.token.clone()).or_default() += 1;
        }
    }
    assert!(counts.values().all(|it| *it == 1), "{counts:?}");
    let lost = 400 - counts.len();
    assert!(lost <= 64, "{lost} lost, more than the window");
    sim.stop().await;
}
