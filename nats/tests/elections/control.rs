//! Control records, of which leases, baselines and cursors are made: three create each, one wins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::control::Created;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::rig::patiently;

const REST: Duration = Duration::from_millis(25);

/// Who won, as one creator was told: the value that stands, and whether it is its own.
type Told = (String, bool);

struct Ledger {
    pulse: Pulse,
    told: BTreeMap<u64, Vec<Told>>,
    n_unsure: u64,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct Control {
    ledger: Arc<Mutex<Ledger>>,
}

fn key(n: u64) -> String {
    format!("baseline.record-{n}")
}

impl Control {
    pub(crate) fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            told: BTreeMap::new(),
            n_unsure: 0,
        };
        let control = Self {
            ledger: Arc::new(Mutex::new(ledger)),
        };
        for (me, broker) in brokers.iter().enumerate() {
            let (load, broker, stop) = (control.clone(), broker.clone(), stop.clone());
            tasks.spawn(async move {
                for n in 0.. {
                    load.create(&broker, me, n).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    tokio::time::sleep(REST).await;
                }
            });
        }
        control
    }

    async fn create(&self, broker: &Broker, me: usize, n: u64) {
        let mut tries = 0;
        loop {
            // A try whose fate is not known is another's from then on: its value tells.
            let own = format!("{me}.{tries}");
            let created = broker.control_create(&key(n), own.clone().into()).await;
            let mut ledger = self.ledger.lock().unwrap();
            let told = match created {
                Ok(Created::Mine(_)) => (own, true),
                Ok(Created::Theirs(record)) => {
                    (String::from_utf8_lossy(&record.value).into_owned(), false)
                }
                Err(_) => {
                    ledger.n_unsure += 1;
                    tries += 1;
                    continue;
                }
            };
            ledger.pulse.beat();
            ledger.told.entry(n).or_default().push(told);
            return;
        }
    }

    /// Compares the ledger with what stands.
    pub(crate) async fn audit(&self, broker: &Broker) -> Account {
        let (mut account, told) = {
            let ledger = self.ledger.lock().unwrap();
            let mut account = Account::of("control", ledger.pulse);
            account.n_unsure = ledger.n_unsure;
            account.check(ledger.pulse.n > 0, || "nothing was created".to_owned());
            (account, ledger.told.clone())
        };
        for (n, told) in told {
            let stands = patiently(async || broker.control_get(&key(n)).await).await;
            let stands = stands.map(|it| String::from_utf8_lossy(&it.value).into_owned());
            let n_winners = told.iter().filter(|(_, is_own)| *is_own).count();
            account.check(n_winners <= 1, || {
                format!("{}: {n_winners} winners", key(n))
            });
            for (value, _) in told {
                account.check(Some(&value) == stands.as_ref(), || {
                    format!("{}: told {value}, {stands:?} stands", key(n))
                });
            }
        }
        account
    }
}
