//! `fanfare admin export`: what `admin apply` makes, for the tools that make it instead.
//!
//! One owner only: a tool that sets back what another has set is worse than either.

mod nack;
mod nats_cli;
mod terraform;

use clap::ValueEnum;
use fanfare_nats::stream::{Definition, Kind};
use serde_json::{Value, json};

/// The form of the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One object of JSON, each configuration as the broker's own interface has it
    Json,
    /// A shell script for the nats command
    NatsCli,
    /// For the provider nats-io/jetstream
    Terraform,
    /// Resources of NACK, the JetStream controller for Kubernetes
    Nack,
}

/// The definitions in a form.
pub(super) fn text(format: Format, definitions: &[Definition]) -> String {
    match format {
        Format::Json => format!("{:#}\n", json_of(definitions)),
        Format::NatsCli => nats_cli::script(definitions),
        Format::Terraform => terraform::text(definitions),
        Format::Nack => nack::manifests(definitions),
    }
}

fn json_of(definitions: &[Definition]) -> Value {
    let (mut streams, mut consumers) = (Vec::new(), Vec::new());
    for Definition { kind, config, .. } in definitions {
        match kind {
            Kind::Stream | Kind::Bucket(_) => streams.push(config.clone()),
            Kind::Consumer(stream) => {
                consumers.push(json!({ "stream_name": stream, "config": config }));
            }
        }
    }
    json!({ "streams": streams, "consumers": consumers })
}

/// A member of a configuration as text.
fn word<'a>(config: &'a Value, key: &str) -> &'a str {
    config.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A member as a number; 0 where there is none.
fn number(config: &Value, key: &str) -> i64 {
    config.get(key).and_then(Value::as_i64).unwrap_or_default()
}

/// A duration of a configuration in whole seconds.
fn seconds(config: &Value, key: &str) -> i64 {
    number(config, key) / 1_000_000_000
}

fn is_set(config: &Value, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fanfare_nats::stream::Topology;
    use fanfare_nats::subject::Names;
    use fanfare_nats::{AppName, Lane, Urgency};

    use super::*;

    fn definitions() -> Vec<Definition> {
        let lane = Lane {
            app: AppName::parse("myapp").unwrap(),
            urgency: Urgency::Urgent,
        };
        Topology::new(3, vec![lane]).definitions(&Names::default())
    }

    /// Compared with a file; `FANFARE_BLESS=1` writes it anew.
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    fn check(format: Format, file: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/command/admin/export/tests");
        let file = folder.join(file);
        let text = text(format, &definitions());
        if std::env::var("FANFARE_BLESS").is_ok() {
            std::fs::write(&file, &text).unwrap();
        }
        let known = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, known, "{}", file.display());
    }

    #[test]
    fn each_form_is_as_it_was_tried_with_its_tool() {
        check(Format::Json, "topology.json");
        check(Format::NatsCli, "topology.sh");
        check(Format::Terraform, "topology.tf");
        check(Format::Nack, "topology.yaml");
    }

    #[test]
    fn no_form_leaves_anything_out() {
        for format in [
            Format::Json,
            Format::NatsCli,
            Format::Terraform,
            Format::Nack,
        ] {
            let text = text(format, &definitions());
            for Definition { kind, name, .. } in definitions() {
                let name = match kind {
                    Kind::Bucket(bucket) => bucket,
                    Kind::Stream | Kind::Consumer(_) => name,
                };
                assert!(text.contains(&name), "{format:?}: {name}");
            }
        }
    }
}
