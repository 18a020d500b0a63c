//! `fanfare sources`: how far each source is read and by whom, and an operator's pause.
//!
//! A pause is a record that every fetcher follows within about a second. It survives restarts and
//! ends by itself.

use std::fmt::Write;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::event::SourceName;
use fanfare_nats::permissions::Role as User;
use fanfare_nats::sources::SourceReport;
use fanfare_nats::{Broker, Tenant};
use fanfare_nats_server::Environment;
use jiff::{SignedDuration, Timestamp};

use super::dead_letters::table;
use super::lanes::{FOR_EVER, lasting, shown};
use super::reach::Reach;
use super::{Common, audit};
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Sources {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows every source that was ever begun: when its cursors advanced, who holds its lease, and
    /// until when it is paused
    List {
        /// One object of JSON a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Stops every fetcher from reading a source; its cursor stays
    Pause {
        /// The source, as `list` shows it
        #[arg(value_name = "SOURCE")]
        source: String,
        /// For how long, for example 90s, 30m or 2h [default: until it is resumed]
        #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
        lasting: Option<SignedDuration>,
        #[command(flatten)]
        reach: Reach,
    },
    /// Ends a pause
    Resume {
        /// The source, as `list` shows it
        #[arg(value_name = "SOURCE")]
        source: String,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Sources {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        let now = crate::clock::now();
        match self.what {
            What::List { json, reach } => {
                let broker = reach.broker(&config, environment, "sources").await?;
                let sources = broker.sources(now).await.map_err(anyhow::Error::from)?;
                let text = if json {
                    as_json(&sources)
                } else {
                    as_table(&sources, now)
                };
                print!("{text}");
                Ok(())
            }
            What::Pause {
                source,
                lasting,
                reach,
            } => {
                let broker = reach.broker(&config, environment, "sources").await?;
                let source = known(&broker, &source, now).await?;
                let until = now + lasting.unwrap_or(FOR_EVER);
                let paused = broker.pause_source(&source, until, now).await;
                paused.context("it is not known whether the source is paused")?;
                match lasting {
                    Some(_) => println!("{source} is paused until {}", shown(until)),
                    None => println!("{source} is paused until it is resumed"),
                }
                note(&broker, "pauseSource", &source).await
            }
            What::Resume { source, reach } => {
                let broker = reach.broker(&config, environment, "sources").await?;
                let source = known(&broker, &source, now).await?;
                let resumed = broker.resume_source(&source).await;
                resumed.context("it is not known whether the source is paused")?;
                println!("{source} is not paused");
                note(&broker, "resumeSource", &source).await
            }
        }
    }
}

async fn note(broker: &Broker, what: &str, source: &SourceName) -> Result<(), Failure> {
    let of = [("source", source.to_string())];
    audit::note(broker, User::Ops, &Tenant::main(), what, of).await
}

/// A source that there is; another name is a mistyped one, whose pause would stop nothing.
async fn known(broker: &Broker, name: &str, now: Timestamp) -> anyhow::Result<SourceName> {
    let sources = broker.sources(now).await?;
    let source = SourceName::parse(name).ok();
    let source = source.filter(|it| sources.iter().any(|known| known.source == it.as_str()));
    source.with_context(|| {
        let names: Vec<_> = sources.iter().map(|it| it.source.as_str()).collect();
        match names.as_slice() {
            [] => "no source was ever begun here".to_owned(),
            names => format!("there is no such source; there are {}", names.join(", ")),
        }
    })
}

fn as_table(sources: &[SourceReport], now: Timestamp) -> String {
    let rows: Vec<[String; 4]> = sources.iter().map(|it| row(it, now)).collect();
    let head = ["source", "cursor advanced", "lease", "paused until"];
    table::of(head, &rows)
}

fn row(source: &SourceReport, now: Timestamp) -> [String; 4] {
    let advanced = source.cursors.values().max();
    let holder = source.lease.as_ref().map(|it| match &it.holder {
        Some(holder) => holder.node.clone(),
        None => "nobody".to_owned(),
    });
    let until = source.pause.as_ref().map(|it| match it.until {
        until if until > now + FOR_EVER / 2 => "it is resumed".to_owned(),
        until => shown(until),
    });
    [
        source.source.clone(),
        advanced.map_or_else(|| "-".to_owned(), |it| shown(*it)),
        holder.unwrap_or_else(|| "-".to_owned()),
        until.unwrap_or_default(),
    ]
}

fn as_json(sources: &[SourceReport]) -> String {
    sources.iter().fold(String::new(), |mut text, it| {
        let cursors = it.cursors.iter();
        let cursors = cursors.map(|(input, at)| serde_json::json!({"input": input, "at": at}));
        let holder = it.lease.as_ref().and_then(|it| it.holder.as_ref());
        let line = serde_json::json!({
            "source": it.source,
            "cursors": cursors.collect::<Vec<_>>(),
            "holder": holder.map(|it| &it.node),
            "paused_until": it.pause.as_ref().map(|it| it.until),
        });
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{line}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fanfare_nats::pause::SourcePause;

    use super::*;

    fn sources() -> Vec<SourceReport> {
        let at = |it| Timestamp::from_second(it).unwrap();
        let source = |name: &str, until: Option<i64>| SourceReport {
            source: name.to_owned(),
            cursors: BTreeMap::from([(0, at(60)), (1, at(120))]),
            lease: None,
            pause: until.map(|it| SourcePause {
                source: name.to_owned(),
                until: at(it),
                since: at(0),
            }),
        };
        let mut news = source("news", Some(24 * 3600 * 3652));
        news.cursors.clear();
        vec![news, source("usgs", Some(3600)), source("x", None)]
    }

    #[test]
    fn a_table_has_a_line_for_each_source() {
        let expected = "\
source  cursor advanced       lease  paused until
news    -                     -      it is resumed
usgs    1970-01-01T00:02:00Z  -      1970-01-01T01:00:00Z
x       1970-01-01T00:02:00Z  -
";
        assert_eq!(as_table(&sources(), Timestamp::UNIX_EPOCH), expected);
    }

    #[test]
    fn json_has_an_object_for_each_source() {
        let text = as_json(&sources());
        let first: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!(first["source"], "usgs");
        assert_eq!(first["cursors"][1]["at"], "1970-01-01T00:02:00Z");
        assert_eq!(text.lines().count(), 3);
    }
}
