//! `fanfare members`: every process that runs, in each of its roles.
//!
//! Members are records that go away by themselves: one that died is shown until 20 s after its last
//! renewal, and one that is cut off from the broker is not shown although it lives.

mod shown;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fanfare_nats::Broker;
use fanfare_nats::members::Seen;
use fanfare_nats_server::Environment;

use self::shown::Row;
use super::Common;
use super::reach::Reach;
use crate::exit::Failure;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Args)]
pub(crate) struct Members {
    /// Only the members of a role
    #[arg(value_name = "ROLE", value_parser = ["fetcher", "notifier", "api"])]
    role: Option<String>,
    /// One object of JSON a line
    #[arg(long)]
    json: bool,
    /// Goes on until it is interrupted; with --json a line for each change
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    reach: Reach,
}

impl Members {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        let role = self.role.as_deref().unwrap_or("*");
        let broker = self.reach.broker(&config, environment, "members").await?;
        if self.watch {
            return watch(&broker, role, self.json).await;
        }
        let rows = look(&broker, role).await?;
        if self.json {
            print!("{}", shown::as_json(&rows));
        } else {
            print!("{}", shown::as_table(&rows, crate::clock::now()));
            if rows.is_empty() {
                eprintln!("nothing runs here: no process has said within 20 s that it lives");
            }
        }
        Ok(())
    }
}

async fn look(broker: &Broker, role: &str) -> anyhow::Result<Vec<Row>> {
    let seen = match broker.members_seen(role).await {
        Ok(seen) => seen,
        Err(error) => {
            let why = why_not(&error.to_string(), broker.is_connected());
            return Err(error).context(why);
        }
    };
    // A column less where they cannot be read; the members are what was asked for.
    let leases = broker.leases().await.unwrap_or_default();
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for lease in leases {
        if let Some(holder) = lease.holder {
            held.entry(holder.node).or_default().push(lease.source);
        }
    }
    let row = |seen: Seen| Row {
        leases: match seen.member.role.as_str() {
            "fetcher" => held.remove(&seen.member.node).unwrap_or_default(),
            _ => Vec::new(),
        },
        seen,
    };
    Ok(seen.into_iter().map(row).collect())
}

/// What an operator should look at. A denied call looks like one that nobody answers.
fn why_not(error: &str, is_connected: bool) -> &'static str {
    if !is_connected {
        "the connection to the server is lost; it is being made again"
    } else if error.contains("unavailable") || error.contains("503") {
        "the servers have no majority for them: are enough of them running?"
    } else if error.contains("not found") {
        "there is no control bucket: fanfare was never set up on this server"
    } else {
        "the server does not answer, or its user may not read them: the lists are those of \
         `fanfare admin permissions --role auditor`"
    }
}

async fn watch(broker: &Broker, role: &str, json: bool) -> Result<(), Failure> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut last = Vec::new();
    let mut has_failed = false;
    loop {
        match look(broker, role).await {
            Ok(rows) if json => {
                for line in shown::changes(&last, &rows) {
                    println!("{line}");
                }
                last = rows;
                has_failed = false;
            }
            Ok(rows) => {
                let now = crate::clock::now();
                let table = shown::as_table(&rows, now);
                if is_terminal {
                    print!("{CLEAR}{}\n\n{table}", shown::second(now));
                } else {
                    println!("{}\n{table}", shown::second(now));
                }
                has_failed = false;
            }
            // It is the outage that one watches for.
            Err(error) => {
                if !has_failed {
                    eprintln!("fanfare: {error:#}");
                }
                has_failed = true;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
