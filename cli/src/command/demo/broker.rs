//! The broker of the demo: one child or three, the streams on it, and what they hold at the end.

mod pages;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use fanfare_nats::permissions::Role;
use fanfare_nats::stream::Topology;
use fanfare_nats::{ConnectOptions, Event, Level};
use fanfare_nats_server::{
    Cluster, Download, Environment, Options, Server, StartError, Step, obtain,
};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, MutexGuard};

use super::configuration::{self, ACK_WAIT, EXPIRES_IN};
use super::screen::Screen;
use crate::command::embedded::Brokers;
use crate::config::Config;
use crate::exit::Failure;
use crate::roles::{self, Process};
use crate::users::Users;
use pages::Page;

pub(super) use pages::Work;

/// Reads at once.
const AT_ONCE: usize = 16;

/// A cluster of the demo has so many servers.
const CLUSTER: usize = 3;
/// An election is waited for this long; it takes 4 to 11 s.
const LEADERS_WITHIN: Duration = Duration::from_secs(30);

/// One nats-server of our own, or three.
pub(super) struct Broker {
    servers: Servers,
    /// Name and monitoring address of each, which stay when it is restarted.
    monitoring: Vec<(String, String)>,
    /// Durables that there are.
    n_durables: usize,
    options: ConnectOptions,
}

enum Servers {
    One(Box<Server>),
    /// Locked by whoever kills one, until that is back.
    Cluster(Mutex<Cluster>),
}

/// A server of a cluster that was killed; the others are left alone until it is back.
pub(super) struct Killed<'a> {
    cluster: MutexGuard<'a, Cluster>,
    place: usize,
    /// Its name.
    pub(super) name: String,
    /// Its former process.
    pub(super) pid: i32,
}

impl Killed<'_> {
    /// Starts it again.
    pub(super) async fn back(mut self) -> anyhow::Result<()> {
        let server = self.cluster.servers_mut().get_mut(self.place);
        let server = server.context("there is no such nats-server")?;
        server.restart().await?;
        Ok(())
    }
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
        is_cluster: bool,
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
        let failed = |error: StartError| Failure::NoServer(error.into());
        let servers = if is_cluster {
            let cluster = Cluster::start(&obtained.path, CLUSTER, &options).await;
            Brokers::Cluster(cluster.map_err(failed)?)
        } else {
            let server = Server::start(&obtained.path, options).await;
            Brokers::One(Box::new(server.map_err(failed)?))
        };
        let running = servers.servers();
        let processes: Vec<_> = running.iter().map(|it| it.pid().to_string()).collect();
        screen.tell(&format!(
            "nats-server {} runs, process {}",
            obtained.version,
            processes.join(", ")
        ));
        let advice = running.first().map(Server::advice).unwrap_or_default();
        for it in advice {
            screen.tell(it);
        }
        let options = ConnectOptions {
            servers: running.iter().map(Server::url).collect(),
            replicas: running.len(),
            ..ConnectOptions::default()
        };
        let monitoring = running.iter();
        let monitoring = monitoring.map(|it| (it.name().to_owned(), it.monitoring_url()));
        Ok(Self {
            monitoring: monitoring.collect(),
            options: users.admit(&options, Role::Owner),
            n_durables: configuration::scope().lanes.len() + 1,
            servers: match servers {
                Brokers::One(server) => Servers::One(server),
                Brokers::Cluster(cluster) => Servers::Cluster(Mutex::new(cluster)),
            },
        })
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
            ..Topology::new(self.options.replicas, lanes)
        };
        let process = Process::new(&Config::default(), environment);
        let broker = roles::connect(self.options.clone(), "demo", &process).await?;
        let made = broker.ensure(&topology).await;
        made.context("the streams cannot be made")?;
        Ok(broker)
    }

    /// Its streams and durables, as their leaders tell of them; `None` while one has no leader.
    pub(super) async fn work(&self, client: &reqwest::Client) -> anyhow::Result<Option<Work>> {
        let mut pages = Vec::new();
        for (name, url) in &self.monitoring {
            let url = format!("{url}/jsz?consumers=true");
            match client.get(url).send().await {
                Ok(answer) => {
                    let answer = answer.error_for_status()?;
                    pages.push((name.as_str(), Page::read(&answer.bytes().await?)?));
                }
                // One of several may have been killed.
                Err(error) if self.monitoring.len() == 1 => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(Work::of(&pages, self.n_durables))
    }

    /// The same, once everything has a leader.
    pub(super) async fn led(&self, client: &reqwest::Client) -> anyhow::Result<Work> {
        let deadline = tokio::time::Instant::now() + LEADERS_WITHIN;
        while tokio::time::Instant::now() < deadline {
            if let Some(work) = self.work(client).await? {
                return Ok(work);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("a stream or a durable has no leader after {LEADERS_WITHIN:?}")
    }

    /// Kills the server that leads the stream of events, with SIGKILL. There is none to kill if
    /// there is but one.
    pub(super) async fn kill_leader(
        &self,
        client: &reqwest::Client,
    ) -> anyhow::Result<Option<Killed<'_>>> {
        let Servers::Cluster(cluster) = &self.servers else {
            return Ok(None);
        };
        let work = self.led(client).await?;
        let cluster = cluster.lock().await;
        let mut servers = cluster.servers().iter();
        let place = servers.position(|it| work.events_leader() == Some(it.name()));
        let place = place.context("nobody leads the stream of events")?;
        let server = cluster.servers().get(place);
        let server = server.context("there is no such nats-server")?;
        let (name, pid) = (server.name().to_owned(), server.pid());
        server.kill9().await?;
        Ok(Some(Killed {
            cluster,
            place,
            name,
            pid,
        }))
    }

    /// Which server has ended although nobody killed it.
    pub(super) fn casualty(&self) -> Option<String> {
        let of = |servers: &[Server]| {
            let dead = servers.iter().find(|it| !it.is_running());
            dead.map(|it| format!("nats-server {}", it.name()))
        };
        match &self.servers {
            Servers::One(server) => of(std::slice::from_ref(server)),
            // Somebody has it: one was killed, and is coming back.
            Servers::Cluster(cluster) => cluster.try_lock().ok().and_then(|it| of(it.servers())),
        }
    }

    /// Asks all of it to end, and waits; whether something had to be killed.
    pub(super) async fn stop(&self) -> bool {
        match &self.servers {
            Servers::One(server) => server.stop().await.was_killed,
            Servers::Cluster(cluster) => {
                let stopped = cluster.lock().await.stop().await;
                stopped.iter().any(|it| it.was_killed)
            }
        }
    }

    /// The addresses of all servers, separated by commas.
    pub(super) fn url(&self) -> String {
        self.options.servers.join(",")
    }

    /// How many servers there are.
    pub(super) fn size(&self) -> usize {
        self.monitoring.len()
    }

    /// Everything that it holds.
    pub(super) async fn held(
        &self,
        client: &reqwest::Client,
        broker: &fanfare_nats::Broker,
    ) -> anyhow::Result<Held> {
        let work = self.led(client).await?;
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
