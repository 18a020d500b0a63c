//! Resources for Terraform. What the provider's documented attributes cannot say is left to the
//! `nats` command, which Terraform runs.

use std::fmt::Write;

use fanfare_nats::stream::{Definition, Kind};
use serde_json::Value;

use super::{is_set, number, seconds, word};

const HEAD: &str = "\
# What fanfare stores on NATS, made by `fanfare admin export --format terraform`, for the provider
# nats-io/jetstream. It wants to be the only owner: leave `fanfare admin apply` and
# `[nats] manage = \"auto\"`. `fanfare admin verify` checks the result.
#
# The provider has no attributes for atomic batches, schedules and times to live of messages (as of
# 0.2): such streams are made by the nats command, with its selected context.

terraform {
  required_providers {
    jetstream = { source = \"nats-io/jetstream\" }
  }
}
";

/// What the provider cannot say of a stream.
const BEYOND: [&str; 3] = ["allow_atomic", "allow_msg_schedules", "allow_msg_ttl"];

pub(super) fn text(definitions: &[Definition]) -> String {
    let mut text = HEAD.to_owned();
    for definition in definitions {
        let config = &definition.config;
        // Writing to a String cannot fail.
        let _ok = match &definition.kind {
            Kind::Bucket(bucket) => writeln!(text, "\n{}", self::bucket(bucket, config)),
            Kind::Stream if is_beyond(config) => {
                writeln!(text, "\n{}", by_command(&definition.name, config))
            }
            Kind::Stream => writeln!(text, "\n{}", stream(&definition.name, config)),
            Kind::Consumer(stream) => {
                let of = definitions.iter().find(|it| it.name == *stream);
                let is_beyond = of.is_some_and(|it| is_beyond(&it.config));
                writeln!(text, "\n{}", consumer(stream, is_beyond, config))
            }
        };
    }
    text
}

fn is_beyond(config: &Value) -> bool {
    BEYOND.iter().any(|it| is_set(config, it))
}

/// One resource: its attributes stand below each other, as `terraform fmt` wants them.
fn resource(kind: &str, name: &str, attributes: &[(&str, String)]) -> String {
    let width = attributes.iter().map(|(key, _)| key.len()).max();
    let width = width.unwrap_or_default();
    let mut text = format!("resource \"{kind}\" \"{name}\" {{\n");
    for (key, value) in attributes {
        let _ok = writeln!(text, "  {key:width$} = {value}");
    }
    text.push('}');
    text
}

/// JSON's strings and lists are HCL's, but for the templates that start with `${` and `%{`; no
/// subject has them.
fn quoted(value: &str) -> String {
    Value::from(value).to_string()
}

fn bucket(name: &str, config: &Value) -> String {
    let attributes = [
        ("name", quoted(name)),
        (
            "history",
            number(config, "max_msgs_per_subject").to_string(),
        ),
        ("replicas", number(config, "num_replicas").to_string()),
        (
            "limit_marker_ttl",
            seconds(config, "subject_delete_marker_ttl").to_string(),
        ),
    ];
    resource("jetstream_kv_bucket", name, &attributes)
}

fn stream(name: &str, config: &Value) -> String {
    let subjects = config.get("subjects").cloned().unwrap_or_default();
    let subjects: Vec<_> = subjects.as_array().into_iter().flatten().collect();
    let subjects: Vec<_> = subjects.iter().map(ToString::to_string).collect();
    let bool = |key| is_set(config, key).to_string();
    let attributes = [
        ("name", quoted(name)),
        ("subjects", format!("[{}]", subjects.join(", "))),
        ("retention", quoted(word(config, "retention"))),
        ("storage", quoted(word(config, "storage"))),
        ("discard", quoted(word(config, "discard"))),
        ("max_age", seconds(config, "max_age").to_string()),
        ("max_bytes", number(config, "max_bytes").to_string()),
        ("replicas", number(config, "num_replicas").to_string()),
        ("allow_direct", bool("allow_direct")),
        ("deny_delete", bool("deny_delete")),
        ("deny_purge", bool("deny_purge")),
    ];
    resource("jetstream_stream", name, &attributes)
}

fn by_command(name: &str, config: &Value) -> String {
    format!(
        "resource \"terraform_data\" \"{name}\" {{\n  provisioner \"local-exec\" {{\n    \
         command = <<-SH\n      nats stream add {name} --config /dev/stdin <<'JSON'\n      \
         {config}\n      JSON\n    SH\n  }}\n}}"
    )
}

fn consumer(stream: &str, is_beyond: bool, config: &Value) -> String {
    let name = word(config, "durable_name");
    let stream_id = if is_beyond {
        // The provider's own name for a stream; the resource above makes it.
        quoted(&format!("JETSTREAM_STREAM_{stream}"))
    } else {
        format!("jetstream_stream.{stream}.id")
    };
    let metadata = config.get("metadata").and_then(Value::as_object);
    let metadata = metadata.into_iter().flatten();
    let metadata: Vec<_> = metadata
        .map(|(key, value)| format!("{} = {value}", quoted(key)))
        .collect();
    let begins = match word(config, "deliver_policy") {
        "new" => "deliver_new",
        _ => "deliver_all",
    };
    let mut attributes = vec![
        ("stream_id", stream_id),
        ("durable_name", quoted(name)),
        ("filter_subject", quoted(word(config, "filter_subject"))),
        (begins, "true".to_owned()),
        ("ack_policy", quoted(word(config, "ack_policy"))),
        ("ack_wait", seconds(config, "ack_wait").to_string()),
        ("max_delivery", number(config, "max_deliver").to_string()),
        (
            "max_ack_pending",
            number(config, "max_ack_pending").to_string(),
        ),
        ("max_waiting", number(config, "max_waiting").to_string()),
    ];
    if is_set(config, "headers_only") {
        attributes.push(("headers_only", "true".to_owned()));
    }
    if !metadata.is_empty() {
        attributes.push(("metadata", format!("{{ {} }}", metadata.join(", "))));
    }
    if is_beyond {
        attributes.push(("depends_on", format!("[terraform_data.{stream}]")));
    }
    let mut text = resource("jetstream_consumer", name, &attributes);
    if !metadata.is_empty() {
        text.truncate(text.len() - 1);
        // A restore raises the epoch, and a smaller one must never come back.
        text.push_str("\n  lifecycle {\n    ignore_changes = [metadata]\n  }\n}");
    }
    text
}
