//! One slice: the stage is set, the load runs, one kind of fault goes on, and then it is counted.

use std::time::Duration;

use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::before::{Before, before};
use super::broker::{self, Held};
use super::estate::HOSTS;
use super::faults;
use super::kills::{Pace, keep_killing};
use super::load::{Load, Size, levels_source};
use super::options::{Kind, Options};
use super::report::{self, Counted};
use super::seat::{Life, Role, Seat, chance};
use super::table::{self, Row};
use super::verdict::deaths;
use super::witness::Witness;
use super::{fanout, lanes, machines, rolling, stalls};
use crate::fault::has_fail_points;
use crate::network;
use crate::pipeline::{Apps, Pipeline, Setup};

/// The campaign's short `ack_wait`: a take-over takes so long.
const ACK_WAIT: Duration = Duration::from_secs(2);
/// How long a double takes to answer at least, and up to how much longer: with 128 at once, 320
/// pushes a second for each notifier.
const LATENCY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(400));
/// The same where the other app's own latency is looked at.
const QUICK: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(20));
/// Between two items of the feed.
const FEED: Duration = Duration::from_millis(400);
/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_mins(3);

/// The shipped values of the promise, with twins so that the ledger tells processes apart.
fn setup(options: &Options) -> Setup {
    let latency = if options.kind == Kind::Provider {
        QUICK
    } else {
        LATENCY
    };
    Setup {
        apps: if options.kind == Kind::Provider {
            Apps::Both
        } else {
            Apps::Twins
        },
        latency: latency.0,
        jitter: latency.1,
        is_half_before: true,
        ack_wait: (options.kind != Kind::Shipped).then_some(ACK_WAIT),
        has_proxy: options.kind == Kind::Proxy,
        // Processes start in a folder of their own.
        executable: std::path::absolute(&options.executable).ok(),
        concurrency: 128,
        window: 256,
        stride: 32,
        extra: String::new(),
        is_three: false,
    }
}

/// Who is there: fetchers, notifiers, APIs.
fn seats(pipeline: &Pipeline, kind: Kind) -> Vec<Seat> {
    let (n_notifiers, n_apis) = if kind == Kind::Rolling {
        (2, 1)
    } else if kind == Kind::Fanout {
        (4, 2)
    } else {
        (3, 2)
    };
    let roles = std::iter::repeat_n(Role::Fetcher, 2)
        .chain(std::iter::repeat_n(Role::Notifier, n_notifiers))
        .chain(std::iter::repeat_n(Role::Api, n_apis));
    let seat = |(number, role)| Seat::new(pipeline, number, role);
    roles.enumerate().map(seat).collect()
}

/// Faults of single devices, so that every place of the path is passed: some must wait, some are
/// gone, some are refused.
pub(super) fn script(pipeline: &Pipeline) {
    let wait = Answer::TooMany {
        scope: Scope::Device,
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    let gone = Answer::Unregistered {
        ago_ms: 0,
        no_timestamp: false,
    };
    let refused = Answer::Reason {
        status: 400,
        reason: "BadExpirationDate".to_owned(),
        retry_after: None,
    };
    let of = |prefix: &str, answer| Rule {
        token_prefix: Some(prefix.to_owned()),
        ..Rule::new(answer)
    };
    pipeline.sim.add_rule(of("dead", gone));
    pipeline.sim.add_rule(of("bad0", refused));
    // Of the crowd: by others waits are measured.
    pipeline.sim.add_rule(Rule {
        token_prefix: Some("aaaa".to_owned()),
        token_share: 0.01,
        share: 0.2,
        ..Rule::new(wait)
    });
}

/// What waits is taken when it comes next.
pub(super) fn relent(pipeline: &Pipeline) {
    let rules = pipeline.sim.script().rules();
    let waits = rules
        .iter()
        .filter(|it| matches!(it.rule.answer, Answer::TooMany { .. }));
    for rule in waits {
        pipeline.sim.script().remove(rule.id);
    }
}

/// Runs one slice and returns its row, or `None` if the campaign has what it wants.
///
/// # Errors
/// An executable without fail points, or what is wrong with the table.
///
/// # Panics
/// If the stage cannot be set.
pub fn run(options: &Options) -> Result<Option<Row>, String> {
    has_fail_points(&options.executable)?;
    let Some(before) = before(options) else {
        return Ok(None);
    };
    let row = if options.kind.is_of_machines() {
        let mut course = machines::course(options, before.seed, before.n_faults);
        if options.nats.is_none() {
            course.nats = network::nats_server();
        }
        let outcome = network::run(&HOSTS, move |network| async move {
            Box::pin(machines::run(&course, network)).await
        });
        if let Some(table) = &options.append {
            let told = stalls::append(table, &outcome.row, &outcome.faults, &outcome.stalls);
            told.map_err(|error| format!("{}: {error}", table.display()))?;
            eprint!("{}", stalls::told(table, options.kind.as_str()));
        }
        outcome.row
    } else {
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        runtime.block_on(staged(options, &before))
    };
    if let Some(file) = &options.append {
        table::append(file, &row).map_err(|error| format!("{}: {error}", file.display()))?;
        eprintln!("{}", table::sums(&table::rows(file), options.kind.as_str()));
    }
    Ok(Some(row))
}

/// A slice around one broker.
async fn staged(options: &Options, before: &Before) -> Row {
    let mut pipeline = Pipeline::start(setup(options)).await;
    if options.kind != Kind::Fanout && options.kind != Kind::Provider {
        let url = pipeline.sim.quakes_url();
        pipeline.configure(&levels_source(&url));
    }
    Box::pin(slice(options, &pipeline, before.seed, before.n_faults)).await
}

async fn slice(options: &Options, pipeline: &Pipeline, seed: u64, n_kills: u64) -> Row {
    let seats = seats(pipeline, options.kind);
    let (crowd, backlog) = if options.kind == Kind::Fanout {
        (100_000, 0)
    } else if options.kind == Kind::Provider {
        (400, 0)
    } else {
        (4000, 6000)
    };
    let size = Size { crowd, backlog };
    let load = Load::new(pipeline, &seats, size);
    for seat in &seats {
        assert!(
            seat.start(pipeline, None).await,
            "no start: {:#?}",
            seat.lines().await
        );
    }
    load.gather().await;
    // A baseline stands before anything is news.
    rolling::until_polled(&seats).await;
    let begun = Instant::now();
    let mut row = if options.kind == Kind::Fanout {
        fanout::run(options, pipeline, &seats, &load).await
    } else if options.kind == Kind::Provider {
        lanes::run(options, pipeline, &seats, &load).await
    } else {
        script(pipeline);
        Box::pin(usual(options, pipeline, &seats, &load, seed, n_kills)).await
    };
    sign(&mut row, options.kind, pipeline, seed, begun.elapsed());
    if row.verdict == "FAILED"
        && let Some(folder) = &options.keep
    {
        report::keep(pipeline, &seats, folder).await;
    }
    for seat in &seats {
        seat.kill().await;
    }
    row
}

/// Writes into a row what it is about.
pub(super) fn sign(row: &mut Row, kind: Kind, pipeline: &Pipeline, seed: u64, took: Duration) {
    row.seconds = took.as_secs();
    kind.as_str().clone_into(&mut row.kind);
    row.seed = seed;
    row.window = pipeline.setup().window as u64;
    row.at = jiff::Timestamp::from_microsecond(crate::now_us())
        .unwrap_or_default()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
}

/// The usual load with one kind of fault, and the usual audit.
async fn usual(
    options: &Options,
    pipeline: &Pipeline,
    seats: &[Seat],
    load: &Load<'_>,
    seed: u64,
    n_kills: u64,
) -> Row {
    let stop = CancellationToken::new();
    let offers = load.offers_at_most_once().await;
    let loading = async {
        tokio::join!(
            load.keep_posting(),
            load.keep_feeding(FEED),
            load.keep_churning(chance(seed, 1000), offers),
        );
    };
    let acting = async {
        let (acted, ()) = tokio::join!(act(options.kind, pipeline, seats, seed, &stop), async {
            sleep(options.time).await;
            stop.cancel();
        });
        acted
    };
    let telling = report::progress(pipeline, seats, load, n_kills);
    let mut loading = std::pin::pin!(loading);
    let n_faults = tokio::select! {
        n = acting => n,
        () = &mut loading => 0,
        () = telling => 0,
    };
    relent(pipeline);
    // What was begun is told or taken back by its own client: it is asked for to the end.
    load.finish(&mut loading).await;
    count(options.kind, pipeline, seats, load, n_faults).await
}

/// Does the fault of this kind until `stop`; heals everything; returns how often it was done.
async fn act(
    kind: Kind,
    pipeline: &Pipeline,
    seats: &[Seat],
    seed: u64,
    stop: &CancellationToken,
) -> u64 {
    let luck = chance(seed, 2000);
    match kind {
        Kind::Kill | Kind::Shipped => {
            // They are started by their killers.
            for seat in seats {
                seat.drain().await;
            }
            let killing = seats.iter().map(|seat| {
                let pace = if kind == Kind::Shipped {
                    Pace::calm(seat.role)
                } else {
                    Pace::quick(seat.role)
                };
                keep_killing(pipeline, seat, pace, seed, stop)
            });
            futures::future::join_all(killing).await;
            0 // Counted from the lives.
        }
        Kind::Freeze => {
            let ack_wait = pipeline.setup().ack_wait.unwrap_or(ACK_WAIT);
            faults::keep_freezing(seats, ack_wait, luck, stop).await
        }
        Kind::Broker => faults::keep_restarting(&pipeline.server, seats, luck, stop).await,
        Kind::Disk => faults::keep_filling(&pipeline.server, seats, luck, stop).await,
        Kind::Proxy => match &pipeline.proxy {
            Some(proxy) => faults::keep_raining(proxy, seats, luck, stop).await,
            None => 0,
        },
        Kind::Clock => faults::keep_stepping(seats, luck, stop).await,
        Kind::Rolling => rolling::keep_restarting(pipeline, seats, stop).await,
        // These have slices of their own.
        Kind::Provider
        | Kind::Fanout
        | Kind::MachineA
        | Kind::MachineB
        | Kind::Cut
        | Kind::Partition
        | Kind::Leader
        | Kind::LeaderFrozen
        | Kind::Quorum
        | Kind::AllBrokers
        | Kind::Upgrade => 0,
    }
}

/// Everything that ended or runs.
pub(super) fn lives(seats: &[Seat]) -> Vec<Life> {
    seats.iter().flat_map(Seat::lives).collect()
}

/// Waits for rest and counts.
pub(super) async fn count(
    kind: Kind,
    pipeline: &Pipeline,
    seats: &[Seat],
    load: &Load<'_>,
    n_faults: u64,
) -> Row {
    let counted = counted(kind, pipeline, seats, load, n_faults).await;
    counted.row(pipeline.setup())
}

/// Waits for rest and looks at everything.
pub(super) async fn counted(
    kind: Kind,
    pipeline: &Pipeline,
    seats: &[Seat],
    load: &Load<'_>,
    n_faults: u64,
) -> Counted {
    let rest = rest(pipeline).await;
    let book = load.noted();
    pipeline.sim.ledger().flush().unwrap();
    let path = pipeline.sim.whereabouts().ledger.clone().unwrap();
    let setup = pipeline.setup();
    let way_us = i64::try_from((setup.latency + setup.jitter).as_micros()).unwrap_or(i64::MAX);
    let mut witness = Witness::read(&path, &book, way_us);
    witness.ended(&pipeline.sim.ended());
    let held: Held = broker::look(pipeline.broker()).await;
    let sums = pipeline.command(&["verify", "--since", "1h"]).await;
    Counted {
        sums,
        deaths: deaths(&witness, &lives(seats), pipeline.setup()),
        debts: book.debts(),
        redelivered: pipeline.tasks_redelivered().await,
        wrong: load.wrong(),
        rest,
        n_faults,
        kind,
        witness,
        held,
    }
}

/// Waits until nothing is pending; says what is if that takes too long.
async fn rest(pipeline: &Pipeline) -> Result<(), String> {
    let until = Instant::now() + REST;
    // A moment in which nothing is pending may be one between plan and task.
    let mut n_quiet = 0;
    loop {
        match pipeline.is_settled().await {
            Ok(()) => n_quiet += 1,
            Err(seen) if Instant::now() > until => return Err(seen),
            Err(_) => n_quiet = 0,
        }
        if n_quiet > 5 {
            return Ok(());
        }
        sleep(Duration::from_millis(300)).await;
    }
}
