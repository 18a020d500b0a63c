//! The broker of the demo: a child, the streams on it, and what they hold at the end.

use std::path::Path;

use anyhow::Context;
use fanfare_nats::permissions::Role;
use fanfare_nats::stream::Topology;
use fanfare_nats::{ConnectOptions, Event, Level};
use fanfare_nats_server::{Download, Environment, Options, Server, Step, obtain};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::configuration::{self, ACK_WAIT, EXPIRES_IN};
use super::screen::Screen;
use crate::config::Config;
use crate::exit::Failure;
use crate::roles::{self, Process};
use crate::users::Users;

/// Reads at once.
const AT_ONCE: usize = 16;

/// A running nats-server of our own.
pub(super) struct Broker {
    server: Server,
    options: ConnectOptions,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) item: String,
    /// The step that was reached.
    pub(super) level: f64,
    pub(super) title: String,
    pub(super) topics: Vec<String>,
    pub(super) data: Map<String, Value>,
    /// When a fetcher decided it, in microseconds since the Unix epoch.
    pub(super) at_us: i64,
}

/// What the streams hold.
pub(super) struct Held {
    pub(super) events: Vec<Stored>,
    /// Tasks that were planned.
    pub(super) tasks: u64,
    /// Tasks that were delivered more than once, counted once for each further time.
    pub(super) redelivered: u64,
}

impl Broker {
    /// Finds or fetches a nats-server and starts it. `binary` names one.
    pub(super) async fn start(
        binary: Option<&Path>,
        environment: &Environment,
        folder: &Path,
        screen: &Screen,
    ) -> Result<Self, Failure> {
        let (say, mut said) = tokio::sync::mpsc::channel::<String>(16);
        let tell = move |step: &Step| {
            // Progress that nobody waits for.
            let _full = say.try_send(step.to_string());
        };
        // Whoever starts a demo wants to see one: no question is asked.
        let obtaining = obtain(binary, environment, Download::Allowed, &tell);
        let mut obtaining = std::pin::pin!(obtaining);
        let obtained = loop {
            tokio::select! {
                Some(step) = said.recv() => screen.tell(&step),
                obtained = &mut obtaining => break obtained?,
            }
        };
        while let Ok(step) = said.try_recv() {
            screen.tell(&step);
        }
        let users = Users::made();
        users.write(folder)?;
        let options = Options {
            extra: users.configuration(&configuration::scope()),
            ..Options::ephemeral()
        };
        let server = Server::start(&obtained.path, options).await;
        let server = server.map_err(|error| Failure::NoServer(error.into()))?;
        screen.tell(&format!(
            "nats-server {} runs, process {}",
            obtained.version,
            server.pid()
        ));
        server.advice().iter().for_each(|it| screen.tell(it));
        let options = ConnectOptions {
            servers: vec![server.url()],
            replicas: 1,
            ..ConnectOptions::default()
        };
        let options = users.admit(&options, Role::Owner);
        Ok(Self { server, options })
    }

    /// The process.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Makes streams and consumers as `config` needs them, with the demo's short `ack_wait`.
    pub(super) async fn furnish(
        &self,
        config: &Config,
        environment: &Environment,
    ) -> Result<fanfare_nats::Broker, Failure> {
        let lanes = fanfare_notifier::lanes(&config.notifier).context("an app has a wrong name")?;
        let topology = Topology {
            ack_wait: ACK_WAIT,
            ..Topology::new(1, lanes)
        };
        let process = Process::new(&Config::default(), environment);
        let broker = roles::connect(self.options.clone(), "demo", &process).await?;
        let made = broker.ensure(&topology).await;
        made.context("the streams cannot be made")?;
        Ok(broker)
    }

    /// Its consumers, as the server tells of them.
    pub(super) async fn work(&self, client: &reqwest::Client) -> anyhow::Result<Work> {
        let url = format!("{}/jsz?consumers=true", self.server.monitoring_url());
        let answer = client.get(url).send().await?.error_for_status()?;
        let page = serde_json::from_slice(&answer.bytes().await?);
        let page: Page = page.context("the broker's page cannot be read")?;
        let streams = page
            .account_details
            .into_iter()
            .flat_map(|it| it.stream_detail);
        Ok(Work(streams.collect()))
    }

    /// Everything that it holds.
    pub(super) async fn held(
        &self,
        client: &reqwest::Client,
        broker: &fanfare_nats::Broker,
    ) -> anyhow::Result<Held> {
        let work = self.work(client).await?;
        let read = async |seq| -> anyhow::Result<Option<(Stored, u64)>> {
            let Some(event) = broker.event_at(seq).await? else {
                return Ok(None);
            };
            let plan = broker.stored_plan(&event.id()).await?;
            let n_tasks = plan.map_or(0, |it| u64::from(it.n_tasks()));
            Ok(stored(event).map(|it| (it, n_tasks)))
        };
        let read: Vec<_> = stream::iter(1..=work.last_event())
            .map(read)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (events, tasks): (Vec<_>, Vec<u64>) = read.into_iter().flatten().unzip();
        let tasks = tasks.iter().sum();
        Ok(Held {
            events,
            tasks,
            redelivered: work.n_sent().saturating_sub(tasks),
        })
    }
}

fn stored(event: Event) -> Option<Stored> {
    let level = match event.level {
        Level::Step(step) => step,
        Level::First | Level::Fields(_) => return None,
    };
    let lives = i64::try_from(EXPIRES_IN.as_micros()).ok()?;
    Some(Stored {
        id: event.id().to_string(),
        level,
        title: event.content.title,
        topics: event.topics.iter().map(ToString::to_string).collect(),
        data: event.content.data,
        at_us: event.expires_at.as_microsecond() - lives,
        item: event.item,
    })
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    account_details: Vec<AccountPage>,
}

#[derive(Deserialize)]
struct AccountPage {
    #[serde(default)]
    stream_detail: Vec<StreamPage>,
}

#[derive(Deserialize)]
struct StreamPage {
    name: String,
    state: StreamState,
    #[serde(default)]
    consumer_detail: Vec<ConsumerPage>,
}

#[derive(Deserialize)]
struct StreamState {
    last_seq: u64,
}

#[derive(Deserialize)]
struct ConsumerPage {
    name: String,
    delivered: Delivered,
    num_ack_pending: u64,
    num_pending: u64,
}

#[derive(Deserialize)]
struct Delivered {
    consumer_seq: u64,
}

/// What the server's own page says of streams and durables.
pub(super) struct Work(Vec<StreamPage>);

impl Work {
    /// Messages of the durables that are not taken or not settled.
    pub(super) fn n_open(&self) -> u64 {
        let durables = self.0.iter().flat_map(|it| &it.consumer_detail);
        let ours = durables.filter(|it| it.name == "notifier" || it.name.starts_with("send-"));
        ours.map(|it| it.num_pending + it.num_ack_pending).sum()
    }

    /// The last sequence of the stream of events.
    pub(super) fn last_event(&self) -> u64 {
        let events = self.0.iter().find(|it| it.name.ends_with("_EVENTS"));
        events.map_or(0, |it| it.state.last_seq)
    }

    /// Deliveries of tasks to notifiers, each further one of the same task included.
    fn n_sent(&self) -> u64 {
        let durables = self.0.iter().flat_map(|it| &it.consumer_detail);
        let lanes = durables.filter(|it| it.name.starts_with("send-"));
        lanes.map(|it| it.delivered.consumer_seq).sum()
    }
}
