//! Claims: hundreds of messages are held, handed back, forgotten and come again; their delivery
//! counts only grow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::batch::Way;
use fanfare_nats::consumer::Claims;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::rig::{lane_of, patiently};
use super::values::{Chance, plan};

/// Messages in the churn: the most a plan may have.
const LOG2_MESSAGES: u8 = 9;
/// Workers on each connection.
const WORKERS: u64 = 2;
const REST: Duration = Duration::from_millis(4);

struct Ledger {
    pulse: Pulse,
    /// Delivery counts seen of each message.
    counts: BTreeMap<u64, BTreeSet<u64>>,
    settled: BTreeSet<u64>,
    n_repeated: u64,
    n_fallen: u64,
    n_settled_again: u64,
    n_failed_pulls: u64,
    examples: Vec<String>,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct Churn {
    ledger: Arc<Mutex<Ledger>>,
}

impl Churn {
    pub(crate) async fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let plan = plan("churn", "churn", LOG2_MESSAGES, 1);
        brokers[0].store_plan(&plan, Way::Together).await.unwrap();
        let ledger = Ledger {
            pulse: Pulse::new(),
            counts: BTreeMap::new(),
            settled: BTreeSet::new(),
            n_repeated: 0,
            n_fallen: 0,
            n_settled_again: 0,
            n_failed_pulls: 0,
            examples: Vec::new(),
        };
        let churn = Self {
            ledger: Arc::new(Mutex::new(ledger)),
        };
        for (broker, worker) in brokers.iter().zip(0..) {
            for n in 0..WORKERS {
                let claims = patiently(async || broker.task_claims(&lane_of("churn")).await).await;
                let (load, stop) = (churn.clone(), stop.clone());
                let chance = Chance(worker * WORKERS + n);
                tasks.spawn(async move { load.work(&claims, chance, &stop).await });
            }
        }
        churn
    }

    /// The plan that the load put into its lane.
    pub(crate) fn plan() -> fanfare_nats::Plan {
        plan("churn", "churn", LOG2_MESSAGES, 1)
    }

    async fn work(&self, claims: &Claims, mut chance: Chance, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let Ok(taken) = claims.next().await else {
                self.ledger.lock().unwrap().n_failed_pulls += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(message) = taken else { continue };
            self.note(message.seq(), message.delivered());
            match chance.below(100) {
                0 => {
                    let seq = message.seq();
                    if message.ack().await.is_ok() {
                        self.ledger.lock().unwrap().settled.insert(seq);
                    }
                }
                1..30 => message.nak(None).await,
                30..40 => message.nak(Some(Duration::from_millis(300))).await,
                40..60 => {
                    message.extend().await;
                    message.forget();
                }
                _ => message.forget(),
            }
            tokio::time::sleep(REST).await;
        }
    }

    fn note(&self, seq: u64, delivered: u64) {
        let mut ledger = self.ledger.lock().unwrap();
        let ledger = &mut *ledger;
        ledger.pulse.beat();
        ledger.n_settled_again += u64::from(ledger.settled.contains(&seq));
        let counts = ledger.counts.entry(seq).or_default();
        let highest = counts.last().copied().unwrap_or(0);
        if delivered <= highest {
            if counts.contains(&delivered) {
                ledger.n_repeated += 1;
            } else {
                ledger.n_fallen += 1;
            }
            ledger
                .examples
                .push(format!("message {seq} came as {delivered} after {highest}"));
        }
        counts.insert(delivered);
    }

    /// What was seen; there is nothing to compare it with.
    pub(crate) fn audit(&self) -> Account {
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account::of("claims", ledger.pulse);
        account.n_unsure = ledger.n_failed_pulls;
        let redelivered = ledger.counts.values().map(|it| it.len().saturating_sub(1));
        let n_redelivered = u64::try_from(redelivered.sum::<usize>()).unwrap();
        account.figures = vec![
            ("redelivered", n_redelivered),
            ("counts repeated", ledger.n_repeated),
            ("counts fallen", ledger.n_fallen),
            ("settled", u64::try_from(ledger.settled.len()).unwrap()),
            ("settled and came again", ledger.n_settled_again),
        ];
        for example in &ledger.examples {
            account.find(example.clone());
        }
        account.check(n_redelivered > 0, || "nothing came again".to_owned());
        account
    }
}
