//! Buckets: one value per key, kept until it is replaced.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy};

use super::{Check, Difference, compare_store, nanos, set};
use crate::bucket::MARKER_TTL;

pub(super) fn compare(name: &str, replicas: usize, found: &Config) -> Vec<Difference> {
    let mut check = Check::of(name);
    check.need(
        found.max_messages_per_subject == 1,
        "history",
        found.max_messages_per_subject,
        "1",
        "expiring values would bring older ones back",
        set("max_msgs_per_subject", 1),
    );
    check.need(
        found.allow_message_ttl,
        "allow_msg_ttl",
        false,
        "true",
        "leases and deletion markers would never expire",
        set("allow_msg_ttl", true),
    );
    check.need(
        found.max_age.is_zero(),
        "max_age",
        found.max_age,
        "none",
        "devices would be forgotten",
        set("max_age", 0),
    );
    check.need(
        found.max_messages <= 0,
        "max_msgs",
        found.max_messages,
        "unlimited",
        "devices would be forgotten or refused",
        set("max_msgs", -1),
    );
    check.need(
        found.discard == DiscardPolicy::New,
        "discard",
        found.discard,
        "new",
        "a full bucket would forget devices",
        set("discard", "new"),
    );
    check.doubt(
        found
            .subject_delete_marker_ttl
            .is_some_and(|it| !it.is_zero()),
        "subject_delete_marker_ttl",
        found.subject_delete_marker_ttl,
        "set",
        "followers would not see that a value expired",
        set("subject_delete_marker_ttl", nanos(MARKER_TTL)),
    );
    compare_store(&mut check, replicas, found);
    check.differences
}

/// Deletions are remembered for as long as every process believes: a follower that was away trusts
/// what it finds when it is back.
pub(super) fn compare_memory(name: &str, marker_ttl: Duration, found: &Config) -> Vec<Difference> {
    let mut check = Check::of(name);
    let remembered = found.subject_delete_marker_ttl.unwrap_or_default();
    check.need(
        remembered.is_zero() || remembered == marker_ttl,
        "subject_delete_marker_ttl",
        remembered,
        format!("{marker_ttl:?}"),
        "`nats.marker_ttl_s` of this process is another: who was away would trust deletions that \
         are forgotten",
        set("subject_delete_marker_ttl", nanos(marker_ttl)),
    );
    check.differences
}
