//! What exists, compared with the least that the promise needs.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};

use super::Topology;
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
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            property,
            found,
            needed,
            why,
        } = self;
        write!(
            f,
            "{name}: {property} is {found}, needed is {needed} ({why})"
        )
    }
}

impl Broker {
    /// Compares what exists with the least that the promise needs. More than that is the
    /// operator's business: placement, replicas, sizes.
    pub async fn verify(&self, topology: &Topology) -> Vec<Difference> {
        let mut differences = Vec::new();
        for wanted in topology.streams(&self.names) {
            match self.context.get_stream(&wanted.name).await {
                Ok(found) => {
                    differences.extend(compare_stream(&wanted, &found.cached_info().config));
                }
                Err(error) => differences.push(missing(&wanted.name, &error.kind())),
            }
        }
        for wanted in topology.buckets(&self.names) {
            let name = format!("KV_{}", wanted.bucket);
            match self.context.get_stream(&name).await {
                Ok(found) => differences.extend(compare_bucket(&name, &found.cached_info().config)),
                Err(error) => differences.push(missing(&name, &error.kind())),
            }
        }
        for (stream, wanted) in topology.consumers(&self.names) {
            differences.extend(self.verify_consumer(&stream, &wanted).await);
        }
        differences
    }

    async fn verify_consumer(
        &self,
        stream: &str,
        wanted: &consumer::pull::Config,
    ) -> Vec<Difference> {
        let durable = wanted.durable_name.clone().unwrap_or_default();
        let name = format!("{stream}/{durable}");
        let found = match self.context.get_stream_no_info(stream).await {
            Ok(handle) => handle.consumer_info(&durable).await.ok(),
            Err(_) => None,
        };
        let Some(found) = found else {
            return vec![Difference {
                name,
                property: "existence",
                found: "missing".to_owned(),
                needed: "a durable pull consumer".to_owned(),
                why: "nobody could take its messages",
            }];
        };
        compare_consumer(&name, wanted, &found.config)
    }
}

fn missing(name: &str, kind: &GetStreamErrorKind) -> Difference {
    Difference {
        name: name.to_owned(),
        property: "existence",
        found: kind.to_string(),
        needed: "a stream".to_owned(),
        why: "nothing can be stored without it",
    }
}

/// Collects what is not as needed.
struct Check<'a> {
    name: &'a str,
    differences: Vec<Difference>,
}

impl Check<'_> {
    fn need(
        &mut self,
        holds: bool,
        property: &'static str,
        found: impl std::fmt::Debug,
        needed: &str,
        why: &'static str,
    ) {
        if !holds {
            self.differences.push(Difference {
                name: self.name.to_owned(),
                property,
                found: format!("{found:?}"),
                needed: needed.to_owned(),
                why,
            });
        }
    }
}

fn compare_stream(wanted: &stream::Config, found: &stream::Config) -> Vec<Difference> {
    let mut check = Check {
        name: &wanted.name,
        differences: Vec::new(),
    };
    let has_subjects = wanted.subjects.iter().all(|it| found.subjects.contains(it));
    check.need(
        has_subjects,
        "subjects",
        &found.subjects,
        &wanted.subjects.join(" "),
        "messages would not be stored",
    );
    check.need(
        found.retention == RetentionPolicy::Limits,
        "retention",
        found.retention,
        "limits",
        "messages that are identity would vanish when acknowledged",
    );
    check.need(
        found.max_age.is_zero() || found.max_age >= wanted.max_age,
        "max_age",
        found.max_age,
        &format!("{:?} or more", wanted.max_age),
        "decisions would be forgotten and events sent again",
    );
    check.need(
        !found.discard_new_per_subject,
        "discard_new_per_subject",
        true,
        "false",
        "10077 is also given for proposals that are lost",
    );
    check.need(
        found.max_messages <= 0,
        "max_msgs",
        found.max_messages,
        "unlimited",
        "old decisions would be evicted by new ones",
    );
    check.need(
        found.max_messages_per_subject <= 0,
        "max_msgs_per_subject",
        found.max_messages_per_subject,
        "unlimited",
        "receipts are a chain, events are create-only",
    );
    let evicts = found.discard == DiscardPolicy::Old && found.max_bytes > 0;
    check.need(
        !evicts,
        "max_bytes with discard old",
        found.max_bytes,
        "discard new, or no limit",
        "a full stream would forget instead of refusing",
    );
    compare_features(&mut check, wanted, found);
    check.differences
}

fn compare_features(check: &mut Check<'_>, wanted: &stream::Config, found: &stream::Config) {
    check.need(
        found.storage == StorageType::File,
        "storage",
        found.storage,
        "file",
        "a restart would lose everything",
    );
    check.need(
        !wanted.allow_message_ttl || found.allow_message_ttl,
        "allow_msg_ttl",
        false,
        "true",
        "per-message lifetimes would be refused",
    );
    check.need(
        !wanted.allow_atomic_publish || found.allow_atomic_publish,
        "allow_atomic",
        false,
        "true",
        "a plan and its tasks could not be stored together",
    );
    check.need(
        !wanted.allow_message_schedules || found.allow_message_schedules,
        "allow_msg_schedules",
        false,
        "true",
        "retries could not be woken up",
    );
    check.need(
        wanted.allow_direct || !found.allow_direct,
        "allow_direct",
        true,
        "false",
        "a stale receipt could be read",
    );
}

fn compare_bucket(name: &str, found: &stream::Config) -> Vec<Difference> {
    let mut check = Check {
        name,
        differences: Vec::new(),
    };
    check.need(
        found.max_messages_per_subject == 1,
        "history",
        found.max_messages_per_subject,
        "1",
        "expiring values would bring older ones back",
    );
    check.need(
        found.allow_message_ttl,
        "allow_msg_ttl",
        false,
        "true",
        "leases and deletion markers would never expire",
    );
    check.need(
        found.max_age.is_zero(),
        "max_age",
        found.max_age,
        "none",
        "devices would be forgotten",
    );
    check.need(
        found.discard == DiscardPolicy::New,
        "discard",
        found.discard,
        "new",
        "a full bucket would forget devices",
    );
    check.need(
        found.storage == StorageType::File,
        "storage",
        found.storage,
        "file",
        "a restart would lose everything",
    );
    check.differences
}

fn compare_consumer(
    name: &str,
    wanted: &consumer::pull::Config,
    found: &consumer::Config,
) -> Vec<Difference> {
    let mut check = Check {
        name,
        differences: Vec::new(),
    };
    check.need(
        found.filter_subject == wanted.filter_subject,
        "filter_subject",
        &found.filter_subject,
        &wanted.filter_subject,
        "tasks of another lane would be sent",
    );
    check.need(
        found.ack_policy == AckPolicy::Explicit,
        "ack_policy",
        found.ack_policy,
        "explicit",
        "work would be lost with its worker",
    );
    check.need(
        found.max_deliver <= 0,
        "max_deliver",
        found.max_deliver,
        "-1",
        "work would be given up silently",
    );
    check.need(
        found.backoff.is_empty(),
        "backoff",
        &found.backoff,
        "none",
        "it overrides ack_wait: live work would be sent twice",
    );
    check.need(
        found.inactive_threshold.is_zero(),
        "inactive_threshold",
        found.inactive_threshold,
        "none",
        "the durable would vanish while nobody pulls",
    );
    // Shorter than the provider timeout of 8 s would hand live work to a second worker.
    let least = Duration::from_secs(1).min(wanted.ack_wait);
    check.need(
        found.ack_wait >= least,
        "ack_wait",
        found.ack_wait,
        &format!("{least:?} or more"),
        "live work would be sent twice",
    );
    check.differences
}
