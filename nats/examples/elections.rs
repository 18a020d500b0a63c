//! Leaders that die and freeze under load on three servers, for as long as it is told to: one slice,
//! told while it runs, appended to a table.
//!
//! `cargo run --release -p fanfare-nats --example elections -- --minutes 9 --append elections.tsv`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

#[path = "../tests/elections/suite.rs"]
mod suite;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use fanfare_nats_server::{Options, SyncInterval};
use suite::{COLUMNS, Fault, Order, Report, run};

const USAGE: &str = "\
cargo run --release -p fanfare-nats --example elections -- [options]

  --faults LIST   of kill, freeze, brief, kill-one, kill-two, kill-all, rolling, step-down,
                  in-flight, over and over again in this order (default: all); `alone` is in-flight
                  and step-down without other load, once
  --n N           how many faults (default 1000)
  --minutes N     no fault begins after so long (default 8)
  --seed N        where chance begins (default 1)
  --sync WHEN     always (default) | minute: when servers write through to the disk
  --append FILE   table to append to (tab-separated)

FANFARE_TEST_NATS_SERVER names the nats-server.";

struct Arguments {
    order: Order,
    is_alone: bool,
    sync: SyncInterval,
    append: Option<PathBuf>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let all = "kill freeze brief kill-one kill-two kill-all rolling step-down in-flight";
    let faults = |list: &str| -> Result<Vec<Fault>, String> {
        let names = list.split([' ', ',']);
        names
            .map(|it| Fault::parse(it).ok_or(format!("there is no fault {it}")))
            .collect()
    };
    let mut parsed = Arguments {
        order: Order {
            seed: 1,
            faults: faults(all)?,
            n_faults: 1000,
            held: Duration::from_secs(30), // As shipped for three servers.
            time: Duration::from_mins(8),
        },
        is_alone: false,
        sync: SyncInterval::Always,
        append: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|it| format!("{name}: {it}"));
        match (name.as_str(), value.as_str()) {
            ("--faults", "alone") => parsed.is_alone = true,
            ("--faults", list) => parsed.order.faults = faults(list)?,
            ("--n", _) => parsed.order.n_faults = usize::try_from(number()?).unwrap_or(usize::MAX),
            ("--minutes", _) => parsed.order.time = Duration::from_mins(number()?),
            ("--seed", _) => parsed.order.seed = number()?,
            ("--sync", "always") => parsed.sync = SyncInterval::Always,
            ("--sync", "minute") => parsed.sync = SyncInterval::Every(Duration::from_mins(1)),
            ("--append", file) => parsed.append = Some(file.into()),
            _ => return Err(format!("there is no option {name} {value}")),
        }
    }
    Ok(parsed)
}

/// Whether the run means anything: something was unknown, and what was in flight was lost.
fn has_bitten(report: &Report) -> bool {
    let was_unknown = report.unknown.iter().sum::<u64>() > 0;
    let is_in_flight = report.faults.contains(&"in-flight");
    was_unknown && (!is_in_flight || report.figure("in flight", "of these lost") > 0)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let options = Options {
        sync_interval: arguments.sync,
        ..Options::ephemeral()
    };
    let report = if arguments.is_alone {
        let mut report = suite::in_flight(&options).await;
        report
            .accounts
            .extend(suite::hand_over(&options).await.accounts);
        report
    } else {
        let told = |faults: &[&str], unknown| {
            let last = faults.last().copied().unwrap_or_default();
            eprintln!(
                "fault {}: {last}; unknown answers {unknown:?}",
                faults.len()
            );
        };
        Box::pin(run(&options, &arguments.order, told)).await
    };
    let findings = report.findings();
    for finding in &findings {
        eprintln!("FOUND {finding}");
    }
    if !has_bitten(&report) {
        eprintln!("VOID: the faults left no trace");
    }
    let row = format!(
        "{}\t{:?}\t{}",
        arguments.order.seed,
        arguments.sync,
        report.row()
    );
    println!("seed\tsync\t{COLUMNS}\n{row}");
    if let Some(file) = arguments.append {
        let mut table = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .unwrap();
        writeln!(table, "{row}").unwrap();
    }
    if findings.is_empty() && has_bitten(&report) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
