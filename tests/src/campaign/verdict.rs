//! From lives and senders to figures: what each death repeated, beside the design's formula.

use std::collections::BTreeMap;
use std::time::Duration;

use super::seat::{How, Life, Role};
use super::witness::{Sender, Witness};
use crate::pipeline::Setup;

/// An append takes about so long on one server (its median, `docs/benchmarks.md`).
const WRITE: Duration = Duration::from_millis(3);
/// A sender that was heard last within so long of a death is the one that died.
const SAME_US: i64 = 3_000_000;
/// `[notifier] tasks` and `stride_ms`, as shipped.
const TASKS: f64 = 4.0;
const STRIDE_S: f64 = 0.1;

/// What one death of a notifier came to.
#[derive(Clone, Debug)]
pub struct Death {
    /// Where or how.
    pub place: &'static str,
    /// Requests in flight.
    pub in_flight: u64,
    /// Pushes that somebody made again because of it.
    pub n_repeated: u64,
    /// How many faults hit the process, its death included.
    pub n_faults: u64,
    /// What the design expects: in flight / 2 + unrecorded / 2 + rate × write time.
    pub expected: f64,
}

/// All deaths, and what nobody's death explains.
#[derive(Clone, Debug, Default)]
pub struct Deaths {
    /// Deaths of notifiers.
    pub notifiers: Vec<Death>,
    /// Kills by role and place.
    pub by_place: BTreeMap<String, u64>,
    /// Kills of all roles.
    pub n: u64,
    /// Repeats of each sender that was hit by another fault, and how often it was.
    pub hit: Vec<(u64, u64)>,
    /// Repeats that no fault explains.
    pub unexplained: u64,
    /// Processes that ended by themselves.
    pub unasked: Vec<String>,
}

/// Whose life a sender was: among the notifiers of its time, the one that ended next.
fn owner<'a>(sender: &Sender, lives: &'a [Life]) -> Option<&'a Life> {
    let (first, last) = sender.between_us;
    let fits = |it: &&Life| {
        it.role == Role::Notifier
            && it.since_us <= first
            // What was on its way is decided a little later.
            && it.until_us.is_none_or(|until| last <= until + SAME_US)
    };
    let distance = |it: &&Life| match it.until_us {
        // The living are those whom no death explains.
        None => SAME_US,
        Some(until) => (until - last).abs(),
    };
    lives.iter().filter(fits).min_by_key(distance)
}

fn expected(sender: &Sender, setup: &Setup) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (in_flight, rate, stride) = (
        sender.in_flight as f64,
        sender.rate() as f64,
        setup.stride as f64,
    );
    let unrecorded = (rate * STRIDE_S).min(TASKS * stride);
    in_flight / 2.0 + unrecorded / 2.0 + rate * WRITE.as_secs_f64()
}

/// Sets the senders of a ledger against the lives of the processes.
pub fn deaths(witness: &Witness, lives: &[Life], setup: &Setup) -> Deaths {
    let mut found = Deaths::default();
    for life in lives {
        let place = match &life.how {
            How::Point(point) => *point,
            How::Killed => "any time",
            How::Unasked(why) => {
                let who = format!("{} {}: {why}", life.role.as_str(), life.seat);
                found.unasked.push(who);
                continue;
            }
            How::Alive | How::Drained => continue,
        };
        found.n += 1;
        let place = format!("{} {place}", life.role.as_str());
        *found.by_place.entry(place).or_default() += 1;
    }
    for sender in witness.senders.values() {
        let life = owner(sender, lives);
        let place = match life.map(|it| &it.how) {
            Some(How::Point(point)) => *point,
            Some(How::Killed) => "any time",
            Some(How::Alive | How::Drained | How::Unasked(_)) | None => {
                match life.map_or(0, |it| it.n_hits) {
                    0 => found.unexplained += sender.n_repeated,
                    n_hits => found.hit.push((sender.n_repeated, n_hits)),
                }
                continue;
            }
        };
        found.notifiers.push(Death {
            place,
            in_flight: sender.in_flight.max(sender.n_unanswered),
            n_repeated: sender.n_repeated,
            n_faults: life.map_or(0, |it| it.n_hits) + 1,
            expected: expected(sender, setup),
        });
    }
    found
}

impl Deaths {
    /// Deaths with a send in flight.
    pub fn n_in_flight(&self) -> u64 {
        self.in_flight().count() as u64
    }

    fn in_flight(&self) -> impl Iterator<Item = &Death> {
        self.notifiers.iter().filter(|it| it.in_flight > 0)
    }

    /// Mean repeats of the deaths with a send in flight, and what the formula expects of them.
    pub fn means(&self) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let mean = |sum: f64| (0.0 + sum) / (self.n_in_flight().max(1) as f64);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let repeated = self.in_flight().map(|it| it.n_repeated as f64).sum();
        (
            mean(repeated),
            mean(self.in_flight().map(|it| it.expected).sum()),
        )
    }

    /// What the deaths at one place of a notifier repeated: mean and largest.
    pub fn at(&self, place: &str) -> Option<(f64, u64)> {
        let there = || self.notifiers.iter().filter(|it| it.place == place);
        let largest = there().map(|it| it.n_repeated).max()?;
        let sum: u64 = there().map(|it| it.n_repeated).sum();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let mean = sum as f64 / there().count() as f64;
        Some((mean, largest))
    }

    /// The most that one process repeated for a fault that hit it.
    pub fn largest(&self) -> u64 {
        let dead = self.notifiers.iter().map(|it| (it.n_repeated, it.n_faults));
        let hit = self.hit.iter().copied();
        let each = dead.chain(hit).map(|(n, n_faults)| n.div_ceil(n_faults));
        each.max().unwrap_or_default()
    }
}
