//! `fanfare dead-letters`: what was given up, looked at and sent again.

mod filter;
mod list;
mod progress;
mod replay;
mod show;
pub(super) mod table;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::Broker;
use fanfare_nats::dead::Entry;
use fanfare_nats_server::Environment;

use self::filter::Filter;
use super::Common;
use super::reach::Reach;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows what was given up, the oldest first, and what became of it since
    List {
        #[command(flatten)]
        filter: Filter,
        /// One object of JSON a line, with everything that the letter holds
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Shows everything about one letter
    Show {
        /// Its number, as `list` shows it
        #[arg(value_name = "SEQ")]
        seq: u64,
        /// One object of JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Sends again what nobody has accepted; doing it twice sends nothing twice
    Replay {
        #[command(flatten)]
        asked: replay::Asked,
        #[command(flatten)]
        reach: Reach,
    },
}

impl DeadLetters {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        let now = crate::clock::now();
        match self.what {
            What::List {
                filter,
                json,
                reach,
            } => {
                let wanted = filter.wanted(now)?;
                let broker = reach.broker(&config, environment, "dead-letters").await?;
                list::run(&broker, &wanted, json, now).await
            }
            What::Show { seq, json, reach } => {
                let broker = reach.broker(&config, environment, "dead-letters").await?;
                let entry = letter(&broker, seq).await?;
                show::run(&broker, &entry, json, now).await
            }
            What::Replay { asked, reach } => {
                let chosen = asked.chosen(now)?;
                let broker = reach.broker(&config, environment, "dead-letters").await?;
                let ended = chosen.run(&broker, now).await;
                broker.flush().await;
                ended
            }
        }
    }
}

/// One letter, which must be there.
async fn letter(broker: &Broker, seq: u64) -> Result<Entry, Failure> {
    let entry = broker.dead_letter(seq).await;
    let entry = entry.context("the letter cannot be read")?;
    entry.ok_or_else(|| anyhow::anyhow!("there is no dead letter {seq}").into())
}
