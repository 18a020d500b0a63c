//! A slice on two machines and a witness: the usual load, machines and brokers that die, and ways
//! between them that are cut.

mod faults;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::broker::Held;
use super::estate::{Estate, HOSTS};
use super::load::{Load, Size, levels_source};
use super::options::{Kind, Options};
use super::report::{self, Counted};
use super::seat::chance;
use super::slice::{counted, relent, script, sign};
use super::stalls::{Fault, Flow, Stall};
use super::table::Row;
use super::{rolling, upgrade};
use crate::network::Network;
use crate::now_us;
use crate::pipeline::{Apps, Setup};

/// How long a double takes to answer at least, and up to how much longer: a few hundred pushes a
/// second in all, so that elections stay natural on two cores.
const LATENCY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(500));
/// Between two of the small events by which waits are measured.
const PULSE: Duration = Duration::from_millis(700);
/// Between two items of the feed. Each is several small tasks, and a notifier has four at once: faster,
/// and what is measured is a queue.
const FEED: Duration = Duration::from_millis(2500);
/// So many of the events that waited longest are looked into.
const SLOWEST: usize = 4;
/// About so long everything is whole between two faults.
const CALM: Duration = Duration::from_secs(5);

/// The shipped values, `ack_wait` among them.
fn setup(options: &Options) -> Setup {
    Setup {
        apps: Apps::Twins,
        latency: LATENCY.0,
        jitter: LATENCY.1,
        is_half_before: true,
        ack_wait: None,
        has_proxy: false,
        is_three: false,
        // Processes start in a folder of their own.
        executable: std::path::absolute(&options.executable).ok(),
        concurrency: 128,
        window: 256,
        stride: 32,
        extra: String::new(),
    }
}

/// What went on.
#[derive(Default)]
pub(super) struct Record {
    faults: Mutex<Vec<Fault>>,
    /// What did not come back.
    unwell: Mutex<Vec<String>>,
}

impl Record {
    /// Notes a fault that is over, and tells of it.
    pub(super) fn note(&self, fault: Fault, unwell: Vec<String>) {
        let bite = fault.bite.as_deref().unwrap_or("NO BITE");
        let seconds = (fault.healed_us - fault.at_us) / 1_000_000;
        eprintln!(
            "  {}: {bite}; whole after {seconds} s {unwell:?}",
            fault.what
        );
        locked(&self.faults).push(fault);
        locked(&self.unwell).extend(unwell);
    }

    fn n(&self) -> u64 {
        locked(&self.faults).len() as u64
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A slice as the campaign's command wants it.
pub(super) fn course(options: &Options, seed: u64, n_before: u64) -> Course {
    Course {
        kind: options.kind,
        setup: setup(options),
        size: Size {
            crowd: 2000,
            backlog: 3000,
        },
        seed,
        nats: options.nats.clone().unwrap_or_default(),
        upgrade: options.upgrade.clone(),
        former: options.former.clone(),
        calm: CALM,
        time: options.time,
        kinds: vec![options.kind],
        n_wanted: options.kills.map(|it| it.saturating_sub(n_before)),
        keep: options.keep.clone(),
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Course {
    /// What it is called.
    pub kind: Kind,
    /// Of the roles.
    pub setup: Setup,
    /// Of the load.
    pub size: Size,
    /// Where chance begins.
    pub seed: u64,
    /// The nats-server.
    pub nats: PathBuf,
    /// The one that it is replaced by.
    pub upgrade: Option<PathBuf>,
    /// The executable that is replaced.
    pub former: Option<PathBuf>,
    /// Before the first fault, between two, and after the last, about so long.
    pub calm: Duration,
    /// No fault begins after so long.
    pub time: Duration,
    /// One fault of each in turn, again and again.
    pub kinds: Vec<Kind>,
    /// So many faults are enough.
    pub n_wanted: Option<u64>,
    /// Where to keep what is worth a look.
    pub keep: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The verdict and the sums.
    pub row: Row,
    /// What was done.
    pub faults: Vec<Fault>,
    /// What each did to the flow.
    pub stalls: Vec<Stall>,
}

/// Runs a course on a network.
///
/// # Panics
/// If the stage cannot be set.
pub async fn run(course: &Course, network: Network) -> Outcome {
    let told = network.told();
    let (former, setup) = (course.former.as_deref(), course.setup.clone());
    let estate = Estate::start(network, &course.nats, former, setup, levels_source).await;
    estate.staff().await;
    let (pipeline, seats) = (&estate.pipeline, &estate.seats);
    let load = Load::new(pipeline, seats, course.size);
    load.gather().await;
    // A baseline stands before anything is news.
    rolling::until_polled(seats).await;
    script(pipeline);
    let begun = Instant::now();
    let record = Record::default();
    under_load(course, &estate, &load, &record).await;
    let end_us = now_us();
    let n_faults = record.n();
    let mut counted = counted(course.kind, pipeline, seats, &load, n_faults).await;
    counted.wrong.extend(locked(&record.unwell).drain(..));
    let faults = std::mem::take(&mut *locked(&record.faults));
    let flow = flow(&estate, &load, &counted);
    let stalls = flow.stalls(&faults, end_us);
    let mut row = counted.row(pipeline.setup());
    sign(
        &mut row,
        course.kind,
        pipeline,
        course.seed,
        begun.elapsed(),
    );
    let n_bitten = faults.iter().filter(|it| it.bite.is_some()).count() as u64;
    if row.verdict != "FAILED" {
        // Whether a fault bit is seen when it is done.
        let verdict = if n_bitten < n_faults.max(1) {
            "void"
        } else {
            "ok"
        };
        verdict.clone_into(&mut row.verdict);
    }
    let gaps = summary(&stalls);
    row.note = format!("{told}; {n_bitten} bit; {gaps}; {}", row.note);
    if let Some(folder) = &course.keep {
        slowest(&estate, &flow, &counted.held, folder).await;
        let takeovers = counted.held.takeovers.join("\n");
        let _kept = std::fs::write(folder.join("takeovers.txt"), takeovers);
        if row.verdict == "FAILED" {
            report::keep(pipeline, seats, folder).await;
            estate.keep(folder).await;
        }
    }
    estate.end().await;
    Outcome {
        row,
        faults,
        stalls,
    }
}

/// The usual load and the pulse, with faults in it.
async fn under_load(course: &Course, estate: &Estate, load: &Load<'_>, record: &Record) {
    let stop = CancellationToken::new();
    let offers = load.offers_at_most_once().await;
    let loading = async {
        tokio::join!(
            load.keep_posting(),
            load.keep_feeding(FEED),
            load.keep_pulsing(PULSE),
            load.keep_churning(chance(course.seed, 1000), offers),
        );
    };
    let ending = async {
        sleep(course.time).await;
        stop.cancel();
        std::future::pending::<()>().await;
    };
    let acting = async {
        sleep(course.calm).await;
        if course.kind == Kind::Upgrade {
            upgrade::all(course, estate, record).await;
        } else {
            faults::keep(course, estate, record, &stop).await;
        }
        sleep(course.calm).await;
    };
    let telling = report::progress(&estate.pipeline, &estate.seats, load, 0);
    let mut loading = std::pin::pin!(loading);
    tokio::select! {
        () = acting => {}
        () = ending => {}
        () = &mut loading => {}
        () = telling => {}
    }
    relent(&estate.pipeline);
    load.finish(&mut loading).await;
}

/// What is known of every item and event.
fn flow(estate: &Estate, load: &Load<'_>, counted: &Counted) -> Flow {
    let book = load.noted();
    let pulses = book.events.iter();
    let pulses = pulses.filter(|(title, _)| title.starts_with("pulse-"));
    let shown = estate.pipeline.sim.emissions();
    let shown = shown
        .iter()
        .filter(|it| it.revision == 0 && it.kind == "earthquake");
    let mut flow = Flow {
        served: shown.map(|it| (it.id.clone(), it.at_us)).collect(),
        asked: pulses
            .map(|(title, it)| (title.clone(), it.asked_us))
            .collect(),
        stored: counted.held.stored.clone(),
        ..Flow::default()
    };
    if let Some(ledger) = &estate.pipeline.sim.whereabouts().ledger {
        flow.read(ledger);
    }
    flow
}

/// Keeps what `fanfare why` says of the events that waited longest.
async fn slowest(estate: &Estate, flow: &Flow, held: &Held, folder: &Path) {
    let mut told = String::new();
    for (title, waited_us) in flow.slowest(SLOWEST) {
        let Some(id) = held.ids.get(&title) else {
            continue;
        };
        let _ok = writeln!(told, "{title} {id}: {} ms", waited_us / 1000);
        for device in 0..2 {
            let device = format!("ffff-{device}");
            let why = estate.pipeline.command(&["why", id, &device]).await;
            told.push_str(&why.printed);
            told.push('\n');
        }
    }
    let _kept = std::fs::create_dir_all(folder);
    let _kept = std::fs::write(folder.join("slowest.txt"), told);
}

/// The longest waits of a slice.
fn summary(stalls: &[Stall]) -> String {
    let most = |of: fn(&Stall) -> i64| stalls.iter().map(of).max().unwrap_or_default();
    format!(
        "longest waits in ms: fetching {}, publishing {}, sending {}, delivered {}",
        most(|it| it.fetching),
        most(|it| it.publishing),
        most(|it| it.sending),
        most(|it| it.delivered),
    )
}

/// How a host is called.
pub(super) fn name(number: usize) -> &'static str {
    HOSTS.get(number).copied().unwrap_or("?")
}
