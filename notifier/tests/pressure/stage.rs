//! Two apps at one double of APNs, a real broker, and a notifier.

#![expect(clippy::unwrap_used, reason = "support of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
use fanfare_nats::policy::Retry;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::{TestServer, eventually};
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Event, Level, Pattern, Readiness, Subscription, Token, Topic,
};
use fanfare_notifier::provider::{AppConfig, ProviderKind};
use fanfare_notifier::{Config, Metrics, RunError, lanes, run};
use fanfare_sim::ledger::{Entry, Request};
use fanfare_sim::script::{Answer, Rule};
use fanfare_sim::{Latency, Sim, SimConfig};
use futures::StreamExt;
use jiff::{Timestamp, ToSpan};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The app whose provider is fine.
pub(crate) const GOOD: &str = "good";
/// The app whose provider has a problem.
pub(crate) const BAD: &str = "bad";

/// How fast one request is answered: slow enough for places to matter.
pub(crate) const LATENCY: Duration = Duration::from_millis(20);

pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) broker: Broker,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    server: TestServer,
    _folder: TempDir,
}

pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

fn topic_of(app: &str) -> String {
    format!("org.example.{app}")
}

impl Stage {
    /// Both apps have `n` devices, which follow the topic of their app's name.
    pub(crate) async fn with_devices(n: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut doubles = SimConfig::in_folder(folder.path());
        let apns = doubles.apns.as_mut().unwrap();
        apns.latency = Latency::fixed(LATENCY);
        apns.topics = [GOOD, BAD].map(topic_of).into();
        let sim = Sim::start(doubles).await.unwrap();
        let config = Config {
            app: [GOOD, BAD].map(|it| app(&sim, it)).into(),
            concurrency: 64,
            window: 128,
            ..Config::default()
        };
        let server = TestServer::start().await;
        let topology = Topology::new(1, lanes(&config).unwrap());
        let broker = server.broker_with("n1", &topology).await;
        let puts = [GOOD, BAD]
            .iter()
            .flat_map(|app| (0..n).map(move |it| (*app, it)));
        futures::stream::iter(puts)
            .for_each_concurrent(64, |(app, n)| {
                let broker = &broker;
                async move {
                    let (id, device) = device(app, n);
                    let put = broker.put_device(&id, &device, Expect::Absent).await;
                    put.map(drop).unwrap();
                }
            })
            .await;
        Self {
            sim,
            broker,
            config,
            metrics: Metrics::default(),
            server,
            _folder: folder,
        }
    }

    pub(crate) fn app_mut(&mut self, name: &str) -> &mut AppConfig {
        let mut apps = self.config.app.iter_mut();
        apps.find(|it| &*it.name == name).unwrap()
    }

    /// Starts the notifier of this stage.
    pub(crate) async fn start(&self) -> Running {
        Running::start(&self.broker, &self.config, &self.metrics).await
    }

    /// Starts another one.
    pub(crate) async fn start_other(&self, metrics: &Metrics) -> Running {
        let broker = self.server.broker("n2").await;
        Running::start(&broker, &self.config, metrics).await
    }

    /// What the provider of the bad app does from now on.
    pub(crate) fn spoil(&self, answer: Answer) {
        self.sim.add_rule(Rule {
            app: Some(topic_of(BAD)),
            ..Rule::new(answer)
        });
    }

    pub(crate) fn heal(&self) {
        self.sim.script().clear();
    }

    pub(crate) async fn publish(&self, app: &str, item: &str, urgency: Urgency) -> Event {
        let event = event(app, item, urgency);
        self.broker.publish(&event, false).await.unwrap();
        event
    }

    /// Publishes so many events.
    pub(crate) async fn publish_many(&self, app: &str, n: usize, urgency: Urgency) {
        futures::stream::iter(0..n)
            .for_each_concurrent(64, |it| async move {
                self.publish(app, &format!("{it}"), urgency).await;
            })
            .await;
    }

    /// Events that the planners have not settled.
    pub(crate) async fn n_unsettled(&self) -> u64 {
        let standings = self.broker.standings().await.unwrap();
        standings.events.1 - standings.settled_up_to
    }

    /// Whether a request is of an event.
    pub(crate) fn is_of(request: &Request, event: &Event) -> bool {
        request.event.as_deref() == Some(event.id().as_str())
    }

    /// Publishes an event for all devices of an app and returns how long it took until the last of
    /// them got it, by the ledger.
    pub(crate) async fn time(&self, app: &str, item: &str, n: usize) -> Duration {
        let event = self.publish(app, item, Urgency::Urgent).await;
        let everybody = async || self.accepted(&event).len() >= n;
        eventually(everybody).await;
        let requests = self.requests(app).into_iter();
        let its = requests.filter(|it| it.event.as_deref() == Some(event.id().as_str()));
        let last_us = its.map(|it| it.at_us).max().unwrap();
        let began_us = event.occurred_at.unwrap().as_microsecond();
        Duration::from_micros(u64::try_from(last_us - began_us).unwrap())
    }

    /// Requests of an app that arrived, whatever they came to.
    pub(crate) fn requests(&self, app: &str) -> Vec<Request> {
        let mut requests = self.all_requests();
        requests.retain(|it| it.app == topic_of(app));
        requests
    }

    /// Requests of both apps, in the order of their arrival.
    fn all_requests(&self) -> Vec<Request> {
        self.sim.ledger().flush().unwrap();
        let path = self.sim.whereabouts().ledger.clone().unwrap();
        fanfare_sim::ledger::read(&path)
            .unwrap()
            .filter_map(|it| match it.unwrap() {
                Entry::Request(request) => Some(request),
                Entry::Answered { .. } => None,
            })
            .collect()
    }

    /// The devices that got an event, and how often.
    pub(crate) fn accepted(&self, event: &Event) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.all_requests() {
            if is_accepted(&request, event) {
                *counts.entry(request.token).or_default() += 1;
            }
        }
        counts
    }

    /// How many pushes of one event were accepted after another was published and before `n` of that
    /// one were: by the ledger, so that it does not count for how long the test itself was away.
    pub(crate) fn before(&self, event: &Event, of: &Event, n: usize) -> usize {
        let published_us = of.occurred_at.unwrap().as_microsecond();
        let (mut n_before, mut n_of) = (0, 0);
        for request in self.all_requests() {
            n_of += usize::from(is_accepted(&request, of));
            if n_of == n {
                break;
            }
            let is_one = request.at_us >= published_us && is_accepted(&request, event);
            n_before += usize::from(is_one);
        }
        n_before
    }

    pub(crate) async fn end(self, running: Running) {
        running.end().await;
        self.sim.stop().await;
    }
}

impl Running {
    async fn start(broker: &Broker, config: &Config, metrics: &Metrics) -> Self {
        let (stop, readiness) = (CancellationToken::new(), Readiness::new());
        let running = run(
            config.clone(),
            broker.clone(),
            metrics.clone(),
            readiness.clone(),
            stop.clone(),
        );
        #[expect(clippy::disallowed_methods, reason = "the test waits for it in `end`")]
        let task = tokio::spawn(running);
        let is_ready = async || readiness.is_ready() && readiness.conditions().len() >= 2;
        eventually(is_ready).await;
        Self { stop, task }
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn is_accepted(request: &Request, event: &Event) -> bool {
    request.status == 200 && request.event.as_deref() == Some(event.id().as_str())
}

/// Counts of devices that are not exactly 1.
pub(crate) fn repeated(accepted: &BTreeMap<String, usize>) -> BTreeSet<usize> {
    accepted.values().copied().filter(|it| *it != 1).collect()
}

fn app(sim: &Sim, name: &str) -> AppConfig {
    let at = sim.whereabouts();
    AppConfig {
        key_file: Some(at.apns_key.clone()),
        key_id: Some(at.apns_key_id.as_str().into()),
        team_id: Some(at.apns_team_id.as_str().into()),
        bundle_id: Some(topic_of(name).into()),
        endpoint: Some(format!("https://{}", at.apns.unwrap()).into()),
        ca_file: Some(at.ca.clone()),
        timeout: Some(Duration::from_secs(3)),
        ..AppConfig::new(name, ProviderKind::Apns)
    }
}

fn device(app: &str, n: usize) -> (DeviceId, Device) {
    let number = if app == GOOD { n } else { n + (1 << 40) };
    let device = Device {
        app: AppName::parse(app).unwrap(),
        token: Token::parse(&format!("{number:064x}")).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![Subscription {
            pattern: Pattern::parse(app).unwrap(),
            filters: vec![],
        }],
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    };
    (DeviceId::parse(&format!("{app}-{n}")).unwrap(), device)
}

#[expect(clippy::disallowed_methods, reason = "an event of now")]
fn event(app: &str, item: &str, urgency: Urgency) -> Event {
    Event {
        source: SourceName::parse("test").unwrap(),
        item: item.to_owned(),
        level: Level::First,
        topics: vec![Topic::parse(app).unwrap()],
        kind: "fanfare.event".to_owned(),
        occurred_at: Some(Timestamp::now()),
        expires_at: Timestamp::now() + 1.hours(),
        urgency,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: item.to_owned(),
            ..Content::default()
        },
    }
}
