//! What exists, compared with the least that the promise needs.

mod bucket;
mod consumer;
mod stream;

pub(super) use self::stream::LeastAge;
use async_nats::jetstream::context::{ConsumerInfoErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Config;
use serde_json::Value;

use super::{AHEAD_CONSUMER, Topology};
use crate::connect::Broker;

/// One property that is not as the promise needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Stream, bucket or `stream/consumer`.
    pub name: String,
    /// Which property.
    pub property: &'static str,
    /// What it is.
    pub found: String,
    /// What it must be.
    pub needed: String,
    /// What would go wrong.
    pub why: &'static str,
    /// Whether the promise breaks.
    pub weight: Weight,
    /// What can be done.
    pub remedy: Remedy,
}

/// What was found where nobody answered, for example during an election.
const UNANSWERED: &str = "not known: no answer";

impl Difference {
    /// Whether it is only that nobody answered: ask again.
    pub fn is_unanswered(&self) -> bool {
        self.found == UNANSWERED
    }
}

/// What a difference means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The promise would not hold: nothing starts.
    Breaks,
    /// It holds, but not through everything; an operator should know.
    Doubtful,
}

/// What can be done about a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Make it: nothing is there.
    Create,
    /// Set these values of the configuration, also while everything runs; `null` removes one.
    Set(Vec<(&'static str, Value)>),
    /// It cannot be changed without losing what it holds; what an operator can do instead.
    ByHand(&'static str),
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            property,
            found,
            needed,
            why,
            weight: _,
            remedy: _,
        } = self;
        write!(
            f,
            "{name}: {property} is {found}, needed is {needed} ({why})"
        )
    }
}

impl Broker {
    /// Compares what exists with the least that the promise needs. More than that is the
    /// operator's business: placement, more replicas, sizes.
    pub async fn verify(&self, topology: &Topology) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut found = Vec::new();
        let may_ask = |name: &str| topology.may_ask(&self.names, &format!("STREAM.INFO.{name}"));
        for wanted in topology.streams(&self.names) {
            if !may_ask(&wanted.name) {
                continue;
            }
            match self.reads.get_stream(&wanted.name).await {
                Ok(stream) => {
                    let config = stream.cached_info().config.clone();
                    let age = topology.least_age(&self.names, &wanted.name);
                    differences.extend(stream::compare(&wanted, &config, age));
                    found.push(config);
                }
                Err(error) => differences.push(missing(&wanted.name, &error.kind())),
            }
        }
        let named = |name: String| found.iter().find(|it| it.name == name);
        let (tasks, receipts) = (named(self.names.tasks()), named(self.names.receipts()));
        if let (Some(tasks), Some(receipts)) = (tasks, receipts) {
            differences.extend(stream::compare_ages(tasks, receipts));
        }
        for wanted in topology.buckets(&self.names) {
            let name = format!("KV_{}", wanted.bucket);
            if !may_ask(&name) {
                continue;
            }
            match self.reads.get_stream(&name).await {
                Ok(stream) => {
                    let config = &stream.cached_info().config;
                    differences.extend(bucket::compare(&name, topology.replicas, config));
                    if wanted.bucket == self.names.devices_bucket() {
                        let marker_ttl = topology.marker_ttl;
                        differences.extend(bucket::compare_memory(&name, marker_ttl, config));
                    }
                }
                Err(error) => differences.push(missing(&name, &error.kind())),
            }
        }
        for (stream, wanted) in topology.consumers(&self.names) {
            differences.extend(self.verify_consumer(topology, &stream, &wanted).await);
        }
        differences
    }

    async fn verify_consumer(
        &self,
        topology: &Topology,
        stream: &str,
        wanted: &async_nats::jetstream::consumer::pull::Config,
    ) -> Vec<Difference> {
        let durable = wanted.durable_name.clone().unwrap_or_default();
        let name = format!("{stream}/{durable}");
        if !topology.may_ask(&self.names, &format!("CONSUMER.INFO.{stream}.{durable}")) {
            return Vec::new();
        }
        let found = match self.reads.get_stream_no_info(stream).await {
            Ok(handle) => match handle.consumer_info(&durable).await {
                Ok(found) => Ok(found),
                Err(error) => Err(match error.kind() {
                    ConsumerInfoErrorKind::NotFound | ConsumerInfoErrorKind::StreamNotFound => {
                        "missing"
                    }
                    ConsumerInfoErrorKind::InvalidName
                    | ConsumerInfoErrorKind::Offline
                    | ConsumerInfoErrorKind::Request
                    | ConsumerInfoErrorKind::JetStream(_)
                    | ConsumerInfoErrorKind::TimedOut
                    | ConsumerInfoErrorKind::NoResponders => UNANSWERED,
                }),
            },
            Err(_) => Err(UNANSWERED),
        };
        match found {
            Ok(found) if durable == AHEAD_CONSUMER => consumer::compare_ahead(&name, &found.config),
            Ok(found) => consumer::compare(&name, wanted, &found.config),
            Err(found) => vec![Difference {
                name,
                property: "existence",
                found: found.to_owned(),
                needed: "a durable pull consumer".to_owned(),
                why: consumer::why_there(&durable),
                weight: consumer::weight_of(&durable),
                remedy: Remedy::Create,
            }],
        }
    }
}

fn missing(name: &str, kind: &GetStreamErrorKind) -> Difference {
    let found = match kind {
        GetStreamErrorKind::JetStream(error) if error.code() == 404 => kind.to_string(),
        // No answer, or 503: its servers are electing.
        GetStreamErrorKind::JetStream(_) | GetStreamErrorKind::Request => UNANSWERED.to_owned(),
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => kind.to_string(),
    };
    Difference {
        name: name.to_owned(),
        property: "existence",
        found,
        needed: "a stream".to_owned(),
        why: "nothing can be stored without it",
        weight: Weight::Breaks,
        remedy: Remedy::Create,
    }
}

/// Collects what is not as needed.
struct Check<'a> {
    name: &'a str,
    differences: Vec<Difference>,
}

impl<'a> Check<'a> {
    fn of(name: &'a str) -> Self {
        Self {
            name,
            differences: Vec::new(),
        }
    }

    fn need(
        &mut self,
        holds: bool,
        property: &'static str,
        found: impl std::fmt::Debug,
        needed: impl Into<String>,
        why: &'static str,
        remedy: Remedy,
    ) {
        if !holds {
            self.differences.push(Difference {
                name: self.name.to_owned(),
                property,
                found: format!("{found:?}"),
                needed: needed.into(),
                why,
                weight: Weight::Breaks,
                remedy,
            });
        }
    }

    /// The last difference is no refusal, if it was added just now.
    fn doubt(
        &mut self,
        holds: bool,
        property: &'static str,
        found: impl std::fmt::Debug,
        needed: impl Into<String>,
        why: &'static str,
        remedy: Remedy,
    ) {
        self.need(holds, property, found, needed, why, remedy);
        if !holds && let Some(last) = self.differences.last_mut() {
            last.weight = Weight::Doubtful;
        }
    }
}

fn set(key: &'static str, value: impl Into<Value>) -> Remedy {
    Remedy::Set(vec![(key, value.into())])
}

/// Nanoseconds, as the broker's JSON has durations.
fn nanos(time: std::time::Duration) -> Value {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).into()
}

/// What streams and buckets have in common: where their data are, and how often.
fn compare_store(check: &mut Check<'_>, replicas: usize, found: &Config) {
    use async_nats::jetstream::stream::{PersistenceMode, StorageType};

    const MOVE: &str = "it cannot be changed: back up, delete, apply, restore";
    let in_file = found.storage == StorageType::File;
    if found.num_replicas >= 3 {
        let why = "all its servers restarted at once would lose everything";
        let remedy = Remedy::ByHand(MOVE);
        check.doubt(in_file, "storage", found.storage, "file", why, remedy);
    } else {
        let why = "a restart would lose everything";
        let remedy = Remedy::ByHand(MOVE);
        check.need(in_file, "storage", found.storage, "file", why, remedy);
    }
    check.need(
        found.num_replicas >= replicas,
        "num_replicas",
        found.num_replicas,
        format!("{replicas} or more, as configured"),
        "the loss of one server would stop or lose what is meant to survive it",
        set("num_replicas", replicas),
    );
    check.need(
        !found.no_ack,
        "no_ack",
        found.no_ack,
        "false",
        "nothing would ever be known to be stored",
        set("no_ack", false),
    );
    check.need(
        found.persist_mode != Some(PersistenceMode::Async),
        "persist_mode",
        "async",
        "default",
        "what was acknowledged could be lost with the server's process",
        Remedy::ByHand(MOVE),
    );
    check.need(
        found.mirror.is_none() && found.subject_transform.is_none() && !found.sealed,
        "mirror, subject_transform or sealed",
        "set",
        "none",
        "the subject is the identity, and has to be written",
        Remedy::ByHand("remove it, or use another prefix"),
    );
}
