//! Resources of NACK. Buckets are told as the streams they are, because its `KeyValue` resource
//! cannot say all of it.

use std::fmt::Write;

use fanfare_nats::stream::{Definition, Kind};
use serde_json::{Map, Value, json};

use super::{is_set, number, seconds, word};

const HEAD: &str = "\
# What fanfare stores on NATS, made by `fanfare admin export --format nack`, for the controller NACK
# (jetstream.nats.io/v1beta2, with the fields of 2026: allowAtomicPublish, allowMsgSchedules,
# allowMsgTtl). It wants to be the only owner: leave `fanfare admin apply` and `[nats] manage = \"auto\"`.
#
# A consumer of tasks that is made anew has to have a greater fanfare.lane_epoch than the one before,
# and after a restore `fanfare admin apply --restored` raises it: print this file again then.
";

pub(super) fn manifests(definitions: &[Definition]) -> String {
    let mut text = HEAD.to_owned();
    for Definition { kind, name, config } in definitions {
        let (resource, spec) = match kind {
            Kind::Stream | Kind::Bucket(_) => ("Stream", stream(config)),
            Kind::Consumer(of) => ("Consumer", consumer(of, config)),
        };
        let object = name.to_lowercase().replace('_', "-");
        // Writing to a String cannot fail.
        let _ok = writeln!(
            text,
            "---\napiVersion: jetstream.nats.io/v1beta2\nkind: {resource}\n\
             metadata:\n  name: {object}\nspec:"
        );
        for (key, value) in &spec {
            // JSON is YAML: quotes, lists and maps need no care.
            let _ok = writeln!(text, "  {key}: {value}");
        }
    }
    text
}

fn stream(config: &Value) -> Map<String, Value> {
    let mut spec = Map::new();
    for (key, of) in [
        ("name", "name"),
        ("subjects", "subjects"),
        ("retention", "retention"),
        ("storage", "storage"),
        ("discard", "discard"),
    ] {
        spec.insert(key.to_owned(), config.get(of).cloned().unwrap_or_default());
    }
    spec.insert("replicas".to_owned(), number(config, "num_replicas").into());
    for (key, of) in [
        ("maxMsgs", "max_msgs"),
        ("maxBytes", "max_bytes"),
        ("maxMsgsPerSubject", "max_msgs_per_subject"),
        ("maxMsgSize", "max_msg_size"),
    ] {
        // The broker takes 0 for no limit, the controller wants -1.
        let limit = Some(number(config, of)).filter(|it| *it != 0).unwrap_or(-1);
        spec.insert(key.to_owned(), limit.into());
    }
    for (key, of) in [
        ("maxAge", "max_age"),
        ("duplicateWindow", "duplicate_window"),
        ("subjectDeleteMarkerTtl", "subject_delete_marker_ttl"),
    ] {
        if let seconds @ 1.. = seconds(config, of) {
            spec.insert(key.to_owned(), format!("{seconds}s").into());
        }
    }
    for (key, of) in [
        ("allowAtomicPublish", "allow_atomic"),
        ("allowMsgSchedules", "allow_msg_schedules"),
        ("allowMsgTtl", "allow_msg_ttl"),
        ("allowDirect", "allow_direct"),
        ("allowRollup", "allow_rollup_hdrs"),
        ("denyDelete", "deny_delete"),
        ("denyPurge", "deny_purge"),
    ] {
        spec.insert(key.to_owned(), is_set(config, of).into());
    }
    spec
}

fn consumer(stream: &str, config: &Value) -> Map<String, Value> {
    let spec = json!({
        "streamName": stream,
        "durableName": word(config, "durable_name"),
        "filterSubject": word(config, "filter_subject"),
        "deliverPolicy": word(config, "deliver_policy"),
        "ackPolicy": word(config, "ack_policy"),
        "maxDeliver": number(config, "max_deliver"),
        "maxWaiting": number(config, "max_waiting"),
        "metadata": config.get("metadata").cloned().unwrap_or_else(|| json!({})),
    });
    let mut spec = match spec {
        Value::Object(spec) => spec,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    // One that nothing is acknowledged of has neither.
    if let seconds @ 1.. = seconds(config, "ack_wait") {
        spec.insert("ackWait".to_owned(), format!("{seconds}s").into());
    }
    if let limit @ 1.. = number(config, "max_ack_pending") {
        spec.insert("maxAckPending".to_owned(), limit.into());
    }
    if is_set(config, "headers_only") {
        spec.insert("headersOnly".to_owned(), true.into());
    }
    spec
}
