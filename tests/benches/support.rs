//! What the benches share: doubles in a process of their own, CPU clocks, registrations, figures.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench that cannot go on stops"
)]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each bench uses a part of it"
)]

pub mod fleet;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Event, Level, Pattern, Subscription, Token, Topic,
};
use fanfare_notifier::provider::{AppConfig, ProviderKind};
use fanfare_sim::ledger::LedgerMode;
use fanfare_sim::{Sim, SimConfig, Whereabouts};
use futures::StreamExt;
use jiff::{Timestamp, ToSpan};
use rustix::time::{ClockId, clock_gettime};

/// As in the executable.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The argument that turns a bench's executable into the doubles.
const DOUBLE: &str = "--as-double";

/// The doubles, in a process of their own so that their CPU time is not ours.
pub struct Double {
    child: Child,
    /// Where they are.
    pub at: Whereabouts,
    stats: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Drop for Double {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// If this process was started as the doubles, is them until it is killed.
pub fn be_double_if_asked() {
    let mut arguments = std::env::args().skip_while(|it| it != DOUBLE).skip(1);
    let Some(folder) = arguments.next() else {
        return;
    };
    let latency_us: u64 = arguments.next().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut config = SimConfig::in_folder(folder);
        config.ledger = LedgerMode::Counts;
        let latency = fanfare_sim::Latency {
            fixed_us: latency_us,
            ..fanfare_sim::Latency::default()
        };
        if let Some(apns) = &mut config.apns {
            apns.latency = latency;
            apns.cleartext_port = Some(0);
        }
        let sim = Sim::start(config).await.unwrap();
        println!("{}", serde_json::to_string(sim.whereabouts()).unwrap());
        std::future::pending::<()>().await;
    });
}

impl Double {
    /// Starts the doubles; they answer after `latency`.
    pub fn start(latency: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(DOUBLE)
            .arg(folder.path())
            .arg(latency.as_micros().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            at: serde_json::from_str(&line).unwrap(),
            stats: reqwest::Client::new(), // Once: it reads the system's certificates.
            _folder: folder,
        }
    }

    /// Requests accepted so far.
    pub async fn accepted(&self) -> u64 {
        let url = format!("http://{}/stats", self.at.http);
        let text = self.stats.get(url).send().await.unwrap();
        let stats: serde_json::Value = serde_json::from_str(&text.text().await.unwrap()).unwrap();
        stats["ledger"]["accepted"].as_u64().unwrap()
    }

    /// An APNs app that pushes to the doubles.
    pub fn app(&self) -> AppConfig {
        app(&self.at)
    }

    /// Their process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// An APNs app that pushes to these doubles.
pub fn app(at: &Whereabouts) -> AppConfig {
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

/// CPU time of this process so far.
pub fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// Resident memory of this process in bytes.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// The middle of several figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// The token of a device: 64 hexadecimal digits as APNs has, or 163 characters as FCM has.
pub fn token(n: usize, fcm: bool) -> String {
    let digest = |salt: usize| {
        let hash = fanfare_nats::DeviceHash::of(&format!("{salt}.{n}")).0;
        format!("{hash:016x}")
    };
    if fcm {
        let body: String = (1..9).map(digest).collect();
        format!(
            "{:.22}:APA91b{body}{:.6}",
            digest(0) + &digest(9),
            digest(10)
        )
    } else {
        (0..4).map(digest).collect()
    }
}

/// A device with three subscriptions, the first of which is `all`.
#[expect(clippy::disallowed_methods, reason = "a registration of now")]
pub fn device(n: usize, app: &str, fcm: bool) -> (DeviceId, Device) {
    let pattern = |it: String| Subscription {
        pattern: Pattern::parse(&it).unwrap(),
        filters: Vec::new(),
    };
    let device = Device {
        app: AppName::parse(app).unwrap(),
        token: Token::parse(&token(n, fcm)).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![
            pattern("all".to_owned()),
            pattern(format!("regions.{}", n % 50)),
            pattern(format!("nets.{}.>", n % 7)),
        ],
        registered_at: Timestamp::now(),
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    };
    (DeviceId::parse(&format!("device-{n:08}")).unwrap(), device)
}

/// Stores `n` devices, 256 at a time.
pub async fn register(broker: &Broker, n: usize, fcm_every: usize) {
    let puts = futures::stream::iter(0..n).map(|n| async move {
        let is_fcm = fcm_every > 0 && n % fcm_every == 0;
        let (id, device) = device(n, "bench", is_fcm);
        broker.put_device(&id, &device, Expect::Any).await.unwrap();
    });
    puts.buffer_unordered(256)
        .for_each(|()| std::future::ready(()))
        .await;
}

/// An event of now on a topic.
#[expect(clippy::disallowed_methods, reason = "an event of now")]
pub fn event(item: &str, topic: &str, urgency: Urgency) -> Event {
    Event {
        source: SourceName::parse("bench").unwrap(),
        item: item.to_owned(),
        level: Level::First,
        topics: vec![Topic::parse(topic).unwrap()],
        kind: "fanfare.event".to_owned(),
        occurred_at: Some(Timestamp::now()),
        expires_at: Timestamp::now() + 1.hours(),
        urgency,
        guarantee: Guarantee::AtLeastOnce,
        retry: fanfare_nats::policy::Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: "M 6.1 - 12 km S of Example".to_owned(),
            body: Some("A strong earthquake was reported near the coast.".to_owned()),
            url: Some("https://example.org/quakes/1".to_owned()),
            ..Content::default()
        },
    }
}
