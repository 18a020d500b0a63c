//! More notifiers, more pushes: 1, 2 and 4 processes with a provider that answers after 50 ms, and one
//! that comes in the middle of an event to a million devices.
//!
//! Each process may have so few requests under way that waiting for the provider, not the CPU, is
//! what limits it: then what more processes bring is theirs and not the machine's. `-- --small` makes
//! it 100,000 devices.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on stops; figures"
)]

mod support;

use std::time::Duration;

use fanfare_nats::Broker;
use fanfare_nats::event::Urgency;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_notifier::{Config, lanes};
use support::fleet::{Notifier, Ticks, Told, be_notifier_if_asked};
use support::{Double, event, median, register};
use tokio::time::Instant;

const ANSWER: Duration = Duration::from_millis(50);
/// Requests of one process under way, the shipped value; with the answer's time, at most 2,560 a
/// second.
const CONCURRENCY: usize = 128;
/// So many that beginning and end of an event, where not everybody has work, count for little.
const DEVICES: usize = 60_000;
const ROUNDS: usize = 3;
const SIZES: [usize; 3] = [1, 2, 4];
/// What the ratios should be at least.
const AIMS: [f64; 3] = [1.0, 1.9, 3.6];
/// A rate is that of so long a time.
const SLIDE: Duration = Duration::from_millis(200);

fn main() {
    support::be_double_if_asked();
    if be_notifier_if_asked() {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let is_small = std::env::args().any(|it| it == "--small");
    println!(
        "the provider answers after {ANSWER:?}; {CONCURRENCY} requests under way per notifier, at \
         most {} pushes/s each",
        ceiling()
    );
    runtime.block_on(throughput());
    runtime.block_on(joining(if is_small { 100_000 } else { 1_000_000 }));
}

/// What one notifier can do.
fn ceiling() -> f64 {
    CONCURRENCY as f64 / ANSWER.as_secs_f64()
}

/// A broker with so many devices, and the doubles.
struct Stage {
    server: TestServer,
    broker: Broker,
    double: Double,
}

impl Stage {
    async fn set(n_devices: usize) -> Self {
        let double = Double::start(ANSWER);
        let server = TestServer::start().await;
        let config = Config {
            app: vec![double.app()],
            ..Config::default()
        };
        let topology = Topology::new(1, lanes(&config).unwrap());
        let broker = server.broker_with("bench", &topology).await;
        let start = Instant::now();
        register(&broker, n_devices, 0).await;
        println!(
            "registered {n_devices} devices in {:.1} s",
            start.elapsed().as_secs_f64()
        );
        Self {
            server,
            broker,
            double,
        }
    }

    fn notifier(&self, node: &str) -> Notifier {
        Notifier::start(node, &self.server.url(), CONCURRENCY, &self.double)
    }

    fn broker_pid(&mut self) -> u32 {
        self.server.server().pid().try_into().unwrap()
    }
}

/// One event to all, by 1, 2 and 4 notifiers in turn.
async fn throughput() {
    let mut stage = Stage::set(DEVICES).await;
    let mut rates: [Vec<f64>; 3] = [vec![], vec![], vec![]];
    for round in 1..=ROUNDS {
        for (n, rates) in SIZES.into_iter().zip(&mut rates) {
            rates.push(fan_out(&mut stage, round, n).await);
        }
    }
    let rates = rates.map(median);
    for ((n, rate), aim) in SIZES.into_iter().zip(rates).zip(AIMS) {
        println!(
            "median of {ROUNDS}: {n} notifiers {rate:>6.0}/s, {:.2} x one (aim {aim}), {:.0} % of what \
             the provider's answers allow",
            rate / rates[0],
            rate / (ceiling() * n as f64) * 100.0
        );
    }
}

/// Pushes per second from the event's publication to the last push.
async fn fan_out(stage: &mut Stage, round: usize, n: usize) -> f64 {
    let notifiers: Vec<Notifier> = (1..=n)
        .map(|it| stage.notifier(&format!("n{round}-{n}-{it}")))
        .collect();
    for notifier in &notifiers {
        notifier.ready().await;
    }
    let mut pids = vec![stage.double.pid(), stage.broker_pid()];
    pids.extend(notifiers.iter().map(Notifier::pid));
    let before = stage.double.accepted().await;
    let (ticks, start) = (Ticks::of(&pids), Instant::now());
    let event = event(&format!("round-{round}-{n}"), "all", Urgency::Urgent);
    stage.broker.publish(&event, false).await.unwrap();
    let all = before + u64::try_from(DEVICES).unwrap();
    while stage.double.accepted().await < all {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = DEVICES as f64 / start.elapsed().as_secs_f64();
    let (each, machine) = Ticks::of(&pids).since(&ticks);
    println!(
        "  round {round}, {n} notifiers: {rate:>6.0}/s; CPU {:.0} % of the machine (notifiers {:.0}, \
         provider {:.0}, broker {:.0}), with all else that runs on it {machine:.0} %",
        each.iter().sum::<f64>(),
        each[2..].iter().sum::<f64>(),
        each[0],
        each[1],
    );
    notifiers.into_iter().for_each(Notifier::end);
    assert_eq!(stage.double.accepted().await, all, "somebody got it twice");
    rate
}

/// Two notifiers are at an event; a third comes.
async fn joining(n_devices: usize) {
    let stage = Stage::set(n_devices).await;
    let (one, two) = (stage.notifier("n1"), stage.notifier("n2"));
    for notifier in [&one, &two] {
        notifier.ready().await;
    }
    let event = event("million", "all", Urgency::Urgent);
    stage.broker.publish(&event, false).await.unwrap();
    while one.told().len() < 50 || two.told().len() < 50 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let three = stage.notifier("n3");
    let ready = three.ready().await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let told = [one.told(), two.told(), three.told()];
    let (from, to) = (
        ready + Duration::from_secs(2),
        ready + Duration::from_secs(5),
    );
    let rates = told.each_ref().map(|it| rate(it, from, to));
    let fair = rates.iter().sum::<f64>() / 3.0;
    println!(
        "in the middle of an event to {n_devices} devices: 2 notifiers, {:.0}/s; then a third",
        rate(&told[0], ready - SLIDE, ready) + rate(&told[1], ready - SLIDE, ready)
    );
    println!(
        "  from its start to ready, its index loaded: {:.2} s",
        (ready - three.started).as_secs_f64()
    );
    let first = told[2].iter().find(|it| it.1 > 0).unwrap().0;
    println!(
        "  from ready to its first accepted push: {:.0} ms (the answer's {ANSWER:?} included)",
        (first - ready).as_secs_f64() * 1e3
    );
    let shared = told[2]
        .iter()
        .map(|it| it.0)
        .find(|at| rate(&told[2], *at - SLIDE, *at) >= 0.8 * fair);
    println!(
        "  from ready to 80 % of its fair share of {fair:.0}/s, over {SLIDE:?}: {}",
        shared.map_or("never".to_owned(), |it| format!(
            "{:.0} ms (aim 1000)",
            (it - ready).as_secs_f64() * 1e3
        ))
    );
    println!(
        "  from 2 to 5 s after: {:.0}, {:.0} and {:.0}/s",
        rates[0], rates[1], rates[2]
    );
}

/// Accepted pushes per second between two moments.
fn rate(told: &Told, from: Instant, to: Instant) -> f64 {
    let at = |moment: Instant| {
        let before = told.iter().take_while(|it| it.0 <= moment);
        before.last().map_or(0, |it| it.1)
    };
    (at(to) - at(from)) as f64 / (to - from).as_secs_f64()
}
