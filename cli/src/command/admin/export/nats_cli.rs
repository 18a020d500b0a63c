//! A script for the `nats` command: each configuration as the file that `--config` takes.

use std::fmt::Write;

use fanfare_nats::stream::{Definition, Kind};

const HEAD: &str = "\
#!/bin/sh
# What fanfare stores on NATS, made by `fanfare admin export --format nats-cli`. It creates and changes
# nothing: what exists already ends the script. Connection: a context of the nats command, or NATS_URL.
#
# A consumer of tasks that is made anew has to have a greater fanfare.lane_epoch than the one before:
# print this script again then.
set -eu
";

pub(super) fn script(definitions: &[Definition]) -> String {
    let mut text = HEAD.to_owned();
    for Definition { kind, name, config } in definitions {
        let command = match kind {
            Kind::Stream | Kind::Bucket(_) => format!("nats stream add {name}"),
            Kind::Consumer(stream) => format!("nats consumer add {stream} {name}"),
        };
        // Writing to a String cannot fail. Names and subjects have no quotes.
        let _ok = writeln!(
            text,
            "\n{command} --config /dev/stdin <<'JSON'\n{config:#}\nJSON"
        );
    }
    text
}
