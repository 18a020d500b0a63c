//! What is done to machines, to brokers, and to the ways between them, one after another: done, held,
//! healed, and everything awaited to be whole before the next.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Course, Record, name};
use crate::campaign::estate::Estate;
use crate::campaign::options::Kind;
use crate::campaign::seat::{Role, Seat, chance};
use crate::campaign::stalls::Fault;
use crate::network::{Leaders, Way};
use crate::now_us;

/// Two looks at what passes between two brokers are so far apart; they say something every second.
const LOOK: Duration = Duration::from_millis(2500);

/// How late a bad line is.
const LATE: Duration = Duration::from_millis(150);

/// Does one fault after another until `stop`, or until there were as many as the course wants.
pub(super) async fn keep(
    course: &Course,
    estate: &Estate,
    record: &Record,
    stop: &CancellationToken,
) {
    let mut chance = chance(course.seed, 2000);
    let kinds = course.kinds.iter().cycle();
    let n_wanted = course.n_wanted.unwrap_or(u64::MAX);
    for (n, kind) in (0..n_wanted).zip(kinds) {
        let pause = course.calm.mul_f64(chance.random_range(0.6..1.2));
        let _over = stop.run_until_cancelled(sleep(pause)).await;
        if stop.is_cancelled() {
            return;
        }
        let at_us = now_us();
        let (what, bite) = once(*kind, n, estate, &mut chance).await;
        let unwell = estate.whole().await;
        let healed_us = now_us();
        let fault = Fault {
            what,
            at_us,
            healed_us,
            bite,
        };
        record.note(fault, unwell);
    }
}

fn between(chance: &mut StdRng, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(chance.random_range(least_ms..most_ms))
}

/// One fault, begun and healed.
pub(super) async fn once(
    kind: Kind,
    n: u64,
    estate: &Estate,
    chance: &mut StdRng,
) -> (String, Option<String>) {
    match kind {
        Kind::MachineA => machine(estate, 0, n, between(chance, 3000, 8000)).await,
        Kind::MachineB => machine(estate, 1, n, between(chance, 3000, 8000)).await,
        Kind::Cut => {
            let ways = [(0, 1), (1, 0)];
            // The leader on one side, on the other, on the witness.
            let leader = usize::try_from(n % 3).unwrap_or_default();
            estate.lead(leader).await;
            let what = format!("cut-{}-leads", name(leader));
            cut(estate, &what, &ways, between(chance, 10_000, 16_000)).await
        }
        Kind::Partition => partition(n, estate, chance).await,
        Kind::Leader => leader(n, estate, between(chance, 500, 2500), false).await,
        Kind::LeaderFrozen => leader(n, estate, between(chance, 3000, 9000), true).await,
        Kind::Quorum => {
            let spared = chance.random_range(0..3);
            let dead = (0..3).filter(|it| *it != spared).collect::<Vec<_>>();
            brokers(estate, &dead, between(chance, 5000, 9000)).await
        }
        Kind::AllBrokers => brokers(estate, &[0, 1, 2], between(chance, 500, 5000)).await,
        // Not of machines, or a course of its own.
        Kind::Kill
        | Kind::Shipped
        | Kind::Freeze
        | Kind::Broker
        | Kind::Proxy
        | Kind::Provider
        | Kind::Clock
        | Kind::Disk
        | Kind::Rolling
        | Kind::Fanout
        | Kind::Upgrade => (String::new(), None),
    }
}

fn hit(seats: &[Seat]) {
    seats.iter().for_each(Seat::hit);
}

/// What a broker led, in words.
fn led(leaders: Option<&Leaders>, who: &str) -> String {
    let Some(leaders) = leaders else {
        return "nobody knows what".to_owned();
    };
    let all = [
        ("meta", &leaders.meta),
        ("events", &leaders.events),
        ("tasks", &leaders.tasks),
        ("consumer", &leaders.consumer),
    ];
    let its: Vec<_> = all.iter().filter(|(_, it)| *it == who).collect();
    let its: Vec<_> = its.into_iter().map(|(what, _)| *what).collect();
    its.join("+")
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("never".to_owned(), |it| {
        format!("{:.1} s", it.as_secs_f64())
    })
}

/// A machine that leads everything, and one that leads nothing, in turn.
async fn machine(
    estate: &Estate,
    number: usize,
    n: u64,
    hold: Duration,
) -> (String, Option<String>) {
    let leader = if n.is_multiple_of(2) { number } else { 2 };
    estate.lead(leader).await;
    let before = estate.leaders(None).await;
    let senders = || {
        let here = estate.machine(number).iter();
        here.filter(|it| it.role == Role::Notifier)
    };
    let mut credit = 0.0;
    for sender in senders() {
        credit += sender.metric("fanfare_credit_used").await;
    }
    // Those here are dead, the others lose their leaders.
    hit(estate.machine(1 - number));
    estate.kill_machine(number).await;
    let elected = estate.elected_without(number).await;
    sleep(hold).await;
    estate.revive_machine(number).await;
    let led = led(before.as_ref(), name(number));
    let bite = format!(
        "{credit} in flight; led {led}; others after {}",
        seconds(elected)
    );
    let rank = if led.is_empty() { "" } else { "-leading" };
    let what = format!("machine-{}{rank} led:{led}", name(number));
    (what, (credit > 0.0 && elected.is_some()).then_some(bite))
}

/// Cuts these ways for so long.
async fn cut(
    estate: &Estate,
    what: &str,
    ways: &[(usize, usize)],
    hold: Duration,
) -> (String, Option<String>) {
    let before = estate.leaders(None).await;
    hit(&estate.seats);
    for (from, to) in ways {
        estate.network.set(*from, *to, Way::Cut);
    }
    let heard = silent(estate, ways).await;
    sleep(hold.saturating_sub(LOOK)).await;
    let during = estate.leaders(None).await;
    estate.network.heal();
    let moved = if during == before { "stayed" } else { "moved" };
    let bite = format!("nothing passed; leaders {moved}");
    (what.to_owned(), (heard == 0).then_some(bite))
}

/// How many messages arrive over ways that are cut, from one look to the next.
async fn silent(estate: &Estate, ways: &[(usize, usize)]) -> u64 {
    let mut before = Vec::new();
    for (from, to) in ways {
        before.push(estate.servers[*to].lock().await.n_heard(name(*from)).await);
    }
    sleep(LOOK).await;
    let mut heard = 0;
    for ((from, to), before) in ways.iter().zip(before) {
        let now = estate.servers[*to].lock().await.n_heard(name(*from)).await;
        heard += now.saturating_sub(before);
    }
    heard
}

async fn partition(n: u64, estate: &Estate, chance: &mut StdRng) -> (String, Option<String>) {
    let hold = between(chance, 8000, 14_000);
    match n % 5 {
        0 => cut(estate, "one-way a>b", &[(0, 1)], hold).await,
        1 => {
            let all = [(0, 1), (1, 0), (0, 2), (2, 0)];
            cut(estate, "isolated a", &all, hold).await
        }
        2 => cut(estate, "one-way b>a", &[(1, 0)], hold).await,
        3 => flap(estate, chance).await,
        _ => bad(estate, hold).await,
    }
}

/// A bad line between the machines: a third is lost, or, where nothing can be lost, all is late.
async fn bad(estate: &Estate, hold: Duration) -> (String, Option<String>) {
    hit(&estate.seats);
    let before = estate.network.sent_again(0);
    let is_lossy = estate.network.set_both(0, 1, Way::Lossy(33));
    let is_late = !is_lossy && estate.network.set_both(0, 1, Way::Late(LATE));
    sleep(hold).await;
    let again = estate.network.sent_again(0).zip(before);
    estate.network.heal();
    if is_lossy {
        let n = again.map_or(0, |(now, then)| now - then);
        let bite = format!("{n} segments sent again");
        return ("lossy".to_owned(), (n > 0).then_some(bite));
    }
    let bite = is_late.then(|| format!("{LATE:?} late"));
    ("late".to_owned(), bite)
}

/// The way between the machines comes and goes.
async fn flap(estate: &Estate, chance: &mut StdRng) -> (String, Option<String>) {
    hit(&estate.seats);
    let mut n_silent = 0;
    let times = 6;
    for _ in 0..times {
        estate.network.set_both(0, 1, Way::Cut);
        let heard = silent(estate, &[(0, 1), (1, 0)]).await;
        n_silent += u64::from(heard == 0);
        sleep(between(chance, 100, 2000)).await;
        estate.network.set_both(0, 1, Way::Open);
        sleep(between(chance, 100, 1500)).await;
    }
    let bite = format!("{n_silent} of {times} cuts let nothing pass");
    ("flapping".to_owned(), (n_silent == times).then_some(bite))
}

/// The broker that leads the events, their consumer or the cluster, in turn.
async fn leader(
    n: u64,
    estate: &Estate,
    hold: Duration,
    is_frozen: bool,
) -> (String, Option<String>) {
    let before = estate.leaders(None).await.unwrap_or_default();
    let (of, who) = match n % 3 {
        0 => ("events", &before.events),
        1 => ("consumer", &before.consumer),
        _ => ("meta", &before.meta),
    };
    let led = led(Some(&before), who);
    let word = if is_frozen { "frozen" } else { "leader" };
    let what = format!("{word} {of} led:{led}");
    let Some(number) = Estate::place_of(who) else {
        return (what, None);
    };
    hit(&estate.seats);
    let server = &estate.servers[number];
    if is_frozen {
        server.lock().await.freeze(true);
    } else {
        server.lock().await.kill().await;
    }
    let elected = estate.elected_without(number).await;
    sleep(hold).await;
    if is_frozen {
        server.lock().await.freeze(false);
    } else {
        server.lock().await.start();
    }
    let bite = format!("led {led}; others after {}", seconds(elected));
    (what, elected.is_some().then_some(bite))
}

/// Several brokers at once.
async fn brokers(estate: &Estate, dead: &[usize], hold: Duration) -> (String, Option<String>) {
    hit(&estate.seats);
    for number in dead {
        estate.servers[*number].lock().await.kill().await;
    }
    sleep(hold / 2).await;
    let n_pushes = estate.pipeline.counts().deliveries;
    sleep(hold / 2).await;
    let n_more = estate.pipeline.counts().deliveries - n_pushes;
    let is_led = estate
        .leaders(None)
        .await
        .is_some_and(|it| !it.meta.is_empty());
    for number in dead {
        estate.servers[*number].lock().await.start();
    }
    let names: Vec<_> = dead.iter().map(|it| name(*it)).collect();
    let what = format!("brokers-{} {}", dead.len(), names.join("+"));
    // Who is left believes for ten seconds that it still leads; it cannot store anything.
    let leader = if is_led {
        "one that thinks it leads"
    } else {
        "no leader"
    };
    let bite = format!("{leader}; {n_more} pushes in the second half");
    (what, (!is_led || n_more == 0).then_some(bite))
}
