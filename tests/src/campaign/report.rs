//! What a person sees: a line while it runs, a row and the reasons at the end.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::book::Debts;
use super::broker::Held;
use super::load::Load;
use super::options::Kind;
use super::seat::{How, Seat};
use super::table::Row;
use super::verdict::Deaths;
use super::witness::Witness;
use crate::pipeline::{Pipeline, Setup, WAKE_UPS_WAIT};
use crate::process::Ended;

/// Between two lines of progress.
const EVERY: Duration = Duration::from_secs(5);

/// Tells how far it is, for ever.
pub(super) async fn progress(pipeline: &Pipeline, seats: &[Seat], load: &Load<'_>, n_before: u64) {
    let begun = Instant::now();
    loop {
        sleep(EVERY).await;
        let lives = super::slice::lives(seats);
        let n_kills = lives
            .iter()
            .filter(|it| matches!(it.how, How::Killed | How::Point(_)))
            .count() as u64;
        let counts = pipeline.counts();
        eprintln!(
            "{:>4} s  kills {} ({} in all)  pushes {}  in flight {}  repeated {} ({:.1} a kill)  owed still {}",
            begun.elapsed().as_secs(),
            n_kills,
            n_before + n_kills,
            counts.deliveries,
            counts.in_flight,
            counts.repeated,
            ratio(counts.repeated, n_kills),
            load.outstanding(),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b.max(1) as f64
}

/// Everything that was counted.
pub(super) struct Counted {
    pub(super) witness: Witness,
    pub(super) deaths: Deaths,
    pub(super) debts: Debts,
    pub(super) held: Held,
    pub(super) redelivered: u64,
    pub(super) wrong: Vec<String>,
    pub(super) rest: Result<(), String>,
    pub(super) n_faults: u64,
    /// What `fanfare verify` said.
    pub(super) sums: Ended,
    pub(super) kind: Kind,
}

impl Counted {
    /// What must never be, in words.
    fn failures(&self, setup: &Setup) -> Vec<String> {
        let mut failures = Vec::new();
        let lost = self.witness.lost(&self.debts.must);
        if self.n_lost() > 0 {
            let some: Vec<_> = lost.iter().take(5).collect();
            failures.push(format!("I1: {} lost: {some:?}", lost.len()));
        }
        let largest = self.deaths.largest();
        if largest > setup.window as u64 {
            let window = setup.window;
            failures.push(format!("I2: one process repeated {largest}, W is {window}"));
        }
        // A provider that takes a push and does not say so gets it again.
        if self.deaths.unexplained > 0 && self.kind != Kind::Provider {
            let n = self.deaths.unexplained;
            failures.push(format!("I2: {n} repeated by processes that nothing hit"));
        }
        failures.extend(self.witness.violations.iter().cloned());
        failures.extend(self.held.violations.iter().cloned());
        if self.sums.code != Some(0) {
            let said: Vec<_> = self.sums.printed.lines().rev().take(8).collect();
            let said = said.into_iter().rev().collect::<Vec<_>>().join(" | ");
            failures.push(format!("I6: verify ends with {:?}: {said}", self.sums.code));
        }
        failures.extend(self.wrong.iter().map(|it| format!("API: {it}")));
        failures.extend(self.deaths.unasked.iter().cloned());
        if let Err(seen) = &self.rest
            && !self.is_waiting()
        {
            failures.push(format!("no rest: {seen}"));
        }
        if let Some(n) = self.held.dead.get("poison") {
            failures.push(format!("{n} tasks given up as poison"));
        }
        failures
    }

    /// What was never made and does not wait either. A retry that was noted by a clock an hour ahead
    /// waits for an hour.
    fn n_lost(&self) -> u64 {
        let n = self.witness.lost(&self.debts.must).len() as u64;
        if self.is_waiting() && n <= self.held.n_pending {
            0
        } else {
            n
        }
    }

    /// Only retries are left, and a clock was stepped.
    fn is_waiting(&self) -> bool {
        self.kind == Kind::Clock && self.rest.as_ref().is_err_and(|it| it == WAKE_UPS_WAIT)
    }

    /// The fault bit: something came again, was fenced, or was in flight.
    fn has_bitten(&self) -> bool {
        self.redelivered > 0 || self.held.n_takeovers > 0 || self.deaths.n_in_flight() > 0
    }

    /// As a row; the reasons of a failure go to standard error too.
    pub(super) fn row(&self, setup: &Setup) -> Row {
        let failures = self.failures(setup);
        for failure in &failures {
            eprintln!("FAILED: {failure}");
        }
        for (place, n) in &self.deaths.by_place {
            let at = place
                .strip_prefix("notifier ")
                .and_then(|it| self.deaths.at(it));
            match at {
                Some((mean, largest)) => {
                    eprintln!(
                        "  {n:>4}  {place:<32} repeated {mean:>6.1} on average, {largest} at most"
                    );
                }
                None => eprintln!("  {n:>4}  {place}"),
            }
        }
        let n_deaths = self.deaths.n;
        let (mean, formula) = self.deaths.means();
        let mut note = format!(
            "{} take-overs, {} pushes, {} receipts",
            self.held.n_takeovers, self.witness.n_accepted, self.held.n_receipts
        );
        if !self.held.idle_claims.is_empty() {
            let _ok = write!(note, ", claims without a mark {:?}", self.held.idle_claims);
        }
        if self.held.n_pending > 0 {
            let _ok = write!(note, ", {} retries wait", self.held.n_pending);
        }
        if !self.held.dead.is_empty() {
            let _ok = write!(note, ", dead {:?}", self.held.dead);
        }
        if let Some(first) = failures.first() {
            let _ok = write!(note, "; {first}");
        }
        let verdict = if !failures.is_empty() {
            "FAILED"
        } else if self.has_bitten() {
            "ok"
        } else {
            "void"
        };
        Row {
            verdict: verdict.to_owned(),
            faults: if self.kind.is_of_machines() {
                self.n_faults
            } else {
                self.n_faults.max(n_deaths)
            },
            in_flight: self.deaths.n_in_flight(),
            owed: self.debts.n,
            lost: self.n_lost(),
            repeated: self.witness.n_repeated,
            mean,
            formula,
            largest: self.deaths.largest(),
            redelivered: self.redelivered,
            note,
            ..Row::default()
        }
    }
}

/// Keeps ledger, logs and the lives of a slice that failed.
pub(super) async fn keep(pipeline: &Pipeline, seats: &[Seat], folder: &Path) {
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        if let Some(ledger) = &pipeline.sim.whereabouts().ledger {
            std::fs::copy(ledger, folder.join("ledger.jsonl"))?;
        }
        Ok(())
    };
    if let Err(error) = copy() {
        eprintln!("{}: {error}", folder.display());
    }
    for seat in seats {
        let text = format!("{:#?}\n{}", seat.lives(), seat.lines().await.join("\n"));
        let _kept = std::fs::write(folder.join(format!("seat-{}.txt", seat.number)), text);
    }
}
