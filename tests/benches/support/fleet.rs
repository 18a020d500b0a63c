//! Notifiers in processes of their own, each the bench's executable started again, which say how far
//! they are and what they cost.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::{Broker, ConnectOptions, Readiness};
use fanfare_notifier::provider::AppConfig;
use fanfare_notifier::{Config, Metrics, run};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Double;

/// The argument that turns a bench's executable into a notifier.
const NOTIFIER: &str = "--as-notifier";
/// How often a notifier says how many pushes were accepted.
const TELL_EVERY: Duration = Duration::from_millis(10);

/// What the parent tells a notifier to be.
struct Orders {
    node: String,
    url: String,
    concurrency: usize,
    app: AppConfig,
}

/// If this process was started as a notifier, is one until its standard input ends; says whether it
/// was.
pub fn be_notifier_if_asked() -> bool {
    let arguments: Vec<String> = std::env::args()
        .skip_while(|it| it != NOTIFIER)
        .skip(1)
        .collect();
    let [node, url, concurrency, whereabouts] = arguments.as_slice() else {
        return false;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let orders = Orders {
        node: node.clone(),
        url: url.clone(),
        concurrency: concurrency.parse().unwrap(),
        app: super::app(&serde_json::from_str(whereabouts).unwrap()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(be_notifier(orders));
    true
}

async fn be_notifier(orders: Orders) {
    let stop = CancellationToken::new();
    let parent_gone = stop.clone();
    std::thread::spawn(move || {
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        parent_gone.cancel();
    });
    let config = Config {
        app: vec![orders.app],
        concurrency: orders.concurrency,
        window: orders.concurrency * 2,
        ..Config::default()
    };
    let options = ConnectOptions {
        servers: vec![orders.url],
        name: orders.node.clone(),
        node: orders.node,
        replicas: 1,
        ..ConnectOptions::default()
    };
    let readiness = Readiness::new();
    let nats = fanfare_nats::Metrics::default();
    let broker = Broker::connect(options, nats, readiness.clone())
        .await
        .unwrap();
    let mut registry = Registry::with_prefix("fanfare");
    let metrics = Metrics::register(&mut registry);
    let running = run(config, broker, metrics, readiness.clone(), stop.clone());
    tokio::select! {
        ended = running => ended.unwrap(),
        () = tell(&readiness, &registry) => {}
    }
}

/// Says when it is ready, and then each change of the number of accepted pushes.
async fn tell(readiness: &Readiness, registry: &Registry) {
    let mut told = None;
    loop {
        let is_ready = readiness.is_ready() && readiness.conditions().len() >= 3;
        if is_ready {
            let n = accepted(registry);
            if told != Some(n) {
                println!("{n}");
                told = Some(n);
            }
            tokio::time::sleep(TELL_EVERY).await;
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn accepted(registry: &Registry) -> u64 {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let is_it =
        |it: &&str| it.starts_with("fanfare_attempts_total{") && it.contains("\"accepted\"");
    let values = text.lines().filter(is_it);
    values
        .map(|it| it.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// When a notifier had how many pushes accepted; the first is its readiness, with none.
pub type Told = Vec<(Instant, u64)>;

/// A running notifier.
pub struct Notifier {
    child: Child,
    stdin: Option<ChildStdin>,
    told: Arc<Mutex<Told>>,
    /// When it was started.
    pub started: Instant,
}

impl Notifier {
    /// Starts one.
    pub fn start(node: &str, url: &str, concurrency: usize, double: &Double) -> Self {
        let started = Instant::now();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([NOTIFIER, node, url, &concurrency.to_string()])
            .arg(serde_json::to_string(&double.at).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = Arc::<Mutex<Told>>::default();
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(n) = line.parse() else {
                    continue;
                };
                heard.lock().unwrap().push((Instant::now(), n));
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            told,
            started,
        }
    }

    /// Waits until it is ready; returns since when.
    pub async fn ready(&self) -> Instant {
        loop {
            if let Some((at, _)) = self.told().first() {
                return *at;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What it has told so far.
    pub fn told(&self) -> Told {
        self.told.lock().unwrap().clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it drain and waits for its end.
    pub fn end(mut self) {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.flush();
        }
        self.child.wait().unwrap();
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time of processes and of the whole machine, from `/proc`, in clock ticks.
#[derive(Clone, Debug)]
pub struct Ticks {
    of_each: Vec<u64>,
    busy: u64,
    all: u64,
}

impl Ticks {
    /// As of now.
    pub fn of(pids: &[u32]) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let of_one = |pid: &u32| {
            let stat = read(&format!("/proc/{pid}/stat"));
            // The command's name may hold anything, so what counts begins behind its parenthesis:
            // utime and stime are fields 14 and 15 (proc(5)), here the 12th and 13th.
            let rest = stat.rsplit(')').next().unwrap().to_owned();
            let field = |n: usize| rest.split_whitespace().nth(n).unwrap().parse::<u64>();
            field(11).unwrap() + field(12).unwrap()
        };
        let stat = read("/proc/stat");
        let fields = stat.lines().next().unwrap().split_whitespace().skip(1);
        let times: Vec<u64> = fields.map(|it| it.parse().unwrap()).take(8).collect();
        let all: u64 = times.iter().sum();
        Self {
            of_each: pids.iter().map(of_one).collect(),
            busy: all - times[3] - times[4],
            all,
        }
    }

    /// CPU seconds of each process since `before`; user space is told in hundredths (proc(5)).
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    pub fn seconds_since(&self, before: &Self) -> Vec<f64> {
        let each = self.of_each.iter().zip(&before.of_each);
        each.map(|(now, then)| (now - then) as f64 / 100.0)
            .collect()
    }

    /// Percent of the machine since `before`: each process, and everything that runs on it.
    #[expect(clippy::cast_precision_loss, reason = "figures")]
    pub fn since(&self, before: &Self) -> (Vec<f64>, f64) {
        let all = (self.all - before.all).max(1) as f64;
        let percent = |ticks: u64| ticks as f64 / all * 100.0;
        let each = self.of_each.iter().zip(&before.of_each);
        (
            each.map(|(now, then)| percent(now - then)).collect(),
            percent(self.busy - before.busy),
        )
    }
}
