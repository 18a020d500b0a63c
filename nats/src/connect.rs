//! The connection: options named as the `nats` command line names them, and what the client tells.

mod client;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use jiff::Timestamp;
use rand::Rng;
use thiserror::Error;
use tokio::sync::watch;

pub(crate) use client::connect_client;

use crate::bucket::MARKER_TTL;
use crate::clock::{self, Echo};
use crate::members::Member;
use crate::metric::Metrics;
use crate::publish::Gate;
use crate::readiness::Readiness;
use crate::request::{self, Answer, Unknown};
use crate::subject::Names;

/// Oldest server whose atomic batches work: 2.12.0 answers a create-only batch with 10164 for ever
/// (measured).
pub const MIN_SERVER: (i64, i64, i64) = (2, 12, 1);

/// How long answers about streams and durables are waited for: creating a consumer over a million
/// keys takes up to 2.4 s (measured), and 30 s is far from it.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to reach and address the broker. Plain data; secrets are read by whoever builds it.
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// Server URLs, at least one.
    pub servers: Vec<String>,
    /// Connection name, `fanfare-<role>/<host>/<node>`.
    pub name: String,
    /// This process among its kind; stands in member keys and receipts.
    pub node: String,
    /// The machine, as people know it; stands in member records.
    pub host: String,
    /// Its part of what is divided among the members of its role; 0 counts as 1.
    pub weight: u32,
    /// What is running; this crate's version if empty.
    pub version: String,
    /// Since when it runs; since this connection if not given.
    pub started: Option<Timestamp>,
    /// Inbox prefix, `_INBOX` if empty.
    pub inbox_prefix: String,
    /// User and password.
    pub user: Option<(String, String)>,
    /// A token.
    pub token: Option<String>,
    /// The text of a credentials file.
    pub creds: Option<String>,
    /// An nkey seed.
    pub nkey: Option<String>,
    /// Certificate and key files.
    pub tls_cert: Option<(PathBuf, PathBuf)>,
    /// Additional certificate authorities.
    pub tls_ca: Option<PathBuf>,
    /// TLS before the server speaks.
    pub tls_first: bool,
    /// JetStream domain.
    pub domain: Option<String>,
    /// JetStream API prefix.
    pub api_prefix: Option<String>,
    /// Prefix of all our names.
    pub names: Names,
    /// Replicas of what `ensure` creates; planning chooses its way by it.
    pub replicas: usize,
    /// How long deletions of devices are remembered, if not [`MARKER_TTL`]; the same in every
    /// process, and what the bucket was made with ([`crate::stream::Topology::marker_ttl`]).
    pub marker_ttl: Option<Duration>,
    /// Only the given servers, in the given order; for tests that sit on one of them.
    pub pinned: bool,
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("servers", &self.servers.len())
            .field("name", &self.name)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// A credentials file or seed is not readable.
    #[error("the NATS credentials are not valid")]
    Credentials(#[source] std::io::Error),
    /// Nobody answered, or the server refused.
    #[error("no connection to NATS")]
    Connect(#[source] async_nats::ConnectError),
    /// The server is too old.
    #[error(
        "nats-server {version} is too old: fanfare needs {}.{}.{} or newer (atomic batches, message schedules, per-message TTL)",
        MIN_SERVER.0, MIN_SERVER.1, MIN_SERVER.2
    )]
    TooOld {
        /// What it says it is.
        version: String,
    },
    /// JetStream is off.
    #[error(
        "nats-server {version} runs without JetStream: add a `jetstream {{}}` block to its configuration"
    )]
    NoJetStream {
        /// What it says it is.
        version: String,
    },
}

/// The broker as fanfare uses it; clones share the connection.
#[derive(Clone)]
pub struct Broker {
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// The same with a short patience, for reads from a leader that may just have died.
    pub(crate) reads: Context,
    pub(crate) names: Names,
    pub(crate) metrics: Metrics,
    pub(crate) gate: Arc<Gate>,
    pub(crate) replicas: usize,
    pub(crate) marker_ttl: Duration,
    /// The barrier under way, which comes back with the broker's time.
    pub(crate) barrier_echo: Arc<Echo>,
    /// Counts the connections after the first.
    reconnects: watch::Receiver<u64>,
    /// The conditions of the process, which its members tell the others.
    pub(crate) readiness: Readiness,
    node: Arc<str>,
    part: Arc<Part>,
}

/// What others are told of a process beside its name.
struct Part {
    host: String,
    version: String,
    weight: u32,
    started: Timestamp,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Connects, checks version and JetStream, and keeps listening to what the client tells.
    ///
    /// Dropping the future leaves no connection behind.
    ///
    /// # Errors
    /// [`ConnectError`]: after a short series of tries for the first connection; later losses are
    /// healed by the client and shown in `readiness` as `nats`.
    pub async fn connect(
        options: ConnectOptions,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Result<Self, ConnectError> {
        readiness.unmet("nats", "not connected yet");
        let (connected_again, reconnects) = watch::channel(0);
        let listener = client::listener(metrics.clone(), readiness.clone(), connected_again);
        let client = connect_client(&options, listener).await?;
        let info = client.server_info();
        let (major, minor, patch) = MIN_SERVER;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(ConnectError::TooOld {
                version: info.version,
            });
        }
        if !info.jetstream {
            return Err(ConnectError::NoJetStream {
                version: info.version,
            });
        }
        metrics.connected.set(1);
        metrics.answers.set(1);
        readiness.met("nats");
        Ok(Self {
            context: context(client.clone(), &options, PATIENCE),
            reads: context(client.clone(), &options, request::ANSWER_TIMEOUT),
            client,
            names: options.names,
            metrics,
            gate: Arc::new(Gate::default()),
            replicas: options.replicas.max(1),
            marker_ttl: options.marker_ttl.unwrap_or(MARKER_TTL),
            barrier_echo: Arc::default(),
            reconnects,
            readiness,
            node: options.node.into(),
            part: Arc::new(Part {
                host: options.host,
                version: match options.version {
                    version if version.is_empty() => env!("CARGO_PKG_VERSION").to_owned(),
                    version => version,
                },
                weight: options.weight.max(1),
                started: options.started.unwrap_or_else(clock::now),
            }),
        })
    }

    /// The names of this pipeline.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// This process among its kind.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The machine of this process.
    pub fn host(&self) -> &str {
        &self.part.host
    }

    /// What is running.
    pub fn version(&self) -> &str {
        &self.part.version
    }

    /// This process in a role, as the others are told of it.
    pub fn member(&self, role: &str) -> Member {
        Member {
            role: role.to_owned(),
            node: self.node().to_owned(),
            host: self.part.host.clone(),
            version: self.part.version.clone(),
            weight: self.part.weight,
            started: self.part.started,
            waits_for: self.readiness.waits_for(),
        }
    }

    /// The counters of this contract.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// True while the client is connected.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The version of the server that this connection sits on.
    pub fn server_version(&self) -> String {
        self.client.server_info().version
    }

    /// Writes out what the client still buffers; gives up after a second, because without a
    /// connection it would wait for one.
    pub async fn flush(&self) {
        match tokio::time::timeout(Duration::from_secs(1), self.client.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "last bytes to NATS could not be flushed"),
            Err(_) => tracing::warn!("last bytes to NATS could not be flushed within a second"),
        }
    }

    /// Tells of every connection from here on.
    pub(crate) fn reconnects(&self) -> watch::Receiver<u64> {
        let mut reconnects = self.reconnects.clone();
        reconnects.mark_unchanged();
        reconnects
    }

    /// Publishes once and waits for the answer, but no longer than the connection lasts: an answer
    /// to a connection that was lost never comes, and waiting for it cost 5 s at each restart of a
    /// server (measured).
    ///
    /// Dropping this leaves it unknown whether the message is stored.
    pub(crate) async fn ask(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Answer {
        let mut reconnects = self.reconnects();
        let answer = tokio::select! {
            answer = request::publish(&self.client, subject, headers, payload) => answer,
            Ok(()) = reconnects.changed() => Answer::Unknown(Unknown::Silence),
        };
        if let Answer::Unknown(why) = answer {
            self.metrics.publish_unknown(why).inc();
        }
        self.note_answer(subject, &answer);
        answer
    }

    /// A random number that names one claim or one write among all.
    pub(crate) fn nonce() -> u64 {
        rand::rng().random()
    }
}

fn context(client: Client, options: &ConnectOptions, timeout: Duration) -> Context {
    let builder = jetstream::context::ContextBuilder::new()
        .timeout(timeout)
        .max_ack_inflight(512);
    match (&options.domain, &options.api_prefix) {
        (Some(domain), _) => builder.domain(domain.clone()).build(client),
        (None, Some(prefix)) => builder.api_prefix(prefix.clone()).build(client),
        (None, None) => builder.build(client),
    }
}
