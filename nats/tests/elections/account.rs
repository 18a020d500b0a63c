//! What a protocol's ledger says in the end, and the row of a run.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

/// One protocol's result.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) protocol: &'static str,
    /// What the broker acknowledged.
    pub(crate) n_acknowledged: u64,
    /// Operations that ended without a final answer and were done again.
    pub(crate) n_unsure: u64,
    /// The longest time without an acknowledgement.
    pub(crate) longest_pause: Duration,
    /// What else is worth knowing, by name.
    pub(crate) figures: Vec<(&'static str, u64)>,
    /// What contradicts the protocol.
    pub(crate) findings: Vec<String>,
}

impl Account {
    pub(crate) fn of(protocol: &'static str, pulse: Pulse) -> Self {
        Self {
            protocol,
            n_acknowledged: pulse.n,
            longest_pause: pulse.longest,
            ..Self::default()
        }
    }

    /// Says something that contradicts the protocol; only the first few are kept.
    pub(crate) fn find(&mut self, finding: String) {
        if self.findings.len() < 20 {
            self.findings.push(finding);
        }
    }

    pub(crate) fn check(&mut self, is_so: bool, finding: impl FnOnce() -> String) {
        if !is_so {
            self.find(finding());
        }
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        let figures = self.figures.iter().filter(|(it, _)| *it == name);
        figures.map(|(_, n)| n).sum()
    }
}

/// Acknowledgements as they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    pub(crate) n: u64,
    last: Option<Instant>,
    longest: Duration,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            n: 0,
            last: None,
            longest: Duration::ZERO,
        }
    }

    pub(crate) fn beat(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.longest = self.longest.max(now - last);
        }
        self.n += 1;
    }
}

/// A run and what it showed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The faults, in their order.
    pub(crate) faults: Vec<&'static str>,
    /// Elections the servers told of: of streams, of consumers.
    pub(crate) elections: (usize, usize),
    /// Unknown answers: 10164, 10158, no leader, silence.
    pub(crate) unknown: [u64; 4],
    pub(crate) accounts: Vec<Account>,
}

/// The columns of [`Report::row`].
pub(crate) const COLUMNS: &str = "faults\tstream elections\tconsumer elections\t10164\t10158\t503\t\
                                  silence\tfindings\tprotocols: acknowledged, unsure, longest pause";

impl Report {
    pub(crate) fn findings(&self) -> Vec<String> {
        let of = |it: &Account| {
            let protocol = it.protocol;
            let findings = it.findings.iter();
            findings
                .map(move |finding| format!("{protocol}: {finding}"))
                .collect::<Vec<_>>()
        };
        self.accounts.iter().flat_map(of).collect()
    }

    pub(crate) fn figure(&self, protocol: &str, name: &str) -> u64 {
        let accounts = self.accounts.iter().filter(|it| it.protocol == protocol);
        accounts.map(|it| it.figure(name)).sum()
    }

    /// One line, separated by tabs.
    pub(crate) fn row(&self) -> String {
        let (streams, consumers) = self.elections;
        let [in_flight, id_in_flight, no_leader, silence] = self.unknown;
        let mut faults: Vec<String> = Vec::new();
        let mut kinds = self.faults.clone();
        kinds.sort_unstable();
        for of_kind in kinds.chunk_by(|one, other| one == other) {
            faults.push(format!("{} {}", of_kind.len(), of_kind[0]));
        }
        let mut row = format!(
            "{}\t{streams}\t{consumers}\t{in_flight}\t{id_in_flight}\t{no_leader}\t{silence}\t{}\t",
            faults.join(", "),
            self.findings().len(),
        );
        for it in &self.accounts {
            let pause = it.longest_pause.as_secs_f64();
            write!(
                row,
                "{}: {}, {}, {pause:.1} s",
                it.protocol, it.n_acknowledged, it.n_unsure
            )
            .unwrap();
            for (name, n) in &it.figures {
                write!(row, ", {name} {n}").unwrap();
            }
            row.push_str("; ");
        }
        row
    }
}
