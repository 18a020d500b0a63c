//! Two versions side by side: what a later version adds is ignored, and what only a later version can
//! read is left for it, loudly, and is never given up.

#![expect(
    clippy::disallowed_methods,
    reason = "the test waits for the task in `end`; an event of now"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, Context};
use fanfare_nats::bucket::Expect;
use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::{TestServer, eventually};
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Event, Level, Pattern, Readiness, Subscription, Token, Topic,
};
use fanfare_notifier::provider::AppConfig;
use fanfare_notifier::{Config, Metrics, RunError, lanes, run};
use futures::StreamExt;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Stage {
    broker: Broker,
    raw: Context,
    readiness: Readiness,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    file: PathBuf,
    _server: TestServer,
    _folder: tempfile::TempDir,
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

impl Stage {
    async fn set() -> Self {
        let server = TestServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pushes.jsonl");
        let mut topology = Topology::new(1, lanes(&config(&file)).unwrap());
        topology.ack_wait = Duration::from_secs(10);
        let broker = server.broker_with("n1", &topology).await;
        let client = async_nats::connect(server.url()).await.unwrap();
        let (readiness, stop) = (Readiness::new(), CancellationToken::new());
        let running = run(
            config(&file),
            broker.clone(),
            Metrics::default(),
            readiness.clone(),
            stop.clone(),
        );
        let task = tokio::spawn(running);
        eventually(async || readiness.is_ready() && readiness.conditions().len() >= 2).await;
        Self {
            broker,
            raw: jetstream::new(client),
            readiness,
            stop,
            task,
            file,
            _server: server,
            _folder: folder,
        }
    }

    async fn register(&self, name: &str) {
        let (id, device) = (DeviceId::parse(name).unwrap(), device(name));
        let put = self.broker.put_device(&id, &device, Expect::Any);
        put.await.unwrap();
    }

    /// Takes what stands under a subject, changed as a later version might have written it.
    async fn rewrite(&self, from: &str, to: &str, change: impl FnOnce(&mut HeaderMap, &mut Value)) {
        let stream = match from.split('.').nth(1) {
            Some("event") => "FANFARE_EVENTS",
            Some("task") => "FANFARE_TASKS",
            _ => "KV_fanfare_devices",
        };
        let stream = self.raw.get_stream(stream).await.unwrap();
        let last = stream.get_last_raw_message_by_subject(from).await.unwrap();
        let mut headers = HeaderMap::new();
        for (name, values) in last.headers.iter() {
            if name.to_string().starts_with("ce-") {
                headers.insert(name.clone(), values[0].clone());
            }
        }
        let mut body: Value = serde_json::from_slice(&last.payload).unwrap();
        change(&mut headers, &mut body);
        let body = serde_json::to_vec(&body).unwrap();
        let stored = self
            .raw
            .publish_with_headers(to.to_owned(), headers, body.into());
        stored.await.unwrap().await.unwrap();
    }

    fn pushes(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        let line = |it: &str| -> (String, String) {
            let it: Value = serde_json::from_str(it).unwrap();
            let text = |key: &str| it[key].as_str().unwrap().to_owned();
            (text("event"), text("device"))
        };
        // The last one may still be written: a reader can see a part of a write.
        let whole = text.split_inclusive('\n').filter(|it| it.ends_with('\n'));
        whole.map(line).collect()
    }

    async fn becomes(&self, n_pushes: usize) {
        eventually(async || self.pushes().len() >= n_pushes).await;
        assert_eq!(self.pushes().len(), n_pushes);
    }

    async fn n_dead(&self) -> u64 {
        let stream = self.raw.get_stream("FANFARE_DEAD").await.unwrap();
        stream.cached_info().state.messages
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// What a later notifier does, once this one is gone: it takes the message.
async fn later_takes(raw: &Context, stream: &str, durable: &str, subject: &str) {
    let stream = raw.get_stream(stream).await.unwrap();
    let consumer: PullConsumer = stream.get_consumer(durable).await.unwrap();
    eventually(async || {
        let batch = consumer.batch().max_messages(1);
        let mut batch = batch
            .expires(Duration::from_secs(1))
            .messages()
            .await
            .unwrap();
        let Some(Ok(message)) = batch.next().await else {
            return false;
        };
        let is_it = message.subject.as_str() == subject;
        message.double_ack().await.unwrap();
        is_it
    })
    .await;
}

fn device(name: &str) -> Device {
    Device {
        app: AppName::parse("main").unwrap(),
        token: Token::parse(&format!("token-of-{name}")).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![Subscription {
            pattern: Pattern::parse("all").unwrap(),
            filters: vec![],
        }],
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    }
}

fn event(item: &str) -> Event {
    Event {
        source: SourceName::parse("test").unwrap(),
        item: item.to_owned(),
        level: Level::First,
        topics: vec![Topic::parse("all").unwrap()],
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

fn subject(event: &Event) -> String {
    format!("fanfare.event.test.{}.first", event.screen())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_adds_is_ignored() {
    let stage = Stage::set().await;
    stage.register("phone-1").await;
    let more = |headers: &mut HeaderMap, body: &mut Value| {
        headers.insert("ce-mood", "bright");
        body["more"] = json!({"of": ["everything"]});
    };
    let phone = "$KV.fanfare_devices.d.phone-1";
    stage.rewrite(phone, phone, more).await;
    let first = event("first");
    stage.broker.publish(&first, false).await.unwrap();
    stage.becomes(1).await;
    // The same event under an item of its own, as a later fetcher would write it.
    let second = event("second");
    let change = |headers: &mut HeaderMap, body: &mut Value| {
        headers.insert("ce-item", "second");
        headers.insert("ce-id", second.id().as_str());
        more(headers, body);
    };
    stage
        .rewrite(&subject(&first), &subject(&second), change)
        .await;
    stage.becomes(2).await;
    // A task with more fields: of an event that has no plan, for everyone.
    let task = format!("fanfare.task.main-urgent.{}.0", second.id());
    let again = format!("{task}.2");
    stage.rewrite(&task, &again, more).await;
    eventually(async || {
        let stream = stage.raw.get_stream("FANFARE_TASKS").await.unwrap();
        let mut consumer: PullConsumer = stream.get_consumer("send-main-urgent").await.unwrap();
        let info = consumer.info().await.unwrap();
        info.num_pending == 0 && info.num_ack_pending == 0
    })
    .await;
    assert_eq!(stage.broker.metrics().later_schemas.get(), 0);
    assert_eq!(stage.n_dead().await, 0);
    assert_eq!(stage.pushes().len(), 2);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_later_version_is_left_for_a_later_notifier() {
    let stage = Stage::set().await;
    stage.register("phone-1").await;
    let first = event("first");
    stage.broker.publish(&first, false).await.unwrap();
    stage.becomes(1).await;

    let later = event("later");
    let change = |headers: &mut HeaderMap, body: &mut Value| {
        headers.insert("ce-schema", "2");
        headers.insert("ce-item", "later");
        *body = json!(["another", "shape"]);
    };
    stage
        .rewrite(&subject(&first), &subject(&later), change)
        .await;
    let task = format!("fanfare.task.main-urgent.{}.0", first.id());
    let other = format!("fanfare.task.main-urgent.{}.0", later.id());
    let change = |_: &mut HeaderMap, body: &mut Value| *body = json!({"schema": 2, "who": "all"});
    stage.rewrite(&task, &other, change).await;
    // Met again and again, beside what can be read.
    eventually(async || stage.broker.metrics().later_schemas.get() >= 4).await;
    stage.broker.publish(&event("second"), false).await.unwrap();
    stage.becomes(2).await;
    assert!(stage.readiness.is_ready(), "it works off what it can read");
    assert_eq!(stage.n_dead().await, 0);
    stage.stop.cancel();
    stage.task.await.unwrap().unwrap();
    let raw = stage.raw.clone();
    later_takes(&raw, "FANFARE_EVENTS", "notifier", &subject(&later)).await;
    later_takes(&raw, "FANFARE_TASKS", "send-main-urgent", &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_read_a_device_plans_and_sends_nothing_until_it_can() {
    let stage = Stage::set().await;
    stage.register("phone-1").await;
    let (one, two) = (
        "$KV.fanfare_devices.d.phone-1",
        "$KV.fanfare_devices.d.phone-2",
    );
    let change = |_: &mut HeaderMap, body: &mut Value| *body = json!({"schema": 2, "tokens": []});
    stage.rewrite(one, two, change).await;
    eventually(async || !stage.readiness.is_ready()).await;
    let why = stage.readiness.waits_for().unwrap();
    assert!(
        why.contains("1 devices have documents of schema 2"),
        "{why}"
    );
    let event = event("first");
    stage.broker.publish(&event, false).await.unwrap();
    // Its event stays for whoever can read all devices.
    let plan = async || stage.broker.stored_plan(&event.id()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(3), async {
        while plan().await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap_err();
    // The device is written again by a version that is known.
    stage.register("phone-2").await;
    stage.becomes(2).await;
    eventually(async || stage.readiness.is_ready()).await;
    assert_eq!(stage.n_dead().await, 0);
    stage.end().await;
}
