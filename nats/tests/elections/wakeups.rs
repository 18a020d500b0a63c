//! Wake-ups that are due at the instant at which the scheduler dies, and the passes that they start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::receipt::{Claim, Receipt, Verdict};
use fanfare_nats::{Broker, Task};
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::rig::{lane_of, patiently};
use super::values::{Chance, now, receipt, task};

/// The pass that a wake-up starts.
const PASS: u32 = 2;

#[derive(Default)]
struct Woken {
    due: Timestamp,
    /// Messages that fired, by sequence.
    messages: BTreeSet<u64>,
    /// Workers that recorded the work as finished.
    n_finished: u64,
    /// Somebody knows that it is.
    is_done: bool,
}

struct Ledger {
    pulse: Pulse,
    woken: BTreeMap<String, Woken>,
    n_stored_twice: u64,
    n_obsolete: u64,
    n_refused: u64,
    n_early: u64,
    latest: Duration,
    n_unsure: u64,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct WakeUps {
    ledger: Arc<Mutex<Ledger>>,
}

impl WakeUps {
    /// Workers that take what fires, claim it and finish it.
    pub(crate) async fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            woken: BTreeMap::new(),
            n_stored_twice: 0,
            n_obsolete: 0,
            n_refused: 0,
            n_early: 0,
            latest: Duration::ZERO,
            n_unsure: 0,
        };
        let wakeups = Self {
            ledger: Arc::new(Mutex::new(ledger)),
        };
        for (broker, n) in brokers.iter().zip(0..) {
            let claims = patiently(async || broker.task_claims(&lane_of("woken")).await).await;
            let (load, broker, stop) = (wakeups.clone(), broker.clone(), stop.clone());
            tasks.spawn(async move { load.work(&broker, &claims, Chance(n), &stop).await });
        }
        wakeups
    }

    /// Stores one wake-up for each task, by two workers at the same time.
    pub(crate) async fn arm(&self, brokers: [&Broker; 2], round: usize, due: &[Timestamp]) {
        let mut stores = Vec::new();
        for (n, due) in due.iter().enumerate() {
            let task = task(&format!("w{round}-{n}"), "woken");
            let event = task.event.to_string();
            let woken = Woken {
                due: *due,
                ..Woken::default()
            };
            self.ledger.lock().unwrap().woken.insert(event, woken);
            for broker in brokers {
                let task = task.clone();
                stores.push(async move { self.store(broker, &task, *due).await });
            }
        }
        futures::future::join_all(stores).await;
    }

    async fn store(&self, broker: &Broker, task: &Task, due: Timestamp) {
        while broker.wake_up(task, PASS, due, now()).await.is_err() {
            self.ledger.lock().unwrap().n_unsure += 1;
        }
        self.ledger.lock().unwrap().n_stored_twice += u64::from(now() > due);
    }

    async fn work(
        &self,
        broker: &Broker,
        claims: &Claims,
        mut chance: Chance,
        stop: &CancellationToken,
    ) {
        while !stop.is_cancelled() {
            match claims.next().await {
                Ok(Some(message)) => self.pass(broker, claims, message, chance.next()).await,
                Ok(None) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// One pass, as a notifier does it: claim, work, receipt, acknowledgement.
    async fn pass(&self, broker: &Broker, claims: &Claims, message: Message, nonce: u64) {
        let (task, pass) = message.task(broker.names()).unwrap();
        self.note(&task, message.seq());
        let Ok((mut chain, last)) = broker.receipts(&task).await else {
            return message.nak(None).await;
        };
        let claim = Claim {
            epoch: claims.epoch(),
            pass,
            message: message.seq(),
            delivered: message.delivered(),
            nonce,
        };
        let recorded = last.as_ref().map(|it| &it.claim);
        let is_finished = last.as_ref().is_some_and(Receipt::is_finished);
        match claim.against(recorded) {
            Verdict::Obsolete => self.ledger.lock().unwrap().n_obsolete += 1,
            Verdict::Refused => {
                self.ledger.lock().unwrap().n_refused += 1;
                return message.forget();
            }
            Verdict::Take | Verdict::Own if is_finished => self.done(&task, 0),
            Verdict::Take | Verdict::Own => {
                let end = Receipt {
                    low: None,
                    ..receipt(claim, 1)
                };
                for step in [receipt(claim, 0), end] {
                    if chain.append(&step).await.is_err() {
                        return message.forget();
                    }
                }
                self.done(&task, 1);
            }
        }
        let _comes_again = message.ack().await;
    }

    fn done(&self, task: &Task, n: u64) {
        let mut ledger = self.ledger.lock().unwrap();
        let woken = ledger.woken.get_mut(task.event.as_str()).unwrap();
        woken.n_finished += n;
        woken.is_done = true;
    }

    fn note(&self, task: &Task, seq: u64) {
        let at = now();
        let mut ledger = self.ledger.lock().unwrap();
        let ledger = &mut *ledger;
        let woken = ledger.woken.get_mut(task.event.as_str()).unwrap();
        if woken.messages.insert(seq) {
            ledger.pulse.beat();
            let late = at.duration_since(woken.due);
            ledger.n_early += u64::from(late.is_negative());
            ledger.latest = ledger.latest.max(late.unsigned_abs());
        }
    }

    /// Waits until every pass of every wake-up is finished.
    pub(crate) async fn finished(&self) {
        patiently(async || {
            let ledger = self.ledger.lock().unwrap();
            let open = ledger.woken.values().filter(|it| !it.is_done);
            match open.count() {
                0 => Ok(()),
                open => Err(format!("{open} not woken")),
            }
        })
        .await;
    }

    /// What was seen, compared with the receipts.
    pub(crate) fn audit(&self) -> Account {
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account::of("wake-ups", ledger.pulse);
        // Bursts and the rests between them say nothing about pauses.
        account.longest_pause = ledger.latest;
        account.n_unsure = ledger.n_unsure;
        let twice = ledger.woken.values().filter(|it| it.messages.len() > 1);
        account.figures = vec![
            ("fired twice", u64::try_from(twice.count()).unwrap()),
            ("stored when due", ledger.n_stored_twice),
            ("obsolete", ledger.n_obsolete),
            ("refused", ledger.n_refused),
        ];
        account.check(ledger.pulse.n > 0, || "nothing fired".to_owned());
        account.check(ledger.n_early == 0, || {
            format!("{} came early", ledger.n_early)
        });
        for (event, woken) in &ledger.woken {
            account.check(woken.is_done && woken.n_finished <= 1, || {
                format!("{event}: {} passes finished", woken.n_finished)
            });
        }
        account
    }
}
