//! `fanfare doctor --plan`: what a load takes, before anything is installed.

use std::fmt::Write;

use fanfare_nats::subject::Names;
use fanfare_nats::survey::{self, Forecast, Load};
use serde_json::json;

use crate::config::Config;
use crate::exit::Failure;
use crate::roles;

pub(super) fn run(load: &str, config: &Config, is_json: bool) -> Result<(), Failure> {
    let replicas = config.own.nats.replicas.unwrap_or(1);
    let load = Load::parse(load, replicas).map_err(|error| Failure::Usage(error.to_string()))?;
    let topology = roles::topology(config, load.replicas)?;
    let prefix = config.own.nats.prefix.as_deref().unwrap_or("fanfare");
    // A wrong prefix was refused with the rest of the configuration.
    let names = Names::with_prefix(prefix).unwrap_or_default();
    let forecast = survey::forecast(&load, &topology, &names);
    print!(
        "{}",
        if is_json {
            as_json(&forecast)
        } else {
            as_text(&load, &forecast)
        }
    );
    Ok(())
}

fn as_json(forecast: &Forecast) -> String {
    let parts: Vec<_> = forecast
        .parts
        .iter()
        .map(|it| {
            json!({
                "name": it.name,
                "messages": it.n_messages.round(),
                "subjects": it.n_subjects.round(),
                "bytes": it.bytes.round(),
                "limit_bytes": it.limit,
            })
        })
        .collect();
    let advice: Vec<_> = forecast
        .findings
        .iter()
        .map(|it| json!({ "text": it.text, "advice": it.advice }))
        .collect();
    let told = json!({
        "broker": { "disk_bytes": forecast.disk.round(), "memory_bytes": forecast.memory.round() },
        "notifier": { "memory_bytes": forecast.notifier.round() },
        "api": { "memory_bytes": forecast.api.round() },
        "fetcher": { "memory_bytes": forecast.fetcher.round() },
        "seconds_an_event": forecast.seconds_an_event,
        "stored": parts,
        "findings": advice,
    });
    format!("{told:#}\n")
}

fn as_text(load: &Load, forecast: &Forecast) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    let _ok = writeln!(
        text,
        "{:22} {:>14} {:>14}",
        "stored on each broker", "messages", "bytes"
    );
    for part in &forecast.parts {
        let size = size(part.bytes);
        let _ok = writeln!(
            text,
            "{:22} {:>14.0} {size:>14}",
            part.name, part.n_messages
        );
    }
    let lines = [
        ("each broker, disk", size(forecast.disk)),
        ("each broker, memory", size(forecast.memory)),
        ("each notifier, memory", size(forecast.notifier)),
        ("each API, memory", size(forecast.api)),
        ("each fetcher, memory", size(forecast.fetcher)),
    ];
    text.push('\n');
    for (what, size) in lines {
        let _ok = writeln!(text, "{what:22} {size:>14}");
    }
    let _ok = writeln!(
        text,
        "\nbrokers: {}; an event to its whole audience takes one notifier on two cores about {:.0} s,\n\
         or as long as its provider wants. Leave twice the memory: a load of the index, an election\n\
         and a restart of a server need more for a moment.",
        load.replicas, forecast.seconds_an_event
    );
    for finding in &forecast.findings {
        let (seen, advice) = (&finding.text, &finding.advice);
        let _ok = writeln!(text, "{}: {seen}\n  → {advice}", finding.severity.word());
    }
    text
}

fn size(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; the conversion saturates"
    )]
    let bytes = bytes.round() as u64;
    survey::bytes(bytes)
}
