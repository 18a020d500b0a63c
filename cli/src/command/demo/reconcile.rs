//! Debts against the ledger: who was owed what, what arrived, what did not, what came twice. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use fanfare_sim::Emission;

use super::broker::Stored;
use super::cast::Device;
use super::configuration::{ACK_WAIT, LEVELS};
use super::ledger::{Book, Push};
use super::outside::Shown;

/// A task that was interrupted comes again within `ack_wait`; an event whose pushes were over for
/// longer than that was not waiting for its turn any more.
const TURN_WITHIN: Duration = ACK_WAIT.saturating_mul(3);

/// While there is no leader nothing is stored and nobody has a turn: an election takes 4 to 11 s, and
/// a task that was interrupted by it comes again after that.
const ELECTION: Duration = Duration::from_secs(20);

/// What is reconciled.
pub(super) struct Case<'a> {
    pub(super) devices: &'a [Device],
    pub(super) events: &'a [Stored],
    pub(super) before: &'a [Shown],
    pub(super) emissions: &'a [Emission],
    pub(super) book: &'a Book,
    /// When a notifier was killed, in microseconds since the Unix epoch.
    pub(super) killed_us: Option<i64>,
    /// When a nats-server was killed.
    pub(super) broker_killed_us: Option<i64>,
}

/// What comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// Events that the feed called for, by the demo's own reading of the levels.
    pub(super) events_due: u64,
    /// Of these, the ones that are not stored.
    pub(super) events_missing: u64,
    /// Stored events that the feed did not call for.
    pub(super) events_surplus: u64,
    /// Pairs of an event and a device that it concerns.
    pub(super) owed: u64,
    /// Owed, and accepted at least once.
    pub(super) delivered: u64,
    /// Owed and not sent, because the device got a higher level of the same quake instead.
    pub(super) superseded: u64,
    /// Quakes on a device that showed more than one level, the higher one in the lower one's place.
    pub(super) escalated: u64,
    /// Owed, and neither.
    pub(super) lost: u64,
    /// Accepted pushes.
    pub(super) accepted: u64,
    /// Accepted pushes beyond the first of their pair.
    pub(super) repeated: u64,
    /// Accepted pushes that nobody was owed.
    pub(super) surplus: u64,
    /// Pairs accepted after a higher level of the same quake was.
    pub(super) lowered: u64,
    /// Requests that the doubles did not accept.
    pub(super) not_accepted: u64,
    /// Sends whose answer the killed notifier did not live to read.
    pub(super) cut: u64,
    /// From the kill to the first and the last of these pushes' repetition, in microseconds.
    pub(super) taken_over_us: Option<(i64, i64)>,
    /// Pushes accepted after a nats-server was killed, and the longest time between two from then on,
    /// in microseconds.
    pub(super) after_broker: Option<(u64, i64)>,
}

/// Sets one against the other.
pub(super) fn balance(case: &Case<'_>) -> Balance {
    let mut balance = Balance {
        accepted: case.book.accepted.len() as u64,
        not_accepted: case.book.others.len() as u64,
        ..Balance::default()
    };
    events(case, &mut balance);
    deliveries(case, &mut balance);
    take_over(case, &mut balance);
    balance.after_broker = case
        .broker_killed_us
        .map(|at_us| after(at_us, &case.book.accepted));
    balance
}

/// The step that a magnitude reaches.
fn step(mag: f64) -> Option<f64> {
    LEVELS.into_iter().rfind(|it| *it <= mag)
}

/// Bits of a step: a key that can be compared.
fn key(item: &str, step: f64) -> (String, u64) {
    (item.to_owned(), step.to_bits())
}

fn events(case: &Case<'_>, balance: &mut Balance) {
    let baseline: HashMap<&str, f64> = case
        .before
        .iter()
        .filter_map(|(id, mag)| Some((id.as_str(), step(*mag)?)))
        .collect();
    let rises = |id: &str, step: f64| baseline.get(id).is_none_or(|known| *known < step);
    let due: BTreeSet<_> = case
        .emissions
        .iter()
        .filter_map(|it| {
            let step = step(it.mag)?;
            rises(&it.id, step).then(|| key(&it.id, step))
        })
        .collect();
    let stored: BTreeSet<_> = case
        .events
        .iter()
        .map(|it| key(&it.item, it.level))
        .collect();
    balance.events_due = due.len() as u64;
    balance.events_missing = due.difference(&stored).count() as u64;
    balance.events_surplus = stored.difference(&due).count() as u64;
}

/// First acceptance and number of acceptances of each (event, token).
fn arrivals(book: &Book) -> HashMap<(&str, &str), (i64, u64)> {
    let mut arrivals = HashMap::new();
    for push in &book.accepted {
        let pair = (push.event.as_str(), push.token.as_str());
        arrivals.entry(pair).or_insert((push.at_us, 0)).1 += 1;
    }
    arrivals
}

fn deliveries(case: &Case<'_>, balance: &mut Balance) {
    let arrivals = arrivals(case.book);
    let mut last_push: HashMap<&str, i64> = HashMap::new();
    for push in &case.book.accepted {
        last_push.insert(&push.event, push.at_us);
    }
    let mut by_item: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for event in case.events {
        by_item.entry(&event.item).or_default().push(event);
    }
    let turn_within = match case.broker_killed_us {
        Some(_) => TURN_WITHIN + ELECTION,
        None => TURN_WITHIN,
    };
    let mut owed_pairs = HashSet::new();
    for levels in by_item.values_mut() {
        levels.sort_by(|a, b| a.level.total_cmp(&b.level));
        for device in case.devices {
            let wants = |it: &&&Stored| {
                device
                    .interests
                    .iter()
                    .any(|interest| interest.is_met(&it.topics, &it.data))
            };
            let owed: Vec<&Stored> = levels.iter().filter(wants).copied().collect();
            owed_pairs.extend(
                owed.iter()
                    .map(|it| (it.id.as_str(), device.token.as_str())),
            );
            let screen = Screen {
                arrivals: &arrivals,
                last_push: &last_push,
                turn_within,
            };
            one_screen(&owed, &device.token, &screen, balance);
        }
    }
    for (pair, (_, times)) in &arrivals {
        balance.repeated += times - 1;
        if !owed_pairs.contains(pair) {
            balance.surplus += times;
        }
    }
}

/// What a screen is judged by.
struct Screen<'a> {
    arrivals: &'a HashMap<(&'a str, &'a str), (i64, u64)>,
    last_push: &'a HashMap<&'a str, i64>,
    turn_within: Duration,
}

/// One quake on one device; `owed` rises.
fn one_screen(owed: &[&Stored], token: &str, screen: &Screen<'_>, balance: &mut Balance) {
    let arrived = |it: &Stored| {
        screen
            .arrivals
            .get(&(it.id.as_str(), token))
            .map(|(at, _)| *at)
    };
    let n_shown = owed.iter().filter(|it| arrived(it).is_some()).count();
    balance.escalated += u64::from(n_shown > 1);
    for (place, event) in owed.iter().enumerate() {
        balance.owed += 1;
        let higher = owed.get(place + 1..).unwrap_or_default();
        if let Some(at_us) = arrived(event) {
            balance.delivered += 1;
            let is_late = higher
                .iter()
                .any(|it| arrived(it).is_some_and(|it| it < at_us));
            balance.lowered += u64::from(is_late);
            continue;
        }
        // It must still have been waiting for its turn when the higher one came.
        let over_us = screen
            .last_push
            .get(event.id.as_str())
            .map(|it| it + micros(screen.turn_within));
        let overtakes = |it: &&Stored| {
            arrived(it).is_some() && over_us.is_none_or(|over_us| it.at_us <= over_us)
        };
        if higher.iter().any(overtakes) {
            balance.superseded += 1;
        } else {
            balance.lost += 1;
        }
    }
}

/// How many pushes came after this moment, and the longest time between two, from the moment on.
fn after(moment_us: i64, accepted: &[Push]) -> (u64, i64) {
    let mut at: Vec<i64> = accepted.iter().map(|it| it.at_us).collect();
    at.sort_unstable();
    let (mut n, mut longest, mut last) = (0, 0, moment_us);
    for at in at.into_iter().filter(|it| *it > moment_us) {
        n += 1;
        longest = longest.max(at - last);
        last = at;
    }
    (n, longest)
}

fn take_over(case: &Case<'_>, balance: &mut Balance) {
    let cut: Vec<&Push> = case.book.accepted.iter().filter(|it| it.is_cut).collect();
    balance.cut = cut.len() as u64;
    let Some(killed_us) = case.killed_us else {
        return;
    };
    let dead: HashSet<u64> = cut.iter().map(|it| it.conn).collect();
    let pairs: HashSet<_> = cut.iter().map(|it| (&it.event, &it.token)).collect();
    let again = case.book.accepted.iter().filter(|it| {
        killed_us < it.at_us && !dead.contains(&it.conn) && pairs.contains(&(&it.event, &it.token))
    });
    let after: Vec<i64> = again.map(|it| it.at_us - killed_us).collect();
    balance.taken_over_us = after.iter().min().copied().zip(after.iter().max().copied());
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
