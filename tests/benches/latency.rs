//! Latency from an item served over WebSocket to the provider's request, in an idle system: sim shows
//! real quakes one by one, one fetcher and one notifier carry each to a device.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on stops"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::event::SourceName;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{EventId, Level, Readiness};
use fanfare_notifier::provider::{AppConfig, ProviderKind};
use fanfare_sim::{Sim, SimConfig};
use hdrhistogram::Histogram;
use tokio_util::sync::CancellationToken;

/// Events measured at the most.
const EVENTS: usize = 300;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        at("R1", TestServer::start().await).await;
        at("R3", TestServer::start_three().await).await;
    });
}

fn source(sim: &Sim) -> fanfare_fetcher::Config {
    toml::from_str(&format!(
        r#"
        [fetcher]
        contact = "bench@example.org"
        [[source]]
        name = "quakes"
        id = "{{{{ item.id }}}}"
        time = "{{{{ item.properties.time | from_ms }}}}"
        topics = ["all"]
        title = "M {{{{ item.properties.mag }}}} {{{{ item.properties.place }}}}"
        [[source.input]]
        http = "{}"
        every = "1h"
        allow_private = true
        items = "$.features[*]"
        [[source.input]]
        websocket = "{}"
        allow_private = true
        items = "$.data"
        "#,
        sim.quakes_url(),
        sim.quakes_socket_url()
    ))
    .unwrap()
}

/// The doubles, with quakes that stand still.
async fn start_sim(folder: &std::path::Path) -> Sim {
    let mut config = SimConfig::in_folder(folder);
    config.upstream.quakes = Some(fanfare_sim::QuakesConfig {
        speed: 0.0,
        ..fanfare_sim::QuakesConfig::default()
    });
    Sim::start(config).await.unwrap()
}

fn app(sim: &Sim) -> AppConfig {
    let at = sim.whereabouts();
    AppConfig {
        key_file: Some(at.apns_key.clone()),
        key_id: Some(at.apns_key_id.as_str().into()),
        team_id: Some(at.apns_team_id.as_str().into()),
        bundle_id: Some(at.apns_topics[0].as_str().into()),
        endpoint: Some(format!("https://{}", at.apns.unwrap()).into()),
        ca_file: Some(at.ca.clone()),
        ..AppConfig::new("bench", ProviderKind::Apns)
    }
}

async fn at(name: &str, server: TestServer) {
    let folder = tempfile::tempdir().unwrap();
    let sim = start_sim(folder.path()).await;
    let notifier = fanfare_notifier::Config {
        app: vec![app(&sim)],
        ..fanfare_notifier::Config::default()
    };
    let topology = Topology::new(
        server.replicas(),
        fanfare_notifier::lanes(&notifier).unwrap(),
    );
    let broker = server.broker_with("bench", &topology).await;
    let (id, device) = support::device(0, "bench", false);
    broker.put_device(&id, &device, Expect::Any).await.unwrap();
    let (stop, readiness) = (CancellationToken::new(), Readiness::new());
    let notifying = fanfare_notifier::run(
        notifier,
        broker.clone(),
        fanfare_notifier::Metrics::default(),
        readiness.clone(),
        stop.clone(),
    );
    let fetching = fanfare_fetcher::run(
        source(&sim),
        broker,
        fanfare_fetcher::Metrics::default(),
        readiness.clone(),
        stop.clone(),
    );
    let measuring = async {
        while !readiness.is_ready() || sim.asked().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await; // Idle, and the socket open.
        let first = sim.emissions().len();
        sim.set_feed_speed(4000.0);
        let mut seen = 0;
        while !sim.is_feed_over() && seen < first + EVENTS {
            tokio::time::sleep(Duration::from_millis(50)).await;
            seen = sim.emissions().len();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
        first
    };
    let (sent, read, first) = tokio::join!(notifying, fetching, measuring);
    sent.unwrap();
    read.unwrap();
    report(name, &sim, first);
    sim.stop().await;
}

fn report(name: &str, sim: &Sim, first: usize) {
    let source = SourceName::parse("quakes").unwrap();
    let served: HashMap<String, i64> = sim
        .emissions()
        .into_iter()
        .skip(first)
        .filter(|it| it.revision == 0)
        .map(|it| {
            (
                EventId::new(&source, &it.id, &Level::First).to_string(),
                it.at_us,
            )
        })
        .collect();
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    for entry in fanfare_sim::ledger::read(sim.ledger().path().unwrap()).unwrap() {
        if let fanfare_sim::ledger::Entry::Request(request) = entry.unwrap() {
            let event = request.event.unwrap_or_default();
            if let Some(at_us) = served.get(&event) {
                histogram
                    .record(u64::try_from((request.at_us - at_us).max(1)).unwrap())
                    .unwrap();
            }
        }
    }
    let ms = |quantile: f64| {
        #[expect(clippy::cast_precision_loss, reason = "figures")]
        let us = histogram.value_at_quantile(quantile) as f64;
        us / 1e3
    };
    println!(
        "{name}: item served -> provider request, {} of {} events: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        histogram.len(),
        served.len(),
        ms(0.5),
        ms(0.99),
        ms(1.0)
    );
}
