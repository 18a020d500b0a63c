//! A broker, a double of APNs, and a notifier between them.

use std::collections::BTreeMap;

use fanfare_nats::bucket::Expect;
use fanfare_nats::dead::{Case, DeadLetter, Done, Entry, Wanted};
use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
use fanfare_nats::receipt::Receipt;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::{TestServer, eventually};
use fanfare_nats::{
    AppName, Broker, Device, DeviceHash, DeviceId, Event, Level, Pattern, Readiness, Subscription,
    Token, Topic,
};
use fanfare_notifier::provider::{AppConfig, ProviderKind};
use fanfare_notifier::{Config, Metrics, RunError, lanes, run};
use fanfare_sim::ledger::{self, Request, Verdict};
use fanfare_sim::{Sim, SimConfig};
use jiff::{Timestamp, ToSpan};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A broker, a provider double, and a notifier between them.
pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) sim: Sim,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
    _server: TestServer,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start(n_devices: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = Sim::start(SimConfig::in_folder(folder.path()));
        let sim = sim.await.unwrap();
        let at = sim.whereabouts();
        let config = Config {
            app: vec![AppConfig {
                key_file: Some(at.apns_key.clone()),
                key_id: Some(at.apns_key_id.as_str().into()),
                team_id: Some(at.apns_team_id.as_str().into()),
                bundle_id: Some(at.apns_topics[0].as_str().into()),
                endpoint: Some(format!("https://{}", at.apns.unwrap()).into()),
                ca_file: Some(at.ca.clone()),
                ..AppConfig::new("main", ProviderKind::Apns)
            }],
            ..Config::default()
        };
        let server = TestServer::start().await;
        let topology = Topology::new(1, lanes(&config).unwrap());
        let broker = server.broker_with("n1", &topology).await;
        for n in 0..n_devices {
            let (id, device) = device(n);
            let put = broker.put_device(&id, &device, Expect::Absent);
            put.await.unwrap();
        }
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let metrics = Metrics::default();
        let running = run(
            config,
            broker.clone(),
            metrics,
            readiness.clone(),
            stop.clone(),
        );
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `end`")]
        let running = tokio::spawn(running);
        eventually(async || readiness.is_ready() && readiness.conditions().len() >= 2).await;
        Self {
            broker,
            sim,
            stop,
            running,
            _server: server,
            _folder: folder,
        }
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.sim.stop().await;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        let path = self.sim.ledger().path().unwrap();
        let entries = ledger::read(path).unwrap();
        entries
            .filter_map(|it| match it {
                Ok(ledger::Entry::Request(request)) => Some(request),
                Ok(ledger::Entry::Answered { .. }) | Err(_) => None,
            })
            .collect()
    }

    /// How often each token's push was accepted.
    pub(crate) fn accepted(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.requests() {
            if request.verdict == Verdict::Accepted {
                *counts.entry(request.token).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let mut letters = Vec::new();
        let take = |entry: Entry, _| letters.extend(entry.letter().cloned());
        let wanted = Wanted::default();
        self.broker.dead_letters(&wanted, take).await.unwrap();
        letters
    }

    /// Replays the letters of one task together.
    pub(crate) async fn replay(&self, letters: &[DeadLetter]) -> Done {
        let until = now() + 10.minutes();
        let cases = letters.iter().map(|it| Case::of(it, until).unwrap());
        let case = cases.reduce(|mut one, other| {
            assert!(one.is_of_task(&other));
            one.join(other);
            one
        });
        self.broker.replay(&case.unwrap(), now()).await.unwrap()
    }

    pub(crate) async fn publish(&self, item: &str) -> Event {
        let event = event(item);
        self.broker.publish(&event, false).await.unwrap();
        event
    }

    pub(crate) async fn last_receipt(&self, letter: &DeadLetter) -> Receipt {
        let task = letter.task_until(now()).unwrap();
        let (_, last) = self.broker.receipts(&task).await.unwrap();
        last.unwrap()
    }
}

pub(crate) fn token(n: usize) -> String {
    format!("{n:064x}")
}

pub(crate) fn device(n: usize) -> (DeviceId, Device) {
    let device = Device {
        app: AppName::parse("main").unwrap(),
        token: Token::parse(&token(n)).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![Subscription {
            pattern: Pattern::parse("news").unwrap(),
            filters: vec![],
        }],
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    };
    (DeviceId::parse(&format!("device-{n}")).unwrap(), device)
}

pub(crate) fn hash(n: usize) -> DeviceHash {
    DeviceHash::of(&format!("device-{n}"))
}

pub(crate) fn event(item: &str) -> Event {
    Event {
        source: SourceName::parse("test").unwrap(),
        item: item.to_owned(),
        level: Level::First,
        topics: vec![Topic::parse("news").unwrap()],
        kind: "fanfare.event".to_owned(),
        occurred_at: Some(now()),
        expires_at: now() + 1.hours(),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: fanfare_nats::policy::Retry::DEFAULT,
        digest: None,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        content: Content {
            title: item.to_owned(),
            ..Content::default()
        },
    }
}
