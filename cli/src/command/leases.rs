//! `fanfare leases`: which fetcher reads each exclusive source, and an operator's wishes about that.

mod table;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::event::SourceName;
use fanfare_nats::lease::{LeaseError, Withdrawn};
use fanfare_nats::permissions::Role as User;
use fanfare_nats::{Broker, Tenant};
use fanfare_nats_server::Environment;
use jiff::SignedDuration;

use super::reach::Reach;
use super::{Common, audit};
use crate::exit::Failure;

/// How long a preference holds that says nothing else.
const USUAL: SignedDuration = SignedDuration::from_hours(24);
/// The longest: a wish that nobody remembers should end by itself.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 365);

/// The role whose members hold leases.
const ROLE: &str = "fetcher";

#[derive(Args)]
pub(crate) struct Leases {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows every lease: who reads the source, since when, and what is preferred
    List {
        /// One object of JSON a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Takes a lease away: its holder closes its connections at its next renewal (within 4 s), then
    /// another fetcher reads; the one that had it comes last
    Release {
        /// The source, as `list` shows it
        #[arg(value_name = "SOURCE")]
        source: String,
        /// One object of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Wishes that a node (or all nodes of a host) reads: it takes over when it has been well for a
    /// minute
    Prefer {
        /// The node or host, as `fanfare members` shows it
        #[arg(value_name = "NODE", required_unless_present = "forget")]
        node: Option<String>,
        /// For this source only, instead of all
        #[arg(long = "for", value_name = "SOURCE")]
        source: Option<String>,
        /// How long the wish holds, for example 30m, 8h [default: 24h]
        #[arg(long, value_name = "TIME", value_parser = lasting)]
        lasting: Option<SignedDuration>,
        /// Takes the wish back
        #[arg(long, conflicts_with_all = ["node", "lasting"])]
        forget: bool,
        /// One object of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

impl Leases {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        match self.what {
            What::List { json, reach } => {
                let broker = reach.broker(&config, environment, "leases").await?;
                let leases = broker.leases().await.map_err(anyhow::Error::from)?;
                let wishes = broker.preferences().await.map_err(anyhow::Error::from)?;
                let text = if json {
                    table::as_json(&leases, &wishes)
                } else {
                    table::as_table(&leases, &wishes, crate::clock::now())
                };
                print!("{text}");
                Ok(())
            }
            What::Release {
                source,
                json,
                reach,
            } => {
                let source = read(&source)?;
                let broker = reach.broker(&config, environment, "leases").await?;
                release(&broker, &source, json).await
            }
            What::Prefer {
                node,
                source,
                lasting,
                json,
                reach,
                ..
            } => {
                let source = source.as_deref().map(read).transpose()?;
                let broker = reach.broker(&config, environment, "leases").await?;
                let lasting = lasting.unwrap_or(USUAL);
                match node {
                    Some(node) => prefer(&broker, source.as_ref(), &node, lasting, json).await,
                    None => forget(&broker, source.as_ref(), json).await,
                }
            }
        }
    }
}

async fn release(broker: &Broker, source: &SourceName, json: bool) -> Result<(), Failure> {
    let done = broker.withdraw_lease(source).await;
    let Withdrawn { node, number } = known(done, broker).await?;
    if json {
        let text = serde_json::json!({
            "source": source.to_string(), "node": node, "lease": number,
        });
        println!("{text}");
    } else {
        println!("{source}: lease {number} of {node} is taken away");
    }
    note(broker, "releaseLease", Some(source)).await
}

async fn forget(broker: &Broker, source: Option<&SourceName>, json: bool) -> Result<(), Failure> {
    let forgotten = broker.forget_preference(source).await;
    forgotten.map_err(anyhow::Error::from)?;
    let name = source.map(ToString::to_string);
    if json {
        println!("{}", serde_json::json!({ "source": name, "node": null }));
    } else {
        let of = name.as_deref().unwrap_or("all sources");
        println!("nothing is preferred for {of}");
    }
    note(broker, "forgetPreference", source).await
}

async fn prefer(
    broker: &Broker,
    source: Option<&SourceName>,
    node: &str,
    lasting: SignedDuration,
    json: bool,
) -> Result<(), Failure> {
    let members = broker.members(ROLE).await.map_err(anyhow::Error::from)?;
    if !members.iter().any(|it| it.node == node || it.host == node) {
        let mut names: Vec<_> = members.iter().map(|it| it.node.as_str()).collect();
        names.sort_unstable();
        let there = match names.as_slice() {
            [] => "no fetcher runs".to_owned(),
            names => format!("the fetchers are {}", names.join(", ")),
        };
        return Err(anyhow::anyhow!("no fetcher is called {node:?}: {there}").into());
    }
    let lasting = Duration::try_from(lasting).unwrap_or_default();
    let wish = broker.prefer_holder(source, node, lasting).await;
    let wish = wish.map_err(anyhow::Error::from)?;
    if json {
        let text = serde_json::json!({
            "source": wish.source, "node": wish.node, "until": wish.until,
        });
        println!("{text}");
    } else {
        let of = wish.source.as_deref().unwrap_or("every exclusive source");
        println!(
            "{node} is preferred for {of} until {}",
            table::shown(wish.until)
        );
    }
    note(broker, "preferHolder", source).await
}

/// A wish that names no source is about all.
async fn note(broker: &Broker, what: &str, source: Option<&SourceName>) -> Result<(), Failure> {
    let source = source.map_or_else(|| "*".to_owned(), ToString::to_string);
    let of = [("source", source)];
    audit::note(broker, User::Ops, &Tenant::main(), what, of).await
}

fn read(source: &str) -> Result<SourceName, Failure> {
    SourceName::parse(source)
        .map_err(|error| Failure::Usage(format!("{source:?} is no source: {error}")))
}

fn lasting(text: &str) -> Result<SignedDuration, String> {
    let lasting: SignedDuration = text.parse().map_err(|_| "is no time such as 30m")?;
    if lasting >= SignedDuration::from_secs(1) && lasting <= LONGEST {
        Ok(lasting)
    } else {
        Err("must be a second or more and at most a year".to_owned())
    }
}

/// Names the leases that there are where the one that was named is not among them.
async fn known<T>(done: Result<T, LeaseError>, broker: &Broker) -> anyhow::Result<T> {
    let error = match done {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    if !matches!(error, LeaseError::NotHeld(_)) {
        return Err(error.into());
    }
    let leases = broker.leases().await.unwrap_or_default();
    let held = leases.iter().filter(|it| it.holder.is_some());
    let names: Vec<_> = held.map(|it| it.source.as_str()).collect();
    Err(error).context(match names.as_slice() {
        [] => "no exclusive source is read at the moment".to_owned(),
        names => format!("leases are held of {}", names.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_are_read_as_people_write_them() {
        assert_eq!(lasting("8h"), Ok(SignedDuration::from_hours(8)));
        for wrong in ["0s", "-1h", "soon", "100000h"] {
            assert!(lasting(wrong).is_err(), "{wrong}");
        }
        assert!(read("Not one").is_err() && read("usgs").is_ok());
    }
}
