//! Leases: three candidates for each source; never two holders, and numbers that only grow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::event::SourceName;
use fanfare_nats::lease::{Candidate, Electorate, Ended, Lost, Tenure, Times};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::values::Chance;

/// Exclusive sources.
const SOURCES: usize = 4;

struct Ledger {
    pulse: Pulse,
    /// Tenures of each source, in the order of their beginnings.
    tenures: [Vec<Tenure>; SOURCES],
    n_fenced: u64,
    n_expired: u64,
    findings: Vec<String>,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct Leases {
    ledger: Arc<Mutex<Ledger>>,
}

impl Leases {
    pub(crate) fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            tenures: std::array::from_fn(|_| Vec::new()),
            n_fenced: 0,
            n_expired: 0,
            findings: Vec::new(),
        };
        let leases = Self {
            ledger: Arc::new(Mutex::new(ledger)),
        };
        for source in 0..SOURCES {
            let name = SourceName::parse(&format!("exclusive-{source}")).unwrap();
            for (n, broker) in brokers.iter().enumerate() {
                let candidate = broker.candidate(&name, Times::SHIPPED);
                let (load, stop) = (leases.clone(), stop.clone());
                let chance = Chance(u64::try_from(source * brokers.len() + n).unwrap());
                tasks.spawn(async move { load.run(source, candidate, chance, &stop).await });
            }
        }
        leases
    }

    async fn run(
        &self,
        source: usize,
        mut candidate: Candidate,
        mut chance: Chance,
        stop: &CancellationToken,
    ) {
        // Nobody is preferred: whoever comes first.
        let (_electors, mut electorate) = watch::channel(Arc::new(Electorate::default()));
        loop {
            let acquired = stop.run_until_cancelled(candidate.acquire(&mut electorate));
            let Some(tenure) = acquired.await else {
                return candidate.release(None).await;
            };
            self.began(source, tenure);
            let stretch = Duration::from_millis(5_000 + chance.below(25_000));
            let held = tokio::time::timeout(stretch, candidate.hold(&mut electorate));
            match stop.run_until_cancelled(held).await {
                Some(Ok(Ended::Lost(lost))) => self.lost(lost),
                Some(Ok(Ended::HandOver(_)) | Err(_)) | None => candidate.release(None).await,
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }

    fn began(&self, source: usize, tenure: Tenure) {
        let mut ledger = self.ledger.lock().unwrap();
        let ledger = &mut *ledger;
        ledger.pulse.beat();
        let before = &mut ledger.tenures[source];
        if let Some(other) = before.iter().find(|it| !it.is_over()) {
            let (number, other) = (tenure.number(), other.number());
            let finding = format!("source {source}: {number} began while {other} held");
            ledger.findings.push(finding);
        }
        if let Some(last) = before.last().filter(|it| it.number() >= tenure.number()) {
            let (number, last) = (tenure.number(), last.number());
            let finding = format!("source {source}: number {number} after {last}");
            ledger.findings.push(finding);
        }
        before.push(tenure);
    }

    fn lost(&self, lost: Lost) {
        let mut ledger = self.ledger.lock().unwrap();
        match lost {
            Lost::Expired => ledger.n_expired += 1,
            Lost::Fenced | Lost::Withdrawn => ledger.n_fenced += 1,
        }
    }

    /// What was seen.
    pub(crate) fn audit(&self) -> Account {
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account::of("leases", ledger.pulse);
        account.longest_pause = Duration::ZERO; // Tenures are long, and their beginnings rare.
        account.figures = vec![
            ("lost by expiry", ledger.n_expired),
            ("lost to another", ledger.n_fenced),
        ];
        for finding in &ledger.findings {
            account.find(finding.clone());
        }
        account.check(ledger.pulse.n > 0, || "nobody held anything".to_owned());
        account
    }
}
