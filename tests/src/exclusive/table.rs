//! The table of results: one row a fault, tab-separated, appended.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::options::Options;
use super::pair::{Fault, Round};

const HEAD: &str = "kind\treplicas\tseed\tsource\ttakeover_ms\tnobody_ms\tdouble_ms\tanswering_ms\t\
                    woken_ms\tlate";

/// A row.
pub(super) fn line(options: &Options, seed: u64, it: &Round) -> String {
    format!(
        "{}\t{}\t{seed}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        it.fault.as_str(),
        options.replicas,
        it.source,
        it.takeover_ms,
        it.nobody_ms,
        it.double_ms,
        it.answering_ms,
        it.woken_ms,
        it.late
    )
}

/// Appends a row, and the head before the first.
pub(super) fn append(options: &Options, seed: u64, round: &Round) -> std::io::Result<()> {
    let Some(file) = &options.append else {
        return Ok(());
    };
    let is_new = !file.exists();
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    if is_new {
        writeln!(file, "{HEAD}")?;
    }
    writeln!(file, "{}", line(options, seed, round))
}

fn read(line: &str) -> Option<Round> {
    let mut cells = line.split('\t');
    let fault: Fault = cells.next()?.parse().ok()?;
    let mut cells = cells.skip(2);
    let source = cells.next()?.to_owned();
    let mut number = || cells.next()?.parse::<i64>().ok();
    Some(Round {
        source,
        fault,
        takeover_ms: number()?,
        nobody_ms: number()?,
        double_ms: number()?,
        answering_ms: number()?,
        woken_ms: number()?,
        late: u64::try_from(number()?).ok()?,
    })
}

/// The rows so far; none without a file.
pub fn rows(file: Option<&Path>) -> Vec<Round> {
    let text = file.and_then(|it| fs::read_to_string(it).ok());
    text.unwrap_or_default().lines().filter_map(read).collect()
}

/// Median and largest of everything, for each kind.
pub fn sums(rows: &[Round]) -> String {
    let mut lines = Vec::new();
    for fault in ["kill", "freeze", "cut", "stall", "stop", "release"] {
        let of: Vec<_> = rows
            .iter()
            .filter(|it| it.fault.as_str() == fault)
            .collect();
        if of.is_empty() {
            continue;
        }
        let two = |value: fn(&Round) -> i64| {
            let mut values: Vec<_> = of.iter().map(|it| value(it)).collect();
            values.sort_unstable();
            let median = values.get(values.len() / 2).copied().unwrap_or_default();
            let largest = values.last().copied().unwrap_or_default();
            format!("{median} / {largest}")
        };
        let late: u64 = of.iter().map(|it| it.late).sum();
        lines.push(format!(
            "{fault}: {} faults; ms, median / largest: taken over {}, nobody {}, double {}, double \
             and answering {}, closed after waking {}; late publishes {late}",
            of.len(),
            two(|it| it.takeover_ms),
            two(|it| it.nobody_ms),
            two(|it| it.double_ms),
            two(|it| it.answering_ms),
            two(|it| it.woken_ms),
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_back_and_adds_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::parse([]).unwrap();
        options.append = Some(folder.path().join("table.tsv"));
        let round = Round {
            source: "s1".to_owned(),
            fault: Fault::Freeze,
            takeover_ms: 18_000,
            nobody_ms: 0,
            double_ms: 12_000,
            answering_ms: 3,
            woken_ms: 4,
            late: 1,
        };
        for _ in 0..2 {
            append(&options, 7, &round).unwrap();
        }
        let read = rows(options.append.as_deref());
        assert_eq!(read, [round.clone(), round]);
        assert!(
            sums(&read).starts_with("freeze: 2 faults"),
            "{}",
            sums(&read)
        );
    }
}
