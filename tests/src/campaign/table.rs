//! The table of results: one row a slice, tab-separated, appended.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// What a slice came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// When it ended.
    pub at: String,
    /// Which fault.
    pub kind: String,
    /// Where its chance began.
    pub seed: u64,
    /// How long faults went on, in seconds.
    pub seconds: u64,
    /// `ok`, `void` or `FAILED`.
    pub verdict: String,
    /// Faults done: kills, freezes, restarts.
    pub faults: u64,
    /// Kills that hit a send in flight.
    pub in_flight: u64,
    /// Pushes owed.
    pub owed: u64,
    /// Of these, never made.
    pub lost: u64,
    /// Made again.
    pub repeated: u64,
    /// Mean of repeats for each kill in flight.
    pub mean: f64,
    /// What the design's formula says it is.
    pub formula: f64,
    /// The most that one process repeated.
    pub largest: u64,
    /// `W`.
    pub window: u64,
    /// Tasks delivered again.
    pub redelivered: u64,
    /// Anything else, in words.
    pub note: String,
}

const HEAD: &str = "at\tkind\tseed\tseconds\tverdict\tfaults\tin_flight\towed\tlost\trepeated\t\
                    mean\tformula\tlargest\twindow\tredelivered\tnote";

impl Row {
    /// As a line of the table.
    pub fn line(&self) -> String {
        let mut line = String::new();
        let Self {
            at,
            kind,
            seed,
            seconds,
            verdict,
            faults,
            in_flight,
            owed,
            lost,
            repeated,
            mean,
            formula,
            largest,
            window,
            redelivered,
            note,
        } = self;
        let note = note.replace(['\t', '\n'], " ");
        let _ok = write!(
            line,
            "{at}\t{kind}\t{seed}\t{seconds}\t{verdict}\t{faults}\t{in_flight}\t{owed}\t{lost}\t\
             {repeated}\t{mean:.1}\t{formula:.1}\t{largest}\t{window}\t{redelivered}\t{note}"
        );
        line
    }

    fn read(line: &str) -> Option<Self> {
        let mut cells = line.split('\t');
        let mut next = || cells.next();
        Some(Self {
            at: next()?.to_owned(),
            kind: next()?.to_owned(),
            seed: next()?.parse().ok()?,
            seconds: next()?.parse().ok()?,
            verdict: next()?.to_owned(),
            faults: next()?.parse().ok()?,
            in_flight: next()?.parse().ok()?,
            owed: next()?.parse().ok()?,
            lost: next()?.parse().ok()?,
            repeated: next()?.parse().ok()?,
            mean: next()?.parse().ok()?,
            formula: next()?.parse().ok()?,
            largest: next()?.parse().ok()?,
            window: next()?.parse().ok()?,
            redelivered: next()?.parse().ok()?,
            note: next().unwrap_or_default().to_owned(),
        })
    }
}

/// The rows so far; none if there is no such file.
pub fn rows(file: &Path) -> Vec<Row> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(Row::read).collect()
}

/// Appends a row, and the head before the first.
///
/// # Errors
/// Those of the file.
pub fn append(file: &Path, row: &Row) -> std::io::Result<()> {
    let is_new = !file.exists();
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)?;
    if is_new {
        writeln!(file, "{HEAD}")?;
    }
    writeln!(file, "{}", row.line())
}

/// The rows of a kind that count, added up, in words.
pub fn sums(rows: &[Row], kind: &str) -> String {
    let of_kind = || rows.iter().filter(|it| it.kind == kind);
    let valid = || of_kind().filter(|it| it.verdict != "void");
    let sum = |of: fn(&Row) -> u64| valid().map(of).sum::<u64>();
    let (faults, in_flight) = (sum(|it| it.faults), sum(|it| it.in_flight));
    let weigh = |of: fn(&Row) -> f64| {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let weighed: f64 = valid().map(|it| of(it) * it.in_flight as f64).sum();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let n = in_flight.max(1) as f64;
        weighed / n
    };
    format!(
        "{kind}: {} slices, {} void; {faults} faults, {in_flight} in flight; owed {}, lost {}, \
         repeated {} (mean {:.1}, formula {:.1}, largest {} of W {})",
        of_kind().count(),
        of_kind().filter(|it| it.verdict == "void").count(),
        sum(|it| it.owed),
        sum(|it| it.lost),
        sum(|it| it.repeated),
        weigh(|it| it.mean),
        weigh(|it| it.formula),
        valid().map(|it| it.largest).max().unwrap_or_default(),
        valid().map(|it| it.window).max().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_back_and_adds_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("table.tsv");
        let row = Row {
            kind: "kill".to_owned(),
            verdict: "ok".to_owned(),
            faults: 100,
            in_flight: 70,
            mean: 80.0,
            note: "a\tb".to_owned(),
            ..Row::default()
        };
        append(&file, &row).unwrap();
        append(&file, &row).unwrap();
        let read = rows(&file);
        assert_eq!(read.len(), 2);
        assert_eq!((read[1].faults, read[1].note.as_str()), (100, "a b"));
        assert!(sums(&read, "kill").contains("200 faults, 140 in flight"));
        assert!(sums(&read, "kill").contains("mean 80.0"));
    }
}
