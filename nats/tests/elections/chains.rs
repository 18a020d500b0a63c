//! Receipts: workers append to chains by compare-and-set and take them from one another.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fanfare_nats::receipt::{Claim, Receipt, Verdict};
use fanfare_nats::receipts::AppendError;
use fanfare_nats::{Broker, Lane, Plan, Task};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::rig::patiently;
use super::values::{Chance, plan, receipt};

/// Chains that are worked on at the same time: of one plan, so that they are read together.
const LOG2_CHAINS: u8 = 4;
const CHAINS: u64 = 1 << LOG2_CHAINS;
/// Longest work of one claim, in appends.
const STRETCH: u64 = 40;
/// How long a worker rests between appends.
const REST: std::time::Duration = std::time::Duration::from_millis(15);

/// One append as its worker saw it: nonce, step, and the sequence if it was acknowledged.
type Seen = (u64, u64, Option<u64>);

struct Ledger {
    pulse: Pulse,
    seen: Vec<(u64, Seen)>,
    n_fenced: u64,
    n_unsure: u64,
    refusals: Vec<String>,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct Chains {
    ledger: Arc<Mutex<Ledger>>,
}

fn chains() -> Plan {
    plan("chains", "chained", LOG2_CHAINS, 1)
}

fn chain_task(n: u64) -> Task {
    chains().tasks().nth(usize::try_from(n).unwrap()).unwrap()
}

impl Chains {
    /// Two workers for each chain, on different servers.
    pub(crate) fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            seen: Vec::new(),
            n_fenced: 0,
            n_unsure: 0,
            refusals: Vec::new(),
        };
        let chains = Self {
            ledger: Arc::new(Mutex::new(ledger)),
        };
        for n in 0..CHAINS {
            for worker in 0..2 {
                let seat = usize::try_from(n + worker).unwrap() % brokers.len();
                let (load, broker, stop) = (chains.clone(), brokers[seat].clone(), stop.clone());
                let mut chance = Chance(n * 2 + worker);
                tasks.spawn(async move {
                    while !stop.is_cancelled() {
                        load.work(n, &broker, &mut chance).await;
                    }
                });
            }
        }
        chains
    }

    /// Takes a chain over and appends to it until somebody else takes it, or for a while.
    async fn work(&self, n: u64, broker: &Broker, chance: &mut Chance) {
        let Ok((mut chain, last)) = broker.receipts(&chain_task(n)).await else {
            tokio::time::sleep(REST).await;
            return;
        };
        let claim = Claim {
            epoch: 1,
            pass: 1,
            message: 0,
            delivered: last.as_ref().map_or(0, |it| it.claim.delivered) + 1,
            nonce: chance.next(),
        };
        let verdict = claim.against(last.as_ref().map(|it| &it.claim));
        assert_eq!(verdict, Verdict::Take);
        for step in 0..=chance.below(STRETCH) {
            let appended = chain.append(&receipt(claim, step)).await;
            if !self.note(n, claim.nonce, step, appended) {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    }

    /// Whether the worker may go on.
    fn note(&self, n: u64, nonce: u64, step: u64, appended: Result<u64, AppendError>) -> bool {
        let mut ledger = self.ledger.lock().unwrap();
        let ledger = &mut *ledger;
        let seq = match appended {
            Ok(seq) => {
                ledger.pulse.beat();
                Some(seq)
            }
            Err(AppendError::Fenced) => {
                ledger.n_fenced += 1;
                None
            }
            Err(AppendError::Unknown) => {
                ledger.n_unsure += 1;
                None
            }
            Err(AppendError::Refused(refusal)) => {
                ledger.refusals.push(refusal.to_string());
                None
            }
        };
        ledger.seen.push((n, (nonce, step, seq)));
        seq.is_some()
    }

    /// Compares the ledger with what stands.
    pub(crate) async fn audit(&self, broker: &Broker) -> Account {
        let mut account = {
            let ledger = self.ledger.lock().unwrap();
            let mut account = Account::of("receipts", ledger.pulse);
            account.n_unsure = ledger.n_unsure;
            account.figures.push(("fenced", ledger.n_fenced));
            for refusal in &ledger.refusals {
                account.find(refusal.clone());
            }
            account.check(ledger.pulse.n > 0, || "nothing was appended".to_owned());
            account
        };
        let mut n_unsure_stored = 0;
        let stands: Vec<(u64, u64, Receipt)> = patiently(async || {
            let mut stands = Vec::new();
            let take = |_: &Lane, n: u32, seq, receipt| stands.push((u64::from(n), seq, receipt));
            let read = broker.each_receipt(&chains(), take).await;
            read.map(|()| stands)
        })
        .await;
        for n in 0..CHAINS {
            let stands = stands.iter().filter(|(of, ..)| *of == n);
            let stands: Vec<_> = stands.map(|(_, seq, it)| (*seq, it.clone())).collect();
            let ledger = self.ledger.lock().unwrap();
            let seen = ledger.seen.iter().filter(|(of, _)| *of == n);
            let seen: Vec<Seen> = seen.map(|(_, it)| *it).collect();
            n_unsure_stored += check(n, &stands, &seen, &mut account);
        }
        account.figures.push(("unsure, stored", n_unsure_stored));
        account
    }
}

/// Every acknowledged append stands once, where its worker was told; each claim's appends are
/// together and in order, and claims only grow. Returns how many stand that nobody was told of.
fn check(n: u64, stands: &[(u64, Receipt)], seen: &[Seen], account: &mut Account) -> u64 {
    let low = |it: &Receipt| it.low.map_or(0, |it| it.0);
    let written: Vec<(u64, u64, Option<u64>)> = stands
        .iter()
        .map(|(seq, it)| (it.claim.nonce, low(it), Some(*seq)))
        .collect();
    let distinct: BTreeSet<_> = written
        .iter()
        .map(|(nonce, step, _)| (nonce, step))
        .collect();
    account.check(distinct.len() == written.len(), || {
        format!("chain {n} holds an append twice")
    });
    let there: BTreeSet<_> = written.iter().copied().collect();
    let acknowledged = seen.iter().filter(|(.., seq)| seq.is_some());
    for append in acknowledged {
        account.check(there.contains(append), || {
            format!("chain {n}: acknowledged and not there: {append:?}")
        });
    }
    for pair in stands.windows(2) {
        let [(_, one), (seq, next)] = pair else {
            continue;
        };
        let is_next = if one.claim == next.claim {
            low(next) == low(one) + 1
        } else {
            low(next) == 0 && next.claim.against(Some(&one.claim)) == Verdict::Take
        };
        account.check(is_next, || format!("chain {n} is broken at {seq}"));
    }
    let told: BTreeSet<_> = seen.iter().copied().collect();
    let untold = written.iter().filter(|it| !told.contains(it)).count();
    u64::try_from(untold).unwrap()
}
