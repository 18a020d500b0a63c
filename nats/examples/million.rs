//! Restarts of three servers that hold a million subjects and a million devices: how long until they
//! answer again, how much memory they take, and whether anything is missing.
//!
//! `cargo run --release -p fanfare-nats --example million -- --tasks 500000 --devices 1000000`
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement, not a product"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use fanfare_nats::batch::Way;
use fanfare_nats::bucket::Expect;
use fanfare_nats::event::EventId;
use fanfare_nats::feed::Change;
use fanfare_nats::receipt::{Claim, Receipt};
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{
    AppName, Broker, Device, DeviceId, Lane, Pattern, Plan, Subscription, Token, Urgency,
};
use fanfare_nats_server::{Options, SyncInterval};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::Instant;

const USAGE: &str = "\
cargo run --release -p fanfare-nats --example million -- [options]

  --tasks N     subjects of tasks, and as many of receipts (default 500000)
  --devices N   keys in the device bucket (default 1000000)
  --sync WHEN   always (default) | minute

FANFARE_TEST_NATS_SERVER names the nats-server.";

/// Writes under way at the same time.
const IN_FLIGHT: usize = 512;
/// Tasks of one plan.
const LOG2_TASKS: u8 = 9;
const LANE: &str = "ios";

struct Sizes {
    tasks: u64,
    devices: u64,
    sync: SyncInterval,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Sizes, String> {
    let mut sizes = Sizes {
        tasks: 500_000,
        devices: 1_000_000,
        sync: SyncInterval::Always,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|it| format!("{name}: {it}"));
        match (name.as_str(), value.as_str()) {
            ("--tasks", _) => sizes.tasks = number()?,
            ("--devices", _) => sizes.devices = number()?,
            ("--sync", "always") => sizes.sync = SyncInterval::Always,
            ("--sync", "minute") => sizes.sync = SyncInterval::Every(Duration::from_mins(1)),
            _ => return Err(format!("there is no option {name} {value}")),
        }
    }
    Ok(sizes)
}

fn lane() -> Lane {
    Lane {
        app: AppName::parse(LANE).unwrap(),
        urgency: Urgency::Urgent,
    }
}

fn plan(n: u64) -> Plan {
    Plan {
        event: EventId::parse(&format!("{n:032x}")).unwrap(),
        event_seq: n,
        lanes: BTreeMap::from([(lane(), LOG2_TASKS)]),
        revision: 1,
        expires_at: Timestamp::from_second(4_000_000_000).unwrap(),
        planned_at: Timestamp::UNIX_EPOCH,
    }
}

fn device(n: u64) -> Device {
    Device {
        app: AppName::parse(LANE).unwrap(),
        token: Token::parse(&format!("{n:064x}")).unwrap(),
        user: None,
        locale: None,
        time_zone: None,
        subscriptions: vec![Subscription {
            pattern: Pattern::parse(&format!("quakes.region{}.>", n % 100)).unwrap(),
            filters: Vec::new(),
        }],
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: fanfare_nats::device::Holding::default(),
        pending: None,
        secret: None,
    }
}

/// A number that any missing or changed document changes.
fn sum_of(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

/// What was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ledger {
    n_tasks: u64,
    n_receipts: u64,
    n_devices: u64,
    devices_sum: u64,
}

async fn fill(brokers: &[Broker], sizes: &Sizes) -> Ledger {
    let began = Instant::now();
    let n_plans = sizes.tasks.div_ceil(1 << LOG2_TASKS);
    let broker = |n: u64| &brokers[usize::try_from(n % 3).unwrap()];
    stream::iter(0..n_plans)
        .for_each_concurrent(4, |n| async move {
            while broker(n).store_plan(&plan(n), Way::Together).await.is_err() {}
        })
        .await;
    let plans_in = began.elapsed();
    let tasks = (0..n_plans).flat_map(|n| plan(n).tasks().collect::<Vec<_>>());
    stream::iter(tasks.zip(0_u64..))
        .for_each_concurrent(IN_FLIGHT, |(task, n)| async move {
            let claim = Claim {
                epoch: 1,
                pass: 1,
                message: n,
                delivered: 1,
                nonce: n,
            };
            let receipt = Receipt::first(claim, "n1", Timestamp::UNIX_EPOCH);
            let (mut chain, _) = broker(n).receipts(&task).await.unwrap();
            chain.append(&receipt).await.unwrap();
        })
        .await;
    let receipts_in = began.elapsed().saturating_sub(plans_in);
    let sum = AtomicU64::new(0);
    stream::iter(0..sizes.devices)
        .for_each_concurrent(IN_FLIGHT, |n| {
            let sum = &sum;
            async move {
                let id = DeviceId::parse(&format!("device-{n}")).unwrap();
                while (broker(n).put_device(&id, &device(n), Expect::Any).await).is_err() {}
                sum.fetch_add(sum_of(n), Ordering::Relaxed);
            }
        })
        .await;
    let n_tasks = n_plans << LOG2_TASKS;
    println!(
        "filled: {n_plans} plans with {n_tasks} tasks in {:.0} s, their receipts in {:.0} s, {} devices in {:.0} s",
        plans_in.as_secs_f64(),
        receipts_in.as_secs_f64(),
        sizes.devices,
        (began.elapsed().saturating_sub(plans_in + receipts_in)).as_secs_f64(),
    );
    Ledger {
        n_tasks: n_tasks + n_plans,
        n_receipts: n_tasks,
        n_devices: sizes.devices,
        devices_sum: sum.load(Ordering::Relaxed),
    }
}

/// Messages and subjects of a stream, if nothing is missing in its sequence.
async fn whole(raw: &Context, name: &str) -> u64 {
    let stream = raw.get_stream(name).await.unwrap();
    let state = &stream.cached_info().state;
    let n_missing = state.last_sequence - (state.first_sequence - 1) - state.messages;
    assert_eq!(
        (n_missing, state.messages),
        (0, state.subjects_count),
        "{name}"
    );
    state.messages
}

/// What the servers hold, and how long the device bucket takes to load.
async fn held(broker: &Broker, raw: &Context) -> (Ledger, Duration) {
    let (mut n_devices, mut devices_sum) = (0, 0_u64);
    let began = Instant::now();
    broker
        .load_devices(|change, _| {
            if let Change::Put(id, device) = change {
                let n: u64 = id.as_str().trim_start_matches("device-").parse().unwrap();
                assert_eq!(device.token.reveal(), format!("{n:064x}"));
                n_devices += 1;
                devices_sum = devices_sum.wrapping_add(sum_of(n));
            }
        })
        .await
        .unwrap();
    let ledger = Ledger {
        n_tasks: whole(raw, &broker.names().tasks()).await,
        n_receipts: whole(raw, &broker.names().receipts()).await,
        n_devices,
        devices_sum,
    };
    (ledger, began.elapsed())
}

/// Megabytes that a process has in memory.
fn megabytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|it| it.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
    kilobytes.unwrap_or(0_u64) / 1024
}

fn memory(server: &mut TestServer) -> Vec<u64> {
    let servers = server.cluster().unwrap().servers();
    servers.iter().map(|it| megabytes(it.pid())).collect()
}

/// Kills servers and starts them again; says when they are ready and when a write is stored.
async fn restart(server: &mut TestServer, which: &[usize], broker: &Broker) {
    let servers = server.cluster().unwrap().servers_mut();
    for it in which {
        servers[*it].kill9().await.unwrap();
    }
    let began = Instant::now();
    let chosen = servers.iter_mut().enumerate();
    let chosen = chosen.filter(|(n, _)| which.contains(n));
    let starting = async {
        for restarted in futures::future::join_all(chosen.map(|(_, it)| it.restart())).await {
            restarted.unwrap();
        }
        began.elapsed()
    };
    let writing = async {
        while broker.put_barrier().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    };
    let (started, written) = tokio::join!(starting, writing);
    server.cluster().unwrap().ready().await.unwrap();
    println!(
        "{} killed: store read after {:.1} s, first write stored after {:.1} s, all healthy after {:.1} s; memory {:?} MB",
        which.len(),
        started.as_secs_f64(),
        written.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        memory(server),
    );
}

#[tokio::main]
async fn main() -> ExitCode {
    let sizes = match parse(std::env::args().skip(1)) {
        Ok(sizes) => sizes,
        Err(why) => {
            eprintln!("{why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let options = Options {
        sync_interval: sizes.sync,
        ..Options::ephemeral()
    };
    let options = Options {
        ready_within: Duration::from_mins(5),
        ..options
    };
    let mut server = TestServer::start_three_as(&options).await;
    let topology = Topology::new(3, vec![lane()]);
    let brokers = [
        server.broker_with("n1", &topology).await,
        server.broker_with("n2", &topology).await,
        server.broker_with("n3", &topology).await,
    ];
    let client = async_nats::connect(server.options("raw").servers)
        .await
        .unwrap();
    let raw = jetstream::new(client);
    println!(
        "nats-server {}, {:?}",
        brokers[0].server_version(),
        sizes.sync
    );
    let ledger = fill(&brokers, &sizes).await;
    println!("memory {:?} MB", memory(&mut server));
    let mut is_whole = true;
    for which in [&[][..], &[0], &[0, 1, 2], &[0, 1, 2]] {
        if !which.is_empty() {
            restart(&mut server, which, &brokers[0]).await;
        }
        let (found, load) = held(&brokers[0], &raw).await;
        is_whole &= found == ledger;
        println!(
            "{}: devices loaded in {:.1} s; memory {:?} MB",
            if found == ledger {
                "nothing is missing"
            } else {
                "MISSING"
            },
            load.as_secs_f64(),
            memory(&mut server),
        );
        if found != ledger {
            println!("{found:?} instead of {ledger:?}");
        }
    }
    if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
