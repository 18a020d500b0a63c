//! Create-only publish: three fetchers show the same items, and hold on to each until it is known
//! to be stored.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::Context;
use fanfare_nats::Broker;
use fanfare_nats::publish::{PublishEventError, Published};
use futures::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse};
use super::reading::{by_subject, held};
use super::values::{event, event_subject};

/// Items of one poll, published at the same time.
const POLL: usize = 8;
/// How long a fetcher rests between polls.
const REST: Duration = Duration::from_millis(20);

struct Ledger {
    pulse: Pulse,
    /// Each fetcher knows its items below this to be stored.
    known: Vec<usize>,
    /// Where an item is, as whoever stored it was told.
    stored: Vec<(usize, u64)>,
    n_unsure: u64,
    refusals: Vec<String>,
}

/// The load and its ledger.
#[derive(Clone)]
pub(crate) struct Events {
    ledger: Arc<Mutex<Ledger>>,
    names: fanfare_nats::subject::Names,
}

fn item(n: usize) -> String {
    format!("e{n}")
}

impl Events {
    pub(crate) fn start(
        brokers: &[Broker],
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let ledger = Ledger {
            pulse: Pulse::new(),
            known: vec![0; brokers.len()],
            stored: Vec::new(),
            n_unsure: 0,
            refusals: Vec::new(),
        };
        let events = Self {
            ledger: Arc::new(Mutex::new(ledger)),
            names: brokers[0].names().clone(),
        };
        for (me, broker) in brokers.iter().enumerate() {
            let (load, broker, stop) = (events.clone(), broker.clone(), stop.clone());
            tasks.spawn(async move { load.fetch(me, &broker, &stop).await });
        }
        events
    }

    async fn fetch(&self, me: usize, broker: &Broker, stop: &CancellationToken) {
        for poll in (0..).step_by(POLL) {
            join_all((poll..poll + POLL).map(|n| self.publish(broker, n))).await;
            self.ledger.lock().unwrap().known[me] = poll + POLL;
            if stop.is_cancelled() {
                return;
            }
            tokio::time::sleep(REST).await;
        }
    }

    async fn publish(&self, broker: &Broker, n: usize) {
        loop {
            let published = broker.publish(&event(&item(n)), false).await;
            let mut ledger = self.ledger.lock().unwrap();
            match published {
                Ok(published) => {
                    ledger.pulse.beat();
                    if let Published::Stored(seq) = published {
                        ledger.stored.push((n, seq));
                    }
                    return;
                }
                Err(PublishEventError::Unknown { .. }) => ledger.n_unsure += 1,
                Err(error @ PublishEventError::Refused { .. }) => {
                    ledger.refusals.push(format!("{error:?}"));
                    return;
                }
            }
        }
    }

    /// Compares the ledger with the stream.
    pub(crate) async fn audit(&self, raw: &Context) -> Account {
        let held = held(raw, &self.names.events()).await;
        let subjects = by_subject(&held);
        let ledger = self.ledger.lock().unwrap();
        let mut account = Account::of("events", ledger.pulse);
        account.n_unsure = ledger.n_unsure;
        for refusal in &ledger.refusals {
            account.find(refusal.clone());
        }
        let subject = |n: usize| self.names.subject(&event_subject(&event(&item(n))));
        for n in 0..ledger.known.iter().copied().max().unwrap_or(0) {
            let n_stored = subjects.get(&*subject(n)).map_or(0, Vec::len);
            account.check(n_stored == 1, || {
                format!("{} stored {n_stored} times", item(n))
            });
        }
        for (n, seq) in &ledger.stored {
            let is_there = held.get(seq) == Some(&subject(*n));
            account.check(is_there, || format!("{} is not at {seq}", item(*n)));
        }
        account.check(ledger.pulse.n > 0, || "nothing was published".to_owned());
        account
    }
}
