//! Readers of the live stream beside a fan-out: what they cost the notifier, and whether each is told
//! of everybody.
//!
//! One event to 100,000 devices, with and without readers in turn; the API with its readers is this
//! process, the notifier and the doubles are processes of their own. Read the ratio: CPU of
//! the notifier per push with readers over without.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on stops; figures"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fanfare_nats::event::Urgency;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Readiness};
use fanfare_notifier::{Config, lanes};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use support::fleet::{Notifier, Ticks, be_notifier_if_asked};
use support::{Double, event, median, register};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Without `-- --small`, which shows that it works and says little.
const DEVICES: u64 = 100_000;
/// One of them takes nothing.
const READERS: usize = 200;
const ROUNDS: usize = 7;
const FEW: (u64, usize) = (10_000, 2);
/// The shipped value.
const CONCURRENCY: usize = 128;
/// What the ratio should be at most.
const AIM: f64 = 1.05;
/// When readers have not heard of everybody by then, they will not.
const PATIENCE: Duration = Duration::from_mins(1);

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
    let (n_devices, n_rounds) = if is_small { FEW } else { (DEVICES, ROUNDS) };
    runtime.block_on(compare(n_devices, n_rounds));
}

async fn compare(n_devices: u64, n_rounds: usize) {
    let double = Double::start(Duration::ZERO);
    let server = TestServer::start().await;
    let config = Config {
        app: vec![double.app()],
        ..Config::default()
    };
    let topology = Topology::new(1, lanes(&config).unwrap());
    let broker = server.broker_with("bench", &topology).await;
    register(&broker, usize::try_from(n_devices).unwrap(), 0).await;
    let api = Api::start(&broker).await;
    let notifier = Notifier::start("n1", &server.url(), CONCURRENCY, &double);
    notifier.ready().await;
    println!(
        "an event to {n_devices} devices, one notifier, {READERS} readers of which one stands still"
    );
    let stage = Stage {
        broker,
        double,
        notifier,
        n_devices,
    };
    stage.fan_out("warm").await;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 1..=n_rounds {
        // Which comes first changes, so that a drift of the machine favours neither.
        let order = if round % 2 == 0 {
            [true, false]
        } else {
            [false, true]
        };
        for has_readers in order {
            let readers = if has_readers {
                Some(Readers::open(api.address).await)
            } else {
                None
            };
            let name = format!("round-{round}-{has_readers}");
            let (cpu_us, rate) = stage.fan_out(&name).await;
            print!(
                "  round {round}, readers {has_readers:>5}: {cpu_us:>5.2} us a push, {rate:>6.0}/s"
            );
            let Some(readers) = readers else {
                println!();
                without.push(cpu_us);
                continue;
            };
            with.push(cpu_us);
            let (behind, n_whole) = readers.heard(n_devices).await;
            println!(
                ", told of all {:.2} s after the last push: {n_whole} of {}",
                behind.as_secs_f64(),
                READERS - 1
            );
        }
    }
    say(median(with), median(without));
    println!("readers that were dropped: {}", api.dropped());
    api.stop().await;
    stage.notifier.end();
}

fn say(with: f64, without: f64) {
    println!(
        "median: with readers {with:.2} us a push, without {without:.2} us, ratio {:.3} (aim {AIM})",
        with / without
    );
}

struct Stage {
    broker: Broker,
    double: Double,
    notifier: Notifier,
    n_devices: u64,
}

impl Stage {
    /// CPU of the notifier per push in microseconds, and pushes per second.
    async fn fan_out(&self, name: &str) -> (f64, f64) {
        let pids = [self.notifier.pid()];
        let all = self.double.accepted().await + self.n_devices;
        let (ticks, start) = (Ticks::of(&pids), Instant::now());
        let event = event(name, "all", Urgency::Urgent);
        self.broker.publish(&event, false).await.unwrap();
        while self.double.accepted().await < all {
            sleep(Duration::from_millis(20)).await;
        }
        let took = start.elapsed();
        // Its last receipts are its work too.
        sleep(Duration::from_millis(300)).await;
        let cpu = Ticks::of(&pids).seconds_since(&ticks)[0];
        (
            cpu * 1e6 / self.n_devices as f64,
            self.n_devices as f64 / took.as_secs_f64(),
        )
    }
}

/// The API, in this process.
struct Api {
    address: SocketAddr,
    registry: Registry,
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Api {
    async fn start(broker: &Broker) -> Self {
        let config = fanfare_api::Config {
            listen: "127.0.0.1:0".to_owned(),
            insecure_no_auth: true,
            ..fanfare_api::Config::default()
        };
        let server = fanfare_api::Server::bind(config).await.unwrap();
        let address = server.address();
        let mut registry = Registry::default();
        let metrics = fanfare_api::Metrics::register(&mut registry);
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        let (broker, stopped) = (broker.clone(), stop.clone());
        serving.spawn(async move {
            let work = server.serve(broker, metrics, Readiness::new(), stopped);
            work.await.unwrap();
        });
        Self {
            address,
            registry,
            stop,
            serving,
        }
    }

    fn dropped(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let lines = text
            .lines()
            .filter(|it| it.starts_with("api_streams_dropped_total"));
        lines.collect::<Vec<_>>().join(", ")
    }

    async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.serving.join_next().await {
            ended.unwrap();
        }
    }
}

/// Readers, each with the number of devices that it heard of.
struct Readers {
    heard: Arc<Vec<AtomicU64>>,
    reading: JoinSet<()>,
    _still: TcpStream,
}

impl Readers {
    async fn open(address: SocketAddr) -> Self {
        let still = Self::ask(address, 4096).await;
        let heard: Arc<Vec<AtomicU64>> =
            Arc::new((1..READERS).map(|_| AtomicU64::new(0)).collect());
        let mut reading = JoinSet::new();
        for n in 0..heard.len() {
            let mut stream = Self::ask(address, 256 * 1024).await;
            let mut bytes = vec![0; 64 * 1024];
            // The head and the place: from here on the reader is behind nothing.
            let mut first = stream.read(&mut bytes).await.unwrap();
            while !String::from_utf8_lossy(&bytes[..first]).contains("from here on") {
                first += stream.read(&mut bytes[first..]).await.unwrap();
            }
            let heard = Arc::clone(&heard);
            reading.spawn(async move {
                let mut rest = String::new();
                while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                    rest.push_str(&String::from_utf8_lossy(&bytes[..read]));
                    let Some((whole, begun)) = rest.rsplit_once("\n\n") else {
                        continue;
                    };
                    let counts = whole.split("\"accepted\":").skip(1).map(|it| {
                        let digits = it.split(|it: char| !it.is_ascii_digit()).next();
                        digits.unwrap().parse::<u64>().unwrap()
                    });
                    heard[n].fetch_add(counts.sum(), Ordering::Relaxed);
                    rest = begun.to_owned();
                }
            });
        }
        Self {
            heard,
            reading,
            _still: still,
        }
    }

    /// A connection that has asked.
    async fn ask(address: SocketAddr, buffer: u32) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let ask = format!("GET /v1/stream HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream
    }

    /// How long it took until everybody had heard of every device, and how many had.
    async fn heard(mut self, n_devices: u64) -> (Duration, usize) {
        let start = Instant::now();
        let n_whole = || {
            let whole = self
                .heard
                .iter()
                .filter(|it| it.load(Ordering::Relaxed) == n_devices);
            whole.count()
        };
        while n_whole() < self.heard.len() && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
        let told = (start.elapsed(), n_whole());
        self.reading.shutdown().await;
        told
    }
}
