//! Logs and metrics of the process.

mod json;

use std::io::IsTerminal;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{DefaultFields, Format, JsonFields};
use tracing_subscriber::fmt::{MakeWriter, SubscriberBuilder};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};

/// What is logged when nobody says otherwise.
/// The client library tells at `info` what our own lines say better.
const USUAL_FILTER: &str = "info,async_nats=warn";

/// Starts logging to standard error; standard output belongs to the commands. A second call in
/// the same process changes nothing.
pub(crate) fn start_logs(config: &LogConfig, rust_log: Option<&str>) {
    let filter = config
        .filter
        .as_deref()
        .or(rust_log)
        .unwrap_or(USUAL_FILTER);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(USUAL_FILTER));
    let is_terminal = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let discreet = filter_fn(is_discreet);
    let started = match config.format {
        LogFormat::Auto if is_terminal => logs.with_ansi(true).finish().with(discreet).try_init(),
        LogFormat::Text => logs
            .with_ansi(is_terminal)
            .finish()
            .with(discreet)
            .try_init(),
        LogFormat::Auto | LogFormat::Json => json_lines(logs).finish().with(discreet).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started before");
    }
}

/// Whether a line may be written, whatever the filter asks for: below `info` the client library writes
/// whole messages, and with them tokens and users.
fn is_discreet(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next();
    library != Some("async_nats") || *line.level() <= Level::INFO
}

/// The same logs as JSON.
fn json_lines<F, W>(
    logs: SubscriberBuilder<DefaultFields, Format, F, W>,
) -> SubscriberBuilder<JsonFields, json::JsonLines, F, W>
where
    W: for<'w> MakeWriter<'w> + 'static,
{
    logs.fmt_fields(JsonFields::new())
        .event_format(json::JsonLines)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set by whoever builds a release.
const COMMIT: Option<&str> = option_env!("FANFARE_COMMIT");

/// What is running, as others are told of it.
pub(crate) fn version() -> String {
    match COMMIT {
        Some(commit) => format!("{VERSION}+{commit}"),
        None => VERSION.to_owned(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    commit: &'static str,
}

/// The metrics of this process, with what it is.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::with_prefix("fanfare");
    let info = Family::<Build, Gauge>::default();
    let (version, commit) = (VERSION, COMMIT.unwrap_or("unknown"));
    info.get_or_create(&Build { version, commit }).set(1);
    registry.register("build_info", "What is running", info);
    registry
}
