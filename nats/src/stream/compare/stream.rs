//! Streams: they may not forget, nor refuse what the protocol is made of.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use serde_json::{Value, json};

use super::{Check, Difference, Remedy, compare_store, nanos, set};

/// The shortest age a stream may have, and what would happen below it.
pub(in crate::stream) struct LeastAge {
    pub(in crate::stream) age: Duration,
    pub(in crate::stream) why: &'static str,
}

pub(super) fn compare(wanted: &Config, found: &Config, least: LeastAge) -> Vec<Difference> {
    let mut check = Check::of(&wanted.name);
    compare_subjects(&mut check, wanted, found);
    compare_limits(&mut check, wanted, found, least);
    compare_features(&mut check, wanted, found);
    compare_store(&mut check, wanted.num_replicas, found);
    check.differences
}

/// A receipt must outlive its task: a task without it is sent again from the start.
pub(super) fn compare_ages(tasks: &Config, receipts: &Config) -> Option<Difference> {
    let mut check = Check::of(&receipts.name);
    let needed = match tasks.max_age {
        age if age.is_zero() => "unlimited".to_owned(),
        age => format!("{age:?} or more, the age of tasks"),
    };
    let holds = receipts.max_age.is_zero()
        || (!tasks.max_age.is_zero() && receipts.max_age >= tasks.max_age);
    check.need(
        holds,
        "max_age against tasks",
        receipts.max_age,
        needed,
        "a task that outlives its receipts would be sent again from the start",
        set("max_age", nanos(tasks.max_age)),
    );
    check.differences.pop()
}

fn compare_subjects(check: &mut Check<'_>, wanted: &Config, found: &Config) {
    let has_subjects = wanted.subjects.iter().all(|it| found.subjects.contains(it));
    let missing = wanted.subjects.iter();
    let missing = missing.filter(|it| !found.subjects.contains(it));
    let all: Vec<&String> = found.subjects.iter().chain(missing).collect();
    check.need(
        has_subjects,
        "subjects",
        &found.subjects,
        wanted.subjects.join(" "),
        "messages would not be stored",
        set("subjects", json!(all)),
    );
    check.need(
        found.retention == RetentionPolicy::Limits,
        "retention",
        found.retention,
        "limits",
        "messages that are identity would vanish when acknowledged",
        Remedy::ByHand("what it forgot is forgotten: delete it while nothing runs, then apply"),
    );
}

fn compare_limits(check: &mut Check<'_>, wanted: &Config, found: &Config, least: LeastAge) {
    let LeastAge { age, why } = least;
    check.need(
        found.max_age.is_zero() || found.max_age >= age,
        "max_age",
        found.max_age,
        format!("{age:?} or more"),
        why,
        set("max_age", nanos(wanted.max_age.max(age))),
    );
    check.need(
        !found.discard_new_per_subject,
        "discard_new_per_subject",
        true,
        "false",
        "10077 is also given for proposals that are lost",
        set("discard_new_per_subject", false),
    );
    check.need(
        found.max_messages <= 0,
        "max_msgs",
        found.max_messages,
        "unlimited",
        "old decisions would be evicted by new ones, or new ones refused",
        set("max_msgs", -1),
    );
    check.need(
        found.max_messages_per_subject <= 0,
        "max_msgs_per_subject",
        found.max_messages_per_subject,
        "unlimited",
        "receipts are a chain, events are create-only",
        set("max_msgs_per_subject", -1),
    );
    let may_evict = wanted.discard == DiscardPolicy::Old && wanted.max_bytes > 0;
    let evicts = found.discard == DiscardPolicy::Old && found.max_bytes > 0 && !may_evict;
    // Schedules do not go with discard new (10052): tasks are bounded by their age alone.
    let remedy = match wanted.discard {
        DiscardPolicy::New => set("discard", "new"),
        DiscardPolicy::Old => set("max_bytes", -1),
    };
    check.need(
        !evicts,
        "max_bytes with discard old",
        found.max_bytes,
        "discard new, or no limit",
        "a full stream would forget instead of refusing",
        remedy,
    );
    let is_large = found.max_message_size <= 0
        || (wanted.max_message_size > 0 && found.max_message_size >= wanted.max_message_size);
    check.need(
        is_large,
        "max_msg_size",
        found.max_message_size,
        match wanted.max_message_size {
            size if size > 0 => format!("{size} or more"),
            _ => "unlimited".to_owned(),
        },
        "what is larger would be refused for ever",
        set("max_msg_size", wanted.max_message_size.max(-1)),
    );
}

fn compare_features(check: &mut Check<'_>, wanted: &Config, found: &Config) {
    check.need(
        !wanted.allow_message_ttl || found.allow_message_ttl,
        "allow_msg_ttl",
        false,
        "true",
        "per-message lifetimes would be refused",
        set("allow_msg_ttl", true),
    );
    check.need(
        !wanted.allow_atomic_publish || found.allow_atomic_publish,
        "allow_atomic",
        false,
        "true",
        "a plan and its tasks could not be stored together",
        set("allow_atomic", true),
    );
    let values = ["allow_msg_schedules", "allow_msg_ttl", "allow_rollup_hdrs"];
    check.need(
        !wanted.allow_message_schedules || found.allow_message_schedules,
        "allow_msg_schedules",
        false,
        "true",
        "retries could not be woken up",
        Remedy::Set(values.map(|it| (it, Value::Bool(true))).into()),
    );
    check.need(
        wanted.allow_direct || !found.allow_direct,
        "allow_direct",
        true,
        "false",
        "a stale receipt could be read",
        set("allow_direct", false),
    );
}
