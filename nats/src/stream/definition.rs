//! What is stored, as the broker's own JSON: for tools that look after streams instead of us.

use async_nats::jetstream::consumer::{self, IntoConsumerConfig};
use async_nats::jetstream::kv;
use async_nats::jetstream::stream::{self, DiscardPolicy};
use serde::Serialize;
use serde_json::Value;

use super::Topology;
use crate::subject::Names;

/// One thing that must exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What it is.
    pub kind: Kind,
    /// Its name: of the stream, also of a bucket's; or of the consumer.
    pub name: String,
    /// The configuration as the broker's interface has it; durations are nanoseconds.
    pub config: Value,
}

/// What a definition is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream.
    Stream,
    /// The stream of a key-value bucket of this name.
    Bucket(String),
    /// A durable pull consumer of this stream.
    Consumer(String),
}

impl Topology {
    /// Everything that `apply` makes, in the order in which it can be made.
    pub fn definitions(&self, names: &Names) -> Vec<Definition> {
        let streams = self.streams(names).into_iter().map(|config| Definition {
            kind: Kind::Stream,
            name: config.name.clone(),
            config: told(&config),
        });
        let buckets = self.buckets(names).into_iter().map(|bucket| {
            let (name, config) = (bucket.bucket.clone(), stream_of(bucket));
            Definition {
                name: config.name.clone(),
                kind: Kind::Bucket(name),
                config: told(&config),
            }
        });
        let consumers = self.consumers(names).into_iter();
        let consumers = consumers.map(|(stream, config)| {
            let mut config: consumer::Config = config.into_consumer_config();
            // Newer servers add it, older ones keep what they are told.
            config.name.clone_from(&config.durable_name);
            Definition {
                kind: Kind::Consumer(stream),
                name: config.durable_name.clone().unwrap_or_default(),
                config: told(&config),
            }
        });
        streams.chain(buckets).chain(consumers).collect()
    }
}

/// The stream under a bucket, as clients make it (ADR-8 of nats-architecture-and-design); a test
/// compares it with what the client library makes.
fn stream_of(bucket: kv::Config) -> stream::Config {
    stream::Config {
        name: format!("KV_{}", bucket.bucket),
        subjects: vec![format!("$KV.{}.>", bucket.bucket)],
        max_messages_per_subject: bucket.history,
        storage: bucket.storage,
        num_replicas: bucket.num_replicas,
        discard: DiscardPolicy::New,
        deny_delete: true,
        allow_rollup: true,
        allow_direct: true,
        allow_message_ttl: bucket.limit_markers.is_some(),
        subject_delete_marker_ttl: bucket.limit_markers,
        ..stream::Config::default()
    }
}

/// Without what is not set. Plain structures of numbers and strings cannot fail.
fn told(config: &impl Serialize) -> Value {
    let mut config = serde_json::to_value(config).unwrap_or_default();
    if let Some(config) = config.as_object_mut() {
        config.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    }
    config
}
