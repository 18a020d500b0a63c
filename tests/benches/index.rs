//! The device index at 100,000 and 1,000,000 devices: bytes each, and the time to load it beside the
//! broker's bare replay of the same bucket.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod support;

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use fanfare_nats::Broker;
use fanfare_nats::event::Urgency;
use fanfare_nats::feed::Change;
use fanfare_nats::index::Index;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use futures::StreamExt;
use support::{event, register, resident};
use tokio::time::Instant;

/// Every how many devices one has a token as long as FCM's: the mix of an app on both platforms.
const FCM_EVERY: usize = 2;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sizes = match std::env::args().find(|it| it == "--small") {
        Some(_) => vec![100_000],
        None => vec![100_000, 1_000_000],
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    for size in sizes {
        runtime.block_on(at(size));
    }
}

async fn at(size: usize) {
    let server = TestServer::start().await;
    let broker = server
        .broker_with("bench", &Topology::new(1, Vec::new()))
        .await;
    let start = Instant::now();
    register(&broker, size, FCM_EVERY).await;
    println!(
        "{size} devices, 3 subscriptions each, half APNs and half FCM tokens; registered in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let bare = replay(&server, size).await;
    let before = resident();
    let start = Instant::now();
    let index = load(&broker).await;
    let loaded = start.elapsed();
    assert_eq!(index.len(), size);
    println!(
        "  {} bytes per device (resident memory)",
        (resident() - before) / size as u64
    );
    println!(
        "  loaded in {:.2} s, the broker's bare replay took {:.2} s: ratio {:.2}",
        loaded.as_secs_f64(),
        bare.as_secs_f64(),
        loaded.as_secs_f64() / bare.as_secs_f64()
    );
    for topic in ["all", "regions.7", "nobody"] {
        let event = event("x", topic, Urgency::Urgent);
        let start = Instant::now();
        let n: u64 = index
            .count(&index.interest(&event))
            .iter()
            .map(|it| it.1)
            .sum();
        println!(
            "  audience of `{topic}`: {n} counted in {:.2} ms",
            start.elapsed().as_secs_f64() * 1e3
        );
    }
}

async fn load(broker: &Broker) -> Index {
    let mut index = Index::with_capacity(broker.n_devices().await.unwrap());
    broker
        .load_devices(|change, revision| match change {
            Change::Put(id, device) => index.put(&id, &device, revision),
            Change::Removed(id) => index.remove(&id, revision),
            Change::Later(..) | Change::Other => index.reach(revision),
        })
        .await
        .unwrap();
    index
}

/// The same consumer, its messages read and thrown away.
async fn replay(server: &TestServer, size: usize) -> Duration {
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client)
        .get_stream("KV_fanfare_devices")
        .await
        .unwrap();
    let start = Instant::now();
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            ack_policy: AckPolicy::None,
            filter_subject: "$KV.fanfare_devices.d.>".to_owned(),
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        })
        .await
        .unwrap();
    let mut n = 0;
    while n < size {
        let mut batch = consumer
            .batch()
            .max_messages(5000)
            .expires(Duration::from_secs(5))
            .messages()
            .await
            .unwrap();
        while let Some(message) = batch.next().await {
            let _ = message.unwrap();
            n += 1;
        }
    }
    start.elapsed()
}
