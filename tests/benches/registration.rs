//! What a registration costs beside the broker's bare put of such a document: one and three
//! servers, 1, 16 and 256 clients at once, with and without an audit, and what the broker's share is.
//!
//! The API is a process of its own, and so are the servers. Both arms write new keys of one bucket
//! from this process, in turns, so that what else the machine does meets both. The HTTP client is
//! as small as can be, since it is no part of what is measured: its own share is told.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench that cannot go on stops"
)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, kv};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, ConnectOptions, Metrics, Readiness};
use fanfare_nats_server::{Options, Server, SyncInterval};
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const API: &str = "--as-api";
const CLIENTS: [usize; 3] = [1, 16, 256];
const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 5;

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut arguments = std::env::args().skip_while(|it| it != API).skip(1);
    if let Some((url, audit)) = arguments.next().zip(arguments.next()) {
        return runtime.block_on(be_api(url, audit.parse().unwrap()));
    }
    runtime.block_on(async {
        for audit in [true, false] {
            println!("one server, audit = {audit}");
            measure(TestServer::start().await, audit).await;
            println!("three servers, audit = {audit}");
            measure(TestServer::start_three().await, audit).await;
            println!("three servers that write through (sync_interval always), audit = {audit}");
            let options = Options {
                sync_interval: SyncInterval::Always,
                ..Options::ephemeral()
            };
            measure(TestServer::start_three_as(&options).await, audit).await;
        }
    });
}

async fn measure(mut server: TestServer, audit: bool) {
    let brokers = match server.cluster() {
        Some(cluster) => cluster.servers_mut().iter().map(Server::pid).collect(),
        None => vec![server.server().pid()],
    };
    let _topology = server.broker("bench").await;
    let api = Api::start(&server.url(), audit);
    let servers = server.options("bench").servers;
    let client = async_nats::connect(servers).await.unwrap();
    let bucket = jetstream::new(client)
        .get_key_value("fanfare_devices")
        .await
        .unwrap();
    for n_clients in CLIENTS {
        let (mut bare, mut ours, mut again) = (Arm::default(), Arm::default(), Arm::default());
        for round in 0..=ROUNDS {
            // The first one warms connections and caches.
            let is_counted = round > 0;
            let known = next();
            let before = cpu_of(&brokers);
            let put = puts(&bucket, n_clients).await;
            bare.add(put, cpu_of(&brokers) - before, is_counted);
            let before = cpu_of(&brokers);
            let registered = registrations(&api.at, n_clients, 201, next).await;
            ours.add(registered, cpu_of(&brokers) - before, is_counted);
            let n_known = next() - known - 1;
            let before = cpu_of(&brokers);
            let anew = registrations(&api.at, n_clients, 200, move || {
                known + 1 + next() % n_known
            })
            .await;
            again.add(anew, cpu_of(&brokers) - before, is_counted);
        }
        bare.tell(n_clients, "bare put", &bare);
        ours.tell(n_clients, "new registration", &bare);
        again.tell(n_clients, "the same again", &bare);
    }
}

/// The rounds of one arm.
#[derive(Default)]
struct Arm {
    rates: Vec<f64>,
    took: Vec<Duration>,
    /// Seconds of the brokers.
    cpu: f64,
}

impl Arm {
    fn add(&mut self, took: Vec<Duration>, cpu: f64, is_counted: bool) {
        if !is_counted {
            return;
        }
        self.cpu += cpu;
        self.rates.push(took.len() as f64 / ROUND.as_secs_f64());
        self.took.extend(took);
    }

    /// Rates are compared round by round.
    fn tell(&self, n_clients: usize, what: &str, bare: &Self) {
        let ratios = self
            .rates
            .iter()
            .zip(&bare.rates)
            .map(|(own, bare)| own / bare);
        let ratio = support::median(ratios.collect());
        let mut took = self.took.clone();
        took.sort();
        let at = |share: usize| took[(took.len() * share / 1000).min(took.len() - 1)];
        println!(
            "  {n_clients:>3} clients, {what}: {:.0}/s, {ratio:.2} of a bare put, p50 {:?}, p99 {:?}, \
             the brokers' CPU {:.0} µs each, {:.2} of a bare put's",
            support::median(self.rates.clone()),
            at(500),
            at(990),
            self.cpu_each() * 1e6,
            self.cpu_each() / bare.cpu_each(),
        );
    }

    fn cpu_each(&self) -> f64 {
        self.cpu / self.took.len() as f64
    }
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A name that no arm used before.
fn next() -> usize {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

async fn puts(bucket: &kv::Store, n_clients: usize) -> Vec<Duration> {
    let end = Instant::now() + ROUND;
    let mut clients = JoinSet::new();
    for _ in 0..n_clients {
        let bucket = bucket.clone();
        clients.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let (id, device) = support::device(next(), "ios", false);
                let start = Instant::now();
                let value = device.encode().into();
                bucket.put(format!("d.{id}"), value).await.unwrap();
                took.push(start.elapsed());
            }
            took
        });
    }
    clients.join_all().await.concat()
}

/// Registers what `name` names.
async fn registrations(
    at: &str,
    n_clients: usize,
    status: u16,
    name: impl Fn() -> usize + Copy + Send + 'static,
) -> Vec<Duration> {
    let end = Instant::now() + ROUND;
    let mut clients = JoinSet::new();
    for _ in 0..n_clients {
        let mut client = Client::connect(at).await;
        clients.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                took.push(client.register(name(), status).await);
            }
            took
        });
    }
    clients.join_all().await.concat()
}

/// CPU time of processes so far in seconds, to 10 ms (proc(5): fields 14 and 15, in ticks of 1/100 s).
fn cpu_of(processes: &[i32]) -> f64 {
    let ticks = processes.iter().map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        let at = |n: usize| fields[n - 3].parse::<u64>().unwrap();
        at(14) + at(15)
    });
    ticks.sum::<u64>() as f64 / 100.0
}

/// One connection of an HTTP client that knows nothing but registrations.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    async fn connect(at: &str) -> Self {
        let stream = TcpStream::connect(at).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            answer: vec![0; 16 * 1024],
        }
    }

    async fn register(&mut self, n: usize, status: u16) -> Duration {
        let (id, device) = support::device(n, "ios", false);
        let body = format!(
            r#"{{"app":"ios","token":"{}","topics":["all","regions.{}","nets.{}.>"]}}"#,
            device.token.reveal(),
            n % 50,
            n % 7
        );
        let request = format!(
            "PUT /v1/devices/{id} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut n_read = 0;
        loop {
            n_read += self.stream.read(&mut self.answer[n_read..]).await.unwrap();
            let answer = std::str::from_utf8(&self.answer[..n_read]).unwrap();
            let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                continue;
            };
            let (_, length) = head.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                return start.elapsed();
            }
        }
    }
}

/// The API in a process of its own, until it is dropped.
struct Api {
    child: Child,
    at: String,
    _lives: ChildStdin,
}

impl Api {
    fn start(url: &str, audit: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([API, url, &audit.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut at = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut at).unwrap();
        Self {
            _lives: child.stdin.take().unwrap(),
            child,
            at: at.trim().to_owned(),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn be_api(url: String, audit: bool) {
    let stop = CancellationToken::new();
    let parent_gone = stop.clone();
    std::thread::spawn(move || {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        parent_gone.cancel();
    });
    let options = ConnectOptions {
        servers: url.split(',').map(str::to_owned).collect(),
        name: "bench".to_owned(),
        node: "api".to_owned(),
        ..ConnectOptions::default()
    };
    let broker = Broker::connect(options, Metrics::default(), Readiness::new());
    let broker = broker.await.unwrap();
    let config = fanfare_api::Config {
        listen: "127.0.0.1:0".to_owned(),
        keys: Some(fanfare_api::Keys::UntilFirst),
        audit,
        ..fanfare_api::Config::default()
    };
    let server = fanfare_api::Server::bind(config).await.unwrap();
    let readiness = Readiness::new();
    let at = server.address();
    let metrics = fanfare_api::Metrics::register(&mut Registry::default());
    let serving = server.serve(broker, metrics, readiness.clone(), stop);
    let tell = async {
        while !readiness.is_ready() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("{at}");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = serving => ended.unwrap(),
        () = tell => {}
    }
}
