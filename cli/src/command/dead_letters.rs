//! `fanfare dead-letters`: what was given up, looked at and sent again.

mod fate;
mod filter;
mod list;
mod progress;
mod replay;
mod show;
mod table;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::Broker;
use fanfare_nats::dead::Entry;
use fanfare_nats_server::Environment;

use self::filter::Filter;
use super::{Common, embedded};
use crate::connect::{self, NatsFlags, Selected, UserFlags};
use crate::exit::Failure;
use crate::roles::{self, Process};

#[derive(Args)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    what: What,
}

#[derive(Args)]
struct Reach {
    #[command(flatten)]
    nats: NatsFlags,
    #[command(flatten)]
    user: UserFlags,
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
        let now = crate::clock::now();
        match self.what {
            What::List {
                filter,
                json,
                reach,
            } => {
                let wanted = filter.wanted(now)?;
                let broker = reach.broker(common, environment).await?;
                list::run(&broker, &wanted, json, now).await
            }
            What::Show { seq, json, reach } => {
                let broker = reach.broker(common, environment).await?;
                let entry = letter(&broker, seq).await?;
                show::run(&broker, &entry, json, now).await
            }
            What::Replay { asked, reach } => {
                let chosen = asked.chosen(now)?;
                let broker = reach.broker(common, environment).await?;
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

impl Reach {
    /// Connects to the system that runs.
    async fn broker(self, common: &Common, environment: &Environment) -> Result<Broker, Failure> {
        let config = common.load(environment)?;
        let nats = self.nats.with_user(self.user.user, self.user.password);
        let is_given = connect::names_a_server(&nats, &config.own.nats, environment);
        let own = (!is_given)
            .then(|| embedded::running(environment, "dead-letters"))
            .flatten();
        let selected = match own {
            Some(_) => Selected::IsIgnored,
            None => Selected::Counts,
        };
        let mut options = connect::options(&nats, &config.own.nats, environment, selected)?;
        if let Some((url, user)) = own {
            options.servers = vec![url];
            options.user = Some(user);
        }
        let process = Process::new(&config, environment);
        roles::connect(options, "dead-letters", &process).await
    }
}
