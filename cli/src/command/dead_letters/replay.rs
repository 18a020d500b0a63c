//! `fanfare dead-letters replay`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use fanfare_fetcher::config::Period;
use fanfare_nats::dead::{DeadLetter, Entry, Kind, Now, Report, Wanted, Work};
use fanfare_nats::permissions::Role as User;
use fanfare_nats::{Broker, Tenant};
use jiff::Timestamp;

use super::super::{ask, audit};
use super::filter::Filter;
use super::{letter, list, progress, table};
use crate::exit::Failure;

/// Letters whose numbers are recorded.
const NAMED: usize = 100;
/// Errors that are told one by one.
const TOLD: usize = 5;

/// No event is worth something for longer (design section 3).
const LONGEST: Duration = Duration::from_hours(24);
const SHORTEST: Duration = Duration::from_mins(1);

#[derive(Args)]
pub(super) struct Asked {
    /// This letter; may be given several times
    #[arg(long, value_name = "SEQ")]
    seq: Vec<u64>,
    #[command(flatten)]
    filter: Filter,
    /// Tells what would be sent, and sends nothing
    #[arg(long)]
    dry_run: bool,
    /// How long it is worth sending from now on: 1m to 24h
    #[arg(long, value_name = "TIME", default_value = "1h")]
    expires_in: Period,
    /// Does not ask
    #[arg(short, long)]
    yes: bool,
}

/// What was asked for, checked.
pub(super) struct Chosen {
    which: Which,
    is_dry_run: bool,
    is_confirmed: bool,
    expires_at: Timestamp,
}

enum Which {
    Numbers(Vec<u64>),
    Wanted(Wanted),
}

impl Asked {
    /// Checks the command line.
    pub(super) fn chosen(self, now: Timestamp) -> Result<Chosen, Failure> {
        let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
        let which = match (self.seq.is_empty(), self.filter.is_everything()) {
            (true, true) => {
                return usage("name letters: --seq, or one of --reason, --app, --event, --since");
            }
            (false, false) => return usage("--seq names letters: it takes no filter"),
            (false, true) => Which::Numbers(self.seq),
            (true, false) => Which::Wanted(self.filter.wanted(now)?),
        };
        let expires_in = self.expires_in.0;
        if !(SHORTEST..=LONGEST).contains(&expires_in) {
            return usage("--expires-in is 1m to 24h");
        }
        Ok(Chosen {
            which,
            is_dry_run: self.dry_run,
            is_confirmed: self.yes,
            expires_at: now + expires_in,
        })
    }
}

impl Chosen {
    pub(super) async fn run(self, broker: &Broker, now: Timestamp) -> Result<(), Failure> {
        let entries = match &self.which {
            Which::Numbers(numbers) => {
                let mut entries = Vec::new();
                for seq in numbers {
                    entries.push(letter(broker, *seq).await?);
                }
                entries
            }
            Which::Wanted(wanted) => list::read(broker, wanted).await?,
        };
        if entries.is_empty() {
            println!("no dead letter matches");
            return Ok(());
        }
        let known = list::judged(broker, &entries, now).await?;
        let letters: Vec<(&Entry, Now)> = entries.iter().zip(known).collect();
        print!("{}", summary(&letters));
        if let (Which::Numbers(_), [(entry, now)]) = (&self.which, letters.as_slice())
            && !now.is_open()
            && !now.is_done()
        {
            let why = now.explained();
            return Err(anyhow::anyhow!("letter {} is not replayed: {why}", entry.seq).into());
        }
        let open = letters.iter().filter(|(_, now)| now.is_open());
        let numbers = open.clone().map(|(entry, _)| entry.seq.to_string());
        let numbers: Vec<String> = numbers.take(NAMED).collect();
        let open: Vec<&DeadLetter> = open.filter_map(|(entry, _)| entry.letter()).collect();
        if open.is_empty() {
            println!("there is nothing to replay");
            return Ok(());
        }
        if self.is_dry_run {
            println!("nothing was sent: --dry-run");
            return Ok(());
        }
        if !self.is_confirmed && !ask::is_confirmed(&format!("replay {} letters?", open.len()))? {
            println!("nothing was sent");
            return Ok(());
        }
        let work = Work::of(broker, &open, self.expires_at).await;
        let work = work.map_err(anyhow::Error::from)?;
        let bar = progress::bar("replaying:", work.len());
        let report = work.run(broker, now, || bar.inc(1)).await;
        bar.finish_and_clear();
        let told = told(report, self.expires_at);
        let of = [("letters", numbers.join(" "))];
        let main = Tenant::main();
        let noted = audit::note(broker, User::Ops, &main, "replayDeadLetters", of).await;
        told.and(noted)
    }
}

/// Counts by reason and app, and why letters are left alone.
fn summary(letters: &[(&Entry, Now)]) -> String {
    let mut counts = BTreeMap::<(&str, &str), [usize; 4]>::new();
    let mut left = BTreeMap::<Now, usize>::new();
    for (entry, now) in letters {
        let app = entry.letter().map_or("-", |it| it.app.as_str());
        let reason = entry.kind().map_or("?", Kind::as_str);
        let [all, open, accepted, other] = counts.entry((reason, app)).or_default();
        *all += 1;
        match now {
            Now::Open => *open += 1,
            Now::Accepted => *accepted += 1,
            Now::Replayed
            | Now::Waiting
            | Now::BeingSent
            | Now::Unclear
            | Now::Superseded
            | Now::EventGone
            | Now::ReceiptsGone
            | Now::Unreadable
            | Now::NotSendable => *other += 1,
        }
        if !now.is_open() {
            *left.entry(*now).or_default() += 1;
        }
    }
    let rows: Vec<[String; 6]> = counts
        .iter()
        .map(|((reason, app), [all, open, accepted, other])| {
            let [all, open, accepted, other] =
                [all, open, accepted, other].map(ToString::to_string);
            [(*reason).into(), (*app).into(), all, open, accepted, other]
        })
        .collect();
    let head = [
        "reason",
        "app",
        "letters",
        "to replay",
        "accepted since",
        "left alone",
    ];
    let mut text = table::of(head, &rows);
    for (now, n) in left {
        // Writing to a String cannot fail.
        let _ok = writeln!(text, "{n} {}: {}", now.word(), now.explained());
    }
    text
}

fn told(report: Report, expires_at: Timestamp) -> Result<(), Failure> {
    println!(
        "replayed {} devices one by one, {} tasks from where they stood, {} events; \
         they are sent until {}",
        report.n_devices,
        report.n_rests,
        report.n_events,
        list::seconds(expires_at)
    );
    if report.n_nothing > 0 {
        println!(
            "{} tasks were left alone: somebody took them up meanwhile",
            report.n_nothing
        );
    }
    let n = report.errors.len();
    if n == 0 {
        return Ok(());
    }
    let all = n + report.n_tasks + report.n_nothing + report.n_events;
    for error in report.errors.into_iter().take(TOLD) {
        eprintln!("fanfare: {:#}", anyhow::Error::from(error));
    }
    Err(anyhow::anyhow!("{n} of {all} could not be replayed; doing it again is harmless").into())
}
