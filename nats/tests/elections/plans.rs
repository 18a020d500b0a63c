//! Plans with their tasks: two planners of each event, whose indexes differ.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::Context;
use fanfare_nats::batch::{Committed, Way};
use fanfare_nats::subject::{Names, Subject};
use fanfare_nats::{Broker, Plan};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::reading::{Held, by_subject, held};
use super::values::{Chance, plan, task_subject};

/// How long a planner rests between events.
const REST: Duration = Duration::from_millis(25);

struct Ledger {
    pulse: Pulse,
    /// What planners were told is stored; both of an event are told.
    told: Vec<Plan>,
    n_unsure: u64,
    n_found: u64,
}

/// What planners were told, by whichever load or moment they worked.
#[derive(Clone)]
pub(crate) struct Plans {
    ledger: Arc<Mutex<Ledger>>,
    names: Names,
}

impl Plans {
    pub(crate) fn new(names: &Names) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            told: Vec::new(),
            n_unsure: 0,
            n_found: 0,
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            names: names.clone(),
        }
    }

    /// Two planners for each event, for as long as nobody stops them.
    pub(crate) fn start(
        &self,
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        for (me, broker) in (1..).zip(brokers) {
            let (load, broker, stop) = (self.clone(), broker.clone(), stop.clone());
            tasks.spawn(async move {
                let mut chance = Chance(me);
                for n in 0.. {
                    let log2_n = [0, 1, 3, 6][usize::try_from(chance.below(4)).unwrap()];
                    load.commit(&broker, &plan(&format!("p{n}"), "planned", log2_n, me))
                        .await;
                    if stop.is_cancelled() {
                        return;
                    }
                    tokio::time::sleep(REST).await;
                }
            });
        }
    }

    /// A plan that was stored elsewhere.
    pub(crate) fn know(&self, plan: Plan) {
        self.ledger.lock().unwrap().told.push(plan);
    }

    /// Stores a plan as a notifier does: an event whose plan is not known to be stored comes again.
    pub(crate) async fn commit(&self, broker: &Broker, plan: &Plan) {
        loop {
            let committed = broker.store_plan(plan, Way::Together).await;
            let mut ledger = self.ledger.lock().unwrap();
            match committed {
                Ok(committed) => {
                    ledger.pulse.beat();
                    let stands = match committed {
                        Committed::Stored => plan.clone(),
                        Committed::Found(found) => {
                            ledger.n_found += 1;
                            found
                        }
                    };
                    ledger.told.push(stands);
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "plan");
                    ledger.n_unsure += 1;
                }
            }
        }
    }

    /// Compares the ledger with the stream.
    pub(crate) async fn audit(&self, raw: &Context) -> Account {
        let held = held(raw, &self.names.tasks()).await;
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account::of("plans", ledger.pulse);
        account.n_unsure = ledger.n_unsure;
        account.figures.push(("found", ledger.n_found));
        let mut stands = BTreeMap::new();
        for plan in &ledger.told {
            let first = stands.entry(&plan.event).or_insert(plan);
            account.check(*first == plan, || format!("two plans of {}", plan.event));
        }
        self.check(
            &stands.into_values().collect::<Vec<_>>(),
            &held,
            &mut account,
        );
        account.check(ledger.pulse.n > 0, || "nothing was planned".to_owned());
        account
    }

    /// Each plan is stored once with exactly its own tasks right behind it; no task lies without
    /// its plan.
    fn check(&self, plans: &[&Plan], held: &Held, account: &mut Account) {
        let subjects = by_subject(held);
        let mut n_tasks: BTreeMap<String, u32> = BTreeMap::new();
        for subject in held.values() {
            if let Ok(Subject::Task { event, pass: 1, .. }) = self.names.parse(subject) {
                *n_tasks.entry(event.to_string()).or_default() += 1;
            }
        }
        for plan in plans {
            let event = plan.event.clone();
            let at = subjects.get(&*self.names.subject(&Subject::Plan { event }));
            let Some(&[at]) = at.map(Vec::as_slice) else {
                account.find(format!("the plan of {} is stored at {at:?}", plan.event));
                continue;
            };
            let n = n_tasks.remove(plan.event.as_str()).unwrap_or(0);
            account.check(n == plan.n_tasks(), || {
                format!("{} has {n} tasks of {}", plan.event, plan.n_tasks())
            });
            for (seq, task) in (at + 1..).zip(plan.tasks()) {
                let subject = self.names.subject(&task_subject(&task, 1));
                let is_behind = held.get(&seq) == Some(&subject);
                account.check(is_behind, || format!("{subject} is not at {seq}"));
            }
        }
        for event in n_tasks.keys() {
            account.find(format!(
                "tasks of {event} without a plan that anybody knows"
            ));
        }
    }
}
