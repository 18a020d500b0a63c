//! The tables that belong to the executable itself: `[nats]`, `[admin]`, `[log]`, `[process]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use fanfare_nats::Problem;
use fanfare_nats::subject::Names;
use serde::Deserialize;

/// The names of the tables.
pub(super) const TABLES: [&str; 4] = ["nats", "admin", "log", "process"];

/// Shorter, live work would be sent twice; longer, the work of the dead would lie about.
const ACK_WAIT_MS: std::ops::RangeInclusive<u64> = 1000..=300_000;

/// Shorter, every pause would end in loading all devices anew; longer than a leap year is a mistake.
const MARKER_TTL_S: std::ops::RangeInclusive<u64> = 5..=31_622_400;

/// Of a hundred equal processes one may count as much as all others.
const WEIGHT: std::ops::RangeInclusive<u32> = 1..=100;

/// What the executable reads for itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OwnConfig {
    pub(crate) nats: NatsConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) log: LogConfig,
    pub(crate) process: ProcessConfig,
}

/// How to reach the broker; the keys are those of a context of the `nats` command.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NatsConfig {
    pub(crate) url: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) creds: Option<String>,
    pub(crate) nkey: Option<String>,
    pub(crate) user_jwt: Option<String>,
    pub(crate) user_seed: Option<String>,
    pub(crate) user_seed_file: Option<PathBuf>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) ca: Option<String>,
    pub(crate) tls_first: Option<bool>,
    pub(crate) jetstream_domain: Option<String>,
    pub(crate) jetstream_api_prefix: Option<String>,
    pub(crate) inbox_prefix: Option<String>,
    /// How the names of all streams, buckets and subjects begin.
    pub(crate) prefix: Option<String>,
    /// Replicas of what is created.
    pub(crate) replicas: Option<usize>,
    /// Who creates streams, buckets and consumers.
    pub(crate) manage: Option<Manage>,
    /// How long a message may stay with a worker that says nothing, where durables are created.
    pub(crate) ack_wait_ms: Option<u64>,
    /// How long deletions of devices are remembered; the same in every process.
    pub(crate) marker_ttl_s: Option<u64>,
}

impl std::fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsConfig")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

/// Who creates streams, buckets and consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Manage {
    /// This process, if something is missing. It changes nothing.
    Auto,
    /// Somebody else; this process refuses to start without them.
    Verify,
}

/// Where probes and metrics are answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AdminConfig {
    /// Address and port; port 0 takes any. Without it 127.0.0.1:9464, or any if that is taken.
    pub(crate) listen: Option<SocketAddr>,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// As `RUST_LOG`: `info`, `fanfare_notifier=debug`.
    pub(crate) filter: Option<String>,
    pub(crate) format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

/// This process among its kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProcessConfig {
    /// Its name; different in every process. By default made anew at each start.
    pub(crate) node: Option<String>,
    /// Its part of what is divided among its kind, and its place where one is chosen; 1 by default.
    pub(crate) weight: Option<u32>,
}

impl OwnConfig {
    pub(super) fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, message: String| problems.push(Problem::new(key, message));
        let nats = &self.nats;
        if let Some(Err(error)) = nats.prefix.as_deref().map(Names::with_prefix) {
            problem("nats.prefix", error.to_string());
        }
        if nats.replicas.is_some_and(|it| !matches!(it, 1 | 3 | 5)) {
            problem("nats.replicas", "write 1, 3 or 5".into());
        }
        if nats
            .ack_wait_ms
            .is_some_and(|it| !ACK_WAIT_MS.contains(&it))
        {
            let (least, most) = (ACK_WAIT_MS.start(), ACK_WAIT_MS.end());
            problem("nats.ack_wait_ms", format!("must be {least} to {most}"));
        }
        if nats
            .marker_ttl_s
            .is_some_and(|it| !MARKER_TTL_S.contains(&it))
        {
            let (least, most) = (MARKER_TTL_S.start(), MARKER_TTL_S.end());
            problem("nats.marker_ttl_s", format!("must be {least} to {most}"));
        }
        for it in nats.given_twice("nats") {
            problem(&it.key, it.message);
        }
        if let Some(node) = &self.process.node
            && !is_node(node)
        {
            problem(
                "process.node",
                "write 1 to 32 of A-Z, a-z, 0-9, `_` and `-`".into(),
            );
        }
        if self.process.weight.is_some_and(|it| !WEIGHT.contains(&it)) {
            let (least, most) = (WEIGHT.start(), WEIGHT.end());
            problem("process.weight", format!("must be {least} to {most}"));
        }
        let filter = self
            .log
            .filter
            .as_deref()
            .map(tracing_subscriber::EnvFilter::try_new);
        if let Some(Err(error)) = filter {
            problem("log.filter", error.to_string());
        }
        problems
    }
}

impl NatsConfig {
    /// The secrets that stand here and in a file.
    fn given_twice(&self, table: &str) -> impl Iterator<Item = Problem> {
        let twice = [
            (
                "password",
                self.password.is_some() && self.password_file.is_some(),
            ),
            ("token", self.token.is_some() && self.token_file.is_some()),
            (
                "user_seed",
                self.user_seed.is_some() && self.user_seed_file.is_some(),
            ),
        ];
        let twice = twice.into_iter().filter(|(_, is_twice)| *is_twice);
        twice.map(move |(key, _)| {
            let key = format!("{table}.{key}");
            let message = format!("given twice: remove it or `{key}_file`");
            Problem::new(key, message)
        })
    }

    /// What is wrong with a table that names another user on the same pipeline.
    pub(super) fn validate_second(&self, table: &str) -> Vec<Problem> {
        let of_the_pipeline = [
            ("prefix", self.prefix.is_some()),
            ("replicas", self.replicas.is_some()),
            ("manage", self.manage.is_some()),
            ("ack_wait_ms", self.ack_wait_ms.is_some()),
            ("marker_ttl_s", self.marker_ttl_s.is_some()),
        ];
        let told = of_the_pipeline.into_iter().filter(|(_, is_told)| *is_told);
        let told = told.map(|(key, _)| {
            let message = "is told once, in `[nats]`: remove it here".to_owned();
            Problem::new(format!("{table}.{key}"), message)
        });
        told.chain(self.given_twice(table)).collect()
    }
}

fn is_node(text: &str) -> bool {
    let is_allowed = |it: u8| it.is_ascii_alphanumeric() || it == b'_' || it == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_allowed)
}
