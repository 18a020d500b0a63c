//! What it costs that acknowledged means on the disk: `sync_interval` of a minute beside `always`, on
//! one server; and how large what is stored is.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on stops"
)]

mod support;

use std::time::Duration;

use async_nats::jetstream;
use fanfare_nats::event::Urgency;
use fanfare_nats::stream::Topology;
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Options, Server, SyncInterval};
use fanfare_notifier::{Config, lanes, run};
use futures::StreamExt;
use support::{Double, event, register};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const DEVICES: usize = 50_000;
const SERIAL: usize = 2000;
const PIPELINED: usize = 10_000;
const IN_FLIGHT: usize = 64;
const ROUNDS: usize = 3;

fn main() {
    support::be_double_if_asked();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let double = Double::start(Duration::ZERO);
    for (name, sync_interval) in [
        ("one minute", SyncInterval::Every(Duration::from_mins(1))),
        ("always", SyncInterval::Always),
    ] {
        println!("sync_interval {name}, one server");
        runtime.block_on(measure(&double, sync_interval));
    }
}

async fn measure(double: &Double, sync_interval: SyncInterval) {
    let binary = fanfare_nats::testing::binary().await;
    let options = Options {
        sync_interval,
        ..Options::ephemeral()
    };
    let server = Server::start(&binary, options).await.unwrap();
    let options = ConnectOptions {
        servers: vec![server.url()],
        name: "bench".to_owned(),
        node: "bench".to_owned(),
        replicas: 1,
        ..ConnectOptions::default()
    };
    let broker = Broker::connect(options, Metrics::default(), Readiness::new());
    let broker = broker.await.unwrap();
    let config = Config {
        app: vec![double.app()],
        ..Config::default()
    };
    let topology = Topology::new(1, lanes(&config).unwrap());
    broker.ensure(&topology).await.unwrap();

    publishes(&broker).await;
    let start = Instant::now();
    register(&broker, DEVICES, 0).await;
    rate("registrations, 256 in flight", DEVICES, start.elapsed());
    fan_outs(double, &broker, config).await;
    sizes(&server).await;
}

async fn publishes(broker: &Broker) {
    let mut took = Vec::new();
    for n in 0..SERIAL {
        let event = event(&format!("serial-{n}"), "nobody", Urgency::Urgent);
        let start = Instant::now();
        broker.publish(&event, false).await.unwrap();
        took.push(start.elapsed());
    }
    quantiles("event stored, one by one", took);
    let start = Instant::now();
    let events = futures::stream::iter(0..PIPELINED).map(|n| async move {
        let event = event(&format!("many-{n}"), "nobody", Urgency::Urgent);
        let start = Instant::now();
        broker.publish(&event, false).await.unwrap();
        start.elapsed()
    });
    let took: Vec<_> = events.buffer_unordered(IN_FLIGHT).collect().await;
    let all = start.elapsed();
    quantiles("event stored, 64 in flight", took);
    rate("events, 64 in flight", PIPELINED, all);
}

fn quantiles(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
    println!("  {what}: p50 {:?}, p99 {:?}", at(500), at(990));
}

#[expect(clippy::cast_precision_loss, reason = "figures")]
fn rate(what: &str, n: usize, took: Duration) {
    println!("  {what}: {:.0}/s", n as f64 / took.as_secs_f64());
}

async fn fan_outs(double: &Double, broker: &Broker, config: Config) {
    let (stop, readiness) = (CancellationToken::new(), Readiness::new());
    let running = run(
        config,
        broker.clone(),
        fanfare_notifier::Metrics::default(),
        readiness.clone(),
        stop.clone(),
    );
    #[expect(clippy::disallowed_methods, reason = "the bench waits for it below")]
    let notifier = tokio::spawn(async move { running.await.unwrap() });
    while !(readiness.is_ready() && readiness.conditions().len() >= 2) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for round in 1..=ROUNDS {
        let before = double.accepted().await;
        let start = Instant::now();
        let event = event(&format!("round-{round}"), "all", Urgency::Urgent);
        broker.publish(&event, false).await.unwrap();
        let all = before + u64::try_from(DEVICES).unwrap();
        while double.accepted().await < all {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rate("pushes of one event", DEVICES, start.elapsed());
    }
    stop.cancel();
    notifier.await.unwrap();
}

/// What the broker keeps per message, and beside it the disk.
async fn sizes(server: &Server) {
    let client = async_nats::connect(server.url()).await.unwrap();
    let raw = jetstream::new(client);
    for (stream, subjects) in [
        ("FANFARE_EVENTS", "fanfare.event.>"),
        ("FANFARE_TASKS", "fanfare.plan.>"),
        ("FANFARE_TASKS", "fanfare.task.>"),
        ("FANFARE_RECEIPTS", "fanfare.receipt.>"),
        ("KV_fanfare_devices", "$KV.fanfare_devices.d.>"),
    ] {
        let stream = raw.get_stream(stream).await.unwrap();
        let consumer = stream
            .create_consumer(jetstream::consumer::pull::Config {
                filter_subject: subjects.to_owned(),
                ack_policy: jetstream::consumer::AckPolicy::None,
                memory_storage: true,
                ..jetstream::consumer::pull::Config::default()
            })
            .await
            .unwrap();
        let left = consumer.cached_info().num_pending;
        let (mut n, mut bytes) = (0_u64, 0);
        while n < left {
            let mut batch = consumer
                .batch()
                .max_messages(5000)
                .expires(Duration::from_secs(2))
                .messages()
                .await
                .unwrap();
            while let Some(Ok(message)) = batch.next().await {
                bytes += message.length;
                n += 1;
            }
        }
        let per = u64::try_from(bytes).unwrap() / n.max(1);
        println!("  {subjects}: {n} messages of {per} bytes");
    }
    let store = server.store_dir().display().to_string();
    let disk = std::process::Command::new("du")
        .args(["-sk", &store])
        .output();
    let disk = String::from_utf8_lossy(&disk.unwrap().stdout).into_owned();
    let kib = disk.split_whitespace().next().unwrap_or("?").to_owned();
    println!("  on the disk: {kib} KiB");
}
