//! Durables: nothing may be given up, skipped or handed out early.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, PriorityPolicy, pull};
use serde_json::{Value, json};

use super::super::{AHEAD_CONSUMER, LANE_EPOCH};
use super::{Check, Difference, Remedy, Weight, nanos, set};

/// A provider may take 9 s to answer, and live work must not be handed to a second worker.
const LEAST_ACK_WAIT: Duration = Duration::from_secs(10);
/// The work of the dead lies for so long; longer is seldom meant.
const MOST_ACK_WAIT: Duration = Duration::from_mins(5);
/// Fewer unsettled messages than this and few workers get any: a process alone holds up to 64.
const LEAST_ACK_PENDING: i64 = 64;

const RECREATE: &str = "it cannot be changed: stop the notifiers, delete the consumer, apply";

pub(super) fn compare(name: &str, wanted: &pull::Config, found: &Config) -> Vec<Difference> {
    let mut check = Check::of(name);
    compare_choice(&mut check, wanted, found);
    compare_end(&mut check, wanted, found);
    compare_pace(&mut check, wanted, found);
    compare_epoch(&mut check, wanted, found);
    check.differences
}

/// What it means if a durable is missing.
pub(super) fn weight_of(durable: &str) -> Weight {
    if durable == AHEAD_CONSUMER {
        Weight::Doubtful
    } else {
        Weight::Breaks
    }
}

/// Why a durable must be there.
pub(super) fn why_there(durable: &str) -> &'static str {
    if durable == AHEAD_CONSUMER {
        "an urgent event would wait until all before it are planned"
    } else {
        "nobody could take its messages"
    }
}

/// The durable that only tells: without it, or with a wrong one, nothing is lost.
pub(super) fn compare_ahead(name: &str, found: &Config) -> Vec<Difference> {
    const AGAIN: &str = "it cannot be changed: delete the consumer, apply";
    let mut check = Check::of(name);
    compare_way(&mut check, found, AGAIN);
    check.need(
        found.ack_policy == AckPolicy::None,
        "ack_policy",
        found.ack_policy,
        "none",
        "nobody settles what it tells, so it would soon tell nothing",
        Remedy::ByHand(AGAIN),
    );
    check.need(
        found.headers_only,
        "headers_only",
        false,
        "true",
        "every event would be sent twice as a whole",
        set("headers_only", true),
    );
    for difference in &mut check.differences {
        difference.weight = Weight::Doubtful;
    }
    check.differences
}

/// Notifiers pull.
fn compare_way(check: &mut Check<'_>, found: &Config, by_hand: &'static str) {
    check.need(
        found.deliver_subject.is_none(),
        "deliver_subject",
        &found.deliver_subject,
        "none",
        "nobody can pull from a push consumer",
        Remedy::ByHand(by_hand),
    );
}

/// A lane's durable carries the number that its claims begin with.
fn compare_epoch(check: &mut Check<'_>, wanted: &pull::Config, found: &Config) {
    let Some(epoch) = wanted.metadata.get(LANE_EPOCH) else {
        return;
    };
    let recorded = found.metadata.get(LANE_EPOCH);
    check.need(
        recorded.is_some_and(|it| it.parse::<u64>().is_ok()),
        "metadata fanfare.lane_epoch",
        recorded,
        "a number that grows with each making",
        "tasks that were begun before the consumer was made would be refused for ever",
        set("metadata", json!({ LANE_EPOCH: epoch })),
    );
}

/// Which messages it hands out, and to whom.
fn compare_choice(check: &mut Check<'_>, wanted: &pull::Config, found: &Config) {
    let is_alone = found.filter_subjects.is_empty();
    check.need(
        found.filter_subject == wanted.filter_subject && is_alone,
        "filter_subject",
        format!(
            "{} {}",
            found.filter_subject,
            found.filter_subjects.join(" ")
        )
        .trim(),
        &wanted.filter_subject,
        "tasks of another lane would be sent, or its own never",
        Remedy::ByHand(RECREATE),
    );
    check.need(
        found.deliver_policy == DeliverPolicy::All,
        "deliver_policy",
        found.deliver_policy,
        "all",
        "what was stored before it existed would never be sent",
        Remedy::ByHand(RECREATE),
    );
    compare_way(check, found, RECREATE);
    check.need(
        found.priority_policy == PriorityPolicy::None,
        "priority_policy",
        &found.priority_policy,
        "none",
        "pulls that name no group would be refused",
        Remedy::ByHand(RECREATE),
    );
    check.need(
        !found.headers_only,
        "headers_only",
        true,
        "false",
        "tasks would come without their content",
        set("headers_only", false),
    );
}

/// When a message counts as done.
fn compare_end(check: &mut Check<'_>, wanted: &pull::Config, found: &Config) {
    check.need(
        found.ack_policy == AckPolicy::Explicit,
        "ack_policy",
        found.ack_policy,
        "explicit",
        "work would be lost with its worker",
        Remedy::ByHand(RECREATE),
    );
    check.need(
        found.max_deliver <= 0,
        "max_deliver",
        found.max_deliver,
        "-1",
        "work would be given up silently",
        set("max_deliver", -1),
    );
    // The server took `ack_wait` from the first of them.
    let values = vec![
        ("backoff", Value::Null),
        ("ack_wait", nanos(wanted.ack_wait)),
    ];
    check.need(
        found.backoff.is_empty(),
        "backoff",
        &found.backoff,
        "none",
        "it overrides ack_wait: live work would be sent twice",
        Remedy::Set(values),
    );
    check.need(
        found.inactive_threshold.is_zero(),
        "inactive_threshold",
        found.inactive_threshold,
        "none",
        "the durable would vanish while nobody pulls",
        set("inactive_threshold", 0),
    );
}

/// How fast, and how many at once.
fn compare_pace(check: &mut Check<'_>, wanted: &pull::Config, found: &Config) {
    let least = LEAST_ACK_WAIT.min(wanted.ack_wait);
    check.need(
        found.ack_wait >= least || !found.backoff.is_empty(),
        "ack_wait",
        found.ack_wait,
        format!("{least:?} or more"),
        "live work would be sent twice",
        set("ack_wait", nanos(wanted.ack_wait)),
    );
    check.doubt(
        found.ack_wait >= wanted.ack_wait || found.ack_wait < least || !found.backoff.is_empty(),
        "ack_wait",
        found.ack_wait,
        format!("{:?}, as configured", wanted.ack_wait),
        "an election of 4 to 11 s uses most of it, and work in hand is handed out again",
        set("ack_wait", nanos(wanted.ack_wait)),
    );
    check.doubt(
        found.ack_wait <= MOST_ACK_WAIT.max(wanted.ack_wait),
        "ack_wait",
        found.ack_wait,
        format!("{MOST_ACK_WAIT:?} or less"),
        "the work of a process that died lies about for so long",
        set("ack_wait", nanos(wanted.ack_wait)),
    );
    let least = LEAST_ACK_PENDING.min(wanted.max_ack_pending);
    check.need(
        found.max_ack_pending <= 0 || found.max_ack_pending >= least,
        "max_ack_pending",
        found.max_ack_pending,
        format!("{least} or more"),
        "a few messages that wait would keep all others from everybody",
        set("max_ack_pending", wanted.max_ack_pending),
    );
    check.doubt(
        !found.memory_storage,
        "mem_storage",
        true,
        "false",
        "a restart would hand out everything again, to find it done",
        Remedy::ByHand(RECREATE),
    );
}
