//! `fanfare verify`: whether everything that was owed adds up, read from the streams.

mod gather;
mod json;
mod ledger;
mod report;
mod table;

use std::path::PathBuf;

use clap::Args;
use fanfare_nats::EventId;
use fanfare_nats_server::Environment;
use jiff::Timestamp;

use self::gather::Gather;
use self::ledger::Ledger;
use super::Common;
use super::reach::Reach;
use super::since::since;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Verify {
    /// Events stored since: a length of time such as 1h or 7d, or a time such as
    /// 2026-11-20T06:00:00Z
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "1h",
        conflicts_with = "event"
    )]
    since: String,
    /// One event alone
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// What a provider took, one object of JSON a line: counts real repeats
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// One object of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Which events are judged.
enum Which {
    Since(Timestamp),
    One(EventId),
}

impl Verify {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let now = crate::clock::now();
        let which = match &self.event {
            Some(id) => Which::One(EventId::parse(id).ok_or_else(|| {
                Failure::Usage(format!("`{id}` is no event: 32 hexadecimal digits"))
            })?),
            None => Which::Since(since(&self.since, now)?),
        };
        let config = common.load(environment)?;
        let ledger = self.ledger.as_deref().map(Ledger::open).transpose()?;
        let broker = self.reach.broker(&config, environment, "verify").await?;
        let gather = Gather::new(&broker, window(config.notifier.window), now);
        let report = gather.report(&which, ledger).await?;
        if self.json {
            println!("{}", json::of(&report));
        } else {
            print!("{}", table::of(&report, now));
        }
        if report.adds_up() {
            Ok(())
        } else {
            let error = anyhow::anyhow!("what was owed does not add up");
            Err(Failure::Code { code: 1, error })
        }
    }
}

fn window(window: usize) -> u64 {
    u64::try_from(window).unwrap_or(u64::MAX)
}
