//! Time without progress around each fault: how long an item waited to be stored, an event to be
//! taken, and the providers for the next push.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use fanfare_sim::ledger::{self, Entry, Verdict};

use super::table::Row;

/// What waited when a fault began counts as hit by it.
const BEFORE_US: i64 = 1_000_000;

/// One fault, from its beginning until everything was whole again. Times in Unix microseconds.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What was done to whom.
    pub what: String,
    /// When it began.
    pub at_us: i64,
    /// When it was healed.
    pub healed_us: i64,
    /// How one knows that it did something; none if it did nothing.
    pub bite: Option<String>,
}

/// What the load and the ledger know, by title.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Items: when they were served.
    pub served: Vec<(String, i64)>,
    /// Events posted to an API: when that was asked for first.
    pub asked: Vec<(String, i64)>,
    /// When an event was stored.
    pub stored: HashMap<String, i64>,
    /// When the last push of an event was accepted.
    pub pushed: HashMap<String, i64>,
    /// Every acceptance, in order.
    pub accepted: Vec<i64>,
}

/// The longest waits around one fault, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Item served to event stored.
    pub fetching: i64,
    /// Event asked for to event stored.
    pub publishing: i64,
    /// Between two pushes.
    pub sending: i64,
    /// Event asked for to its last push, for the small urgent events.
    pub delivered: i64,
}

impl Flow {
    /// Takes in a ledger.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn read(&mut self, path: &Path) {
        for entry in ledger::read(path).unwrap() {
            if let Entry::Request(request) = entry.unwrap()
                && request.verdict == Verdict::Accepted
            {
                self.accepted.push(request.at_us);
                let title = request.title.unwrap_or_default();
                let last = self.pushed.entry(title).or_default();
                *last = (*last).max(request.at_us);
            }
        }
        self.accepted.sort_unstable();
    }

    /// The posted events that waited longest for their last push, and how long, in microseconds.
    pub fn slowest(&self, n: usize) -> Vec<(String, i64)> {
        let pushed = self.asked.iter();
        let waits = pushed.filter_map(|(title, at_us)| {
            let pushed_us = self.pushed.get(title)?;
            Some((title.clone(), pushed_us - at_us))
        });
        let mut waits: Vec<_> = waits.collect();
        waits.sort_by_key(|it| std::cmp::Reverse(it.1));
        waits.truncate(n);
        waits
    }

    /// The waits around a fault, up to `until_us`.
    pub fn stall(&self, fault: &Fault, until_us: i64) -> Stall {
        let since_us = fault.at_us - BEFORE_US;
        let longest = |begun: &[(String, i64)], ended: &HashMap<String, i64>| {
            let of_it = begun
                .iter()
                .filter(|(_, at_us)| (since_us..until_us).contains(at_us));
            let waits = of_it.filter_map(|(title, at_us)| Some(ended.get(title)? - at_us));
            waits.max().unwrap_or_default() / 1000
        };
        let gaps = self.accepted.windows(2).filter_map(|pair| {
            let (before, after) = (*pair.first()?, *pair.last()?);
            (after > fault.at_us && before < until_us).then_some(after - before)
        });
        Stall {
            fetching: longest(&self.served, &self.stored),
            publishing: longest(&self.asked, &self.stored),
            sending: gaps.max().unwrap_or_default() / 1000,
            delivered: longest(&self.asked, &self.pushed),
        }
    }

    /// The waits of each of these faults, which follow one another.
    pub fn stalls(&self, faults: &[Fault], end_us: i64) -> Vec<Stall> {
        let next = faults.iter().skip(1).map(|it| it.at_us - BEFORE_US);
        let until = next.chain(std::iter::once(end_us));
        faults
            .iter()
            .zip(until)
            .map(|(it, until)| self.stall(it, until))
            .collect()
    }
}

const HEAD: &str =
    "kind\tseed\tfault\tdown_ms\tfetching_ms\tpublishing_ms\tsending_ms\tdelivered_ms\tbite";

/// Appends a row for each fault to the table beside the campaign's.
///
/// # Errors
/// Those of the file.
pub fn append(table: &Path, row: &Row, faults: &[Fault], stalls: &[Stall]) -> std::io::Result<()> {
    let (kind, seed) = (&row.kind, row.seed);
    let file = beside(table);
    let mut text = String::new();
    if !file.exists() {
        let _ok = writeln!(text, "{HEAD}");
    }
    for (fault, stall) in faults.iter().zip(stalls) {
        let down = (fault.healed_us - fault.at_us) / 1000;
        let bite = fault.bite.as_deref().unwrap_or("none");
        let _ok = writeln!(
            text,
            "{kind}\t{seed}\t{}\t{down}\t{}\t{}\t{}\t{}\t{bite}",
            fault.what, stall.fetching, stall.publishing, stall.sending, stall.delivered
        );
    }
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    file.write_all(text.as_bytes())
}

fn beside(table: &Path) -> std::path::PathBuf {
    table.with_extension("faults.tsv")
}

/// Median and maximum of everything that the table beside the campaign's holds of a kind, by fault.
pub fn told(table: &Path, kind: &str) -> String {
    let text = fs::read_to_string(beside(table)).unwrap_or_default();
    let mut by_fault: BTreeMap<String, [Vec<i64>; 4]> = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<_> = line.split('\t').collect();
        if cells.first() != Some(&kind) || cells.len() < 8 {
            continue;
        }
        // The same fault, whatever it hit.
        let what = cells[2].split(' ').next().unwrap_or_default().to_owned();
        let figures = by_fault.entry(what).or_default();
        for (figures, cell) in figures.iter_mut().zip(&cells[4..8]) {
            figures.extend(cell.parse::<i64>());
        }
    }
    let mut told = String::new();
    for (what, figures) in &by_fault {
        let _ok = write!(told, "{what} x {}: ", figures[0].len());
        let words = ["fetching", "publishing", "sending", "delivered"];
        for (word, figures) in words.iter().zip(figures) {
            let (median, most) = median_and_most(figures);
            let _ok = write!(told, "{word} {median:.1} / {most:.1} s  ");
        }
        told.push('\n');
    }
    told
}

/// In seconds.
fn median_and_most(figures: &[i64]) -> (f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    let at = |it: usize| sorted.get(it).copied().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let seconds = |it: i64| it as f64 / 1000.0;
    let last = sorted.len().saturating_sub(1);
    (seconds(at(last / 2)), seconds(at(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_belong_to_the_fault_in_whose_time_they_began() {
        let fault = |at_s: i64| Fault {
            what: "kill".to_owned(),
            at_us: at_s * 1_000_000,
            healed_us: (at_s + 1) * 1_000_000,
            bite: None,
        };
        let pairs = |pairs: &[(&str, i64)]| {
            let pair = |(title, s): &(&str, i64)| ((*title).to_owned(), s * 1_000_000);
            pairs.iter().map(pair).collect::<Vec<_>>()
        };
        let flow = Flow {
            served: pairs(&[("i", 10), ("j", 30)]),
            asked: pairs(&[("p", 9), ("q", 20)]),
            stored: pairs(&[("i", 14), ("j", 31), ("p", 16), ("q", 20)])
                .into_iter()
                .collect(),
            pushed: pairs(&[("p", 20), ("q", 21)]).into_iter().collect(),
            accepted: [8, 9, 20, 21, 40].map(|it| it * 1_000_000).into(),
        };
        let stalls = flow.stalls(&[fault(10), fault(31)], 50_000_000);
        let expected = |fetching, publishing, sending, delivered| Stall {
            fetching,
            publishing,
            sending,
            delivered,
        };
        assert_eq!(stalls[0], expected(4000, 7000, 19_000, 11_000));
        assert_eq!(stalls[1], expected(1000, 0, 19_000, 0));
    }
}
