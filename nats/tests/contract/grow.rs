//! One replica becomes three while everything runs: nothing is lost, nothing comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fanfare_nats::consumer::Claims;
use fanfare_nats::receipt::{Claim, Receipt};
use fanfare_nats::stream::{Step, Topology, steps};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Plan};

use super::support::{event, eventually, lane, now, plan, raw, state};

/// Events before, while and after the copies are made.
const BEFORE: usize = 300;
const AFTER: usize = 300;

/// What was done, by item: how often it was taken after it had been settled.
#[derive(Default)]
struct Ledger {
    settled: Mutex<BTreeSet<String>>,
    again: Mutex<BTreeMap<String, usize>>,
    /// What was not done at first, for whoever reads a failure.
    last_error: Mutex<String>,
}

impl Ledger {
    fn note(&self, what: &str) {
        if !self.settled.lock().unwrap().insert(what.to_owned()) {
            *self
                .again
                .lock()
                .unwrap()
                .entry(what.to_owned())
                .or_default() += 1;
        }
    }

    /// Until it is done.
    async fn insist<T, E: std::fmt::Debug>(&self, mut act: impl AsyncFnMut() -> Result<T, E>) -> T {
        loop {
            match act().await {
                Ok(done) => return done,
                Err(error) => *self.last_error.lock().unwrap() = format!("{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn n(&self) -> usize {
        self.settled.lock().unwrap().len()
    }
}

/// Publishes one event after the other until it is told to stop; each until it is known to be stored.
async fn publish(broker: &Broker, name: &str, n_stored: &AtomicUsize, stop: &AtomicBool) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let event = event(&format!("{name}-{n}"));
        while broker.publish(&event, false).await.is_err() {}
        n_stored.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes events, plans each, and acknowledges it when its plan and task are stored.
async fn plan_all(broker: &Broker, ledger: &Ledger, is_over: &AtomicBool) {
    let claims = broker.event_claims().await.unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(Some(message)) = claims.next().await else {
            continue;
        };
        let event = message.event(broker.names()).unwrap();
        let wanted = Plan {
            event: event.id(),
            event_seq: message.seq(),
            ..plan(&event.item, &[("ios", 1)])
        };
        ledger.insist(async || broker.commit(&wanted).await).await;
        if message.ack().await.is_ok() {
            ledger.note(&event.item);
        }
    }
}

/// Takes tasks; each gets its claim as a receipt before it is acknowledged.
async fn send_all(broker: &Broker, ledger: &Ledger, is_over: &AtomicBool) {
    let claims: Claims = broker.task_claims(&lane("ios")).await.unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(Some(message)) = claims.next().await else {
            continue;
        };
        let (task, pass) = message.task(broker.names()).unwrap();
        let claim = Claim {
            epoch: claims.epoch(),
            pass,
            message: message.seq(),
            delivered: message.delivered(),
            nonce: message.seq(),
        };
        let at = now();
        let read = async || broker.receipts(&task).await;
        let (mut chain, _) = ledger.insist(read).await;
        if chain.append(&Receipt::first(claim, "n1", at)).await.is_ok()
            && message.ack().await.is_ok()
        {
            ledger.note(&task.event.to_string());
        }
    }
}

/// Copies, a new lane, and a longer wait, all at once.
fn three() -> Topology {
    Topology {
        epoch: 2,
        ..Topology::new(3, vec![lane("ios"), lane("other")])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_becomes_three_under_load_and_nothing_is_lost_or_comes_again() {
    let server = TestServer::start_three().await;
    let one = Topology::new(1, vec![lane("ios")]);
    let broker = server.broker_with("n1", &one).await;
    let raw = raw(&server).await;
    let (stop, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let n_stored = AtomicUsize::new(0);
    let (events, tasks) = (Ledger::default(), Ledger::default());
    let reached = async |n: usize| {
        let n_stored = &n_stored;
        eventually(async move || match n_stored.load(Ordering::Relaxed) {
            found if found >= n => Ok(()),
            found => Err(found),
        })
        .await;
    };
    let grow = async {
        reached(BEFORE).await;
        let three = three();
        let planned = steps(broker.verify(&three).await);
        let is_told = |it: &Step| matches!(it, Step::Set { name, .. } if name == "FANFARE_TASKS");
        assert!(planned.iter().any(is_told), "{planned:#?}");
        let n_before = n_stored.load(Ordering::Relaxed);
        let left = broker.apply(&three, &planned).await.unwrap();
        assert_eq!(left, []);
        let n_meanwhile = n_stored.load(Ordering::Relaxed) - n_before;
        reached(n_before + n_meanwhile + AFTER).await;
        stop.store(true, Ordering::Relaxed);
        let n_all = || n_stored.load(Ordering::Relaxed);
        eventually(async || match (events.n(), tasks.n()) {
            found if found == (n_all(), n_all()) => Ok(()),
            found => {
                let seen = broker.survey(&three, None, now).await;
                let errors = [&events, &tasks].map(|it| it.last_error.lock().unwrap().clone());
                Err((found, n_all(), seen.consumers, errors))
            }
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
        println!(
            "{} events, {n_meanwhile} of them while the copies were made",
            n_all()
        );
        three
    };
    let (three, ..) = tokio::join!(
        grow,
        publish(&broker, "a", &n_stored, &stop),
        publish(&broker, "b", &n_stored, &stop),
        plan_all(&broker, &events, &is_over),
        plan_all(&broker, &events, &is_over),
        send_all(&broker, &tasks, &is_over),
        send_all(&broker, &tasks, &is_over),
    );
    assert_eq!(*events.again.lock().unwrap(), BTreeMap::new());
    assert_eq!(*tasks.again.lock().unwrap(), BTreeMap::new());
    assert_eq!(broker.verify(&three).await, []);
    let n_stored = u64::try_from(n_stored.into_inner()).unwrap();
    assert_eq!(state(&raw, "FANFARE_EVENTS").await.messages, n_stored);
    copies_are_current(&raw).await;
}

async fn copies_are_current(raw: &async_nats::jetstream::Context) {
    for name in ["FANFARE_EVENTS", "FANFARE_TASKS", "KV_fanfare_devices"] {
        let info = raw.get_stream(name).await.unwrap();
        let cluster = info.cached_info().cluster.clone().unwrap();
        assert_eq!(cluster.replicas.len(), 2, "{name}");
        assert!(
            cluster.replicas.iter().all(|it| it.current),
            "{name}: {cluster:?}"
        );
    }
}
