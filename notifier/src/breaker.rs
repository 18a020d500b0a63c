//! The breaker of an app: whether its provider is asked at all. Pure.
//!
//! Closed, everything goes. Open, nothing does, and what is in hand is handed back. When the time is
//! over one single request is let through: its success closes the breaker, its failure opens it for
//! longer. A verdict counts for what was known when its request began: those that were under way
//! when the breaker opened neither close it nor open it again.

use std::time::Duration;

use fanfare_nats::Urgency;
use tokio::time::Instant;

use crate::outcome::Scope;

/// Answers in a row that blame the app.
pub(crate) const TOLERATED: u32 = 8;
/// Bursts of connection faults in a row. Everything in flight on a connection that breaks is one
/// burst: only what was begun after it says whether the next connection is better.
pub(crate) const TOLERATED_BURSTS: u32 = 2;
/// [`TOLERATED`] requests that waited for so long while nobody got any answer need no second burst.
const SILENCE: Duration = Duration::from_secs(5);
/// A probe that ended without a verdict (its device was gone) is followed by another after this.
const NO_VERDICT: Duration = Duration::from_millis(100);
/// How long refused credentials keep it open: only an operator can help.
const CREDENTIALS: Duration = Duration::from_secs(30);

/// How long a breaker stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// After an outage of the app, the first time; it doubles.
    pub first: Duration,
    /// And the longest.
    pub longest: Duration,
    /// The wait of bulk lanes, where a provider asks for a longer one.
    pub bulk: Option<Duration>,
}

impl Pace {
    /// Where the provider says nothing.
    pub const USUAL: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(30),
        bulk: None,
    };

    /// APNs asks to wait 15 minutes after 500 and 503 (Apple, "Handling notification responses from
    /// APNs"). Bulk lanes do; an urgent one tries once after 5 to 30 s, on a new connection.
    pub fn apns(bulk: Option<Duration>) -> Self {
        Self {
            first: Duration::from_secs(5),
            bulk: Some(bulk.unwrap_or(Duration::from_mins(15))),
            ..Self::USUAL
        }
    }
}

/// What follows from a failure that is no device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try the same device again.
    Again,
    /// Nothing goes for so long: hand the task back.
    Paused(Duration),
}

/// Whether a request may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Yes.
    Free,
    /// Yes, as the only one.
    Probe,
    /// Not before this moment.
    At(Instant),
    /// Not before the probe under way has ended.
    AfterProbe,
}

/// Something that did not work, and is no device's fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// Whose.
    pub(crate) scope: Scope,
    /// How long the provider asked us to wait.
    pub(crate) wish: Option<Duration>,
    /// When its request began.
    pub(crate) begun: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Probe {
    None,
    InFlight,
    Ended(Instant),
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Instant,
    urgent_until: Instant,
    bulk_until: Instant,
    probe: Probe,
}

impl Open {
    fn until(&self, urgency: Urgency) -> Instant {
        match urgency {
            Urgency::Urgent => self.urgent_until,
            Urgency::Bulk => self.bulk_until,
        }
    }
}

/// The breaker of one app.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    pace: Pace,
    /// Answers in a row that blame the app.
    failures: u32,
    /// Bursts of connection faults in a row, and when the last one was noticed.
    bursts: u32,
    burst_at: Option<Instant>,
    /// Requests in a row that waited in vain for [`SILENCE`].
    silent: u32,
    succeeded_at: Option<Instant>,
    /// How often it opened without a success between.
    n_opened: u32,
    open: Option<Open>,
}

impl Breaker {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            failures: 0,
            bursts: 0,
            burst_at: None,
            silent: 0,
            succeeded_at: None,
            n_opened: 0,
            open: None,
        }
    }

    /// Whether requests of a lane may be written. [`Self::begin_probe`] must follow a `Probe`.
    pub(crate) fn leave(&self, urgency: Urgency, now: Instant) -> Leave {
        let Some(open) = &self.open else {
            return Leave::Free;
        };
        let until = open.until(urgency);
        if now < until {
            return Leave::At(until);
        }
        match open.probe {
            Probe::InFlight => Leave::AfterProbe,
            Probe::Ended(at) if now < at + NO_VERDICT => Leave::At(at + NO_VERDICT),
            Probe::None | Probe::Ended(_) => Leave::Probe,
        }
    }

    pub(crate) fn begin_probe(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe = Probe::InFlight;
        }
    }

    /// The probe's request has ended; its verdict follows at once, if there is one.
    pub(crate) fn end_probe(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.probe = Probe::Ended(now);
        }
    }

    /// How long nothing may be taken from a lane.
    pub(crate) fn left(&self, urgency: Urgency, now: Instant) -> Option<Duration> {
        let until = self.open.as_ref()?.until(urgency);
        (now < until).then(|| until - now)
    }

    /// How often it opened since the last success.
    pub(crate) fn n_opened(&self) -> u32 {
        self.n_opened
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// The provider answered for a device. True if that closed the breaker.
    pub(crate) fn succeeded(&mut self, begun: Instant, now: Instant) -> bool {
        if self.open.as_ref().is_some_and(|it| begun < it.since) {
            return false;
        }
        (self.failures, self.bursts, self.silent) = (0, 0, 0);
        self.n_opened = 0;
        self.succeeded_at = Some(now);
        self.open.take().is_some()
    }

    /// The app or a connection failed. `random` is uniform in 0..1.
    pub(crate) fn failed(&mut self, failure: Failure, now: Instant, random: f64) -> AfterFailure {
        if let Some(after) = self.of_before(failure.begun, now) {
            return after;
        }
        let is_enough = self.open.is_some()
            || match failure.scope {
                Scope::App | Scope::Quota | Scope::Device => {
                    self.failures += 1;
                    failure.wish.is_some() || self.failures >= TOLERATED
                }
                Scope::Connection => self.lost(failure.begun, now),
            };
        if !is_enough {
            return AfterFailure::Again;
        }
        let pace = match failure.scope {
            Scope::App => self.pace,
            Scope::Quota | Scope::Device | Scope::Connection => Pace::USUAL,
        };
        self.open(pace, failure.wish.unwrap_or_default(), now, random)
    }

    /// The provider refuses us.
    pub(crate) fn refused(&mut self, begun: Instant, now: Instant, random: f64) -> AfterFailure {
        if let Some(after) = self.of_before(begun, now) {
            return after;
        }
        self.open(Pace::USUAL, CREDENTIALS, now, random)
    }

    /// What a request came to that was under way when the breaker opened.
    fn of_before(&self, begun: Instant, now: Instant) -> Option<AfterFailure> {
        let open = self.open.as_ref().filter(|it| begun < it.since)?;
        let left = open.urgent_until.saturating_duration_since(now);
        Some(AfterFailure::Paused(left))
    }

    fn lost(&mut self, begun: Instant, now: Instant) -> bool {
        if self.burst_at.is_none_or(|it| it <= begun) {
            self.bursts += 1;
            self.burst_at = Some(now);
        }
        let nobody_was_heard = self.succeeded_at.is_none_or(|it| it <= begun);
        if nobody_was_heard && begun + SILENCE <= now {
            self.silent += 1;
        }
        self.bursts >= TOLERATED_BURSTS || self.silent >= TOLERATED
    }

    fn open(&mut self, pace: Pace, wish: Duration, now: Instant, random: f64) -> AfterFailure {
        let random = random.clamp(0.0, 1.0);
        let doubled = pace.first.saturating_mul(1 << self.n_opened.min(10));
        let grown = doubled.min(pace.longest).mul_f64(0.75 + random / 2.0);
        let grown = grown.clamp(pace.first.min(pace.longest), pace.longest);
        // Never earlier than asked for, and not everybody at the same moment.
        let later = |it: Duration| it.mul_f64(1.0 + random / 8.0);
        let pause = grown.max(later(wish));
        let until = now + pause;
        let bulk_until = match (&self.open, pace.bulk) {
            // An urgent lane tried early: the wait of the bulk lanes goes on.
            (Some(open), _) if now < open.bulk_until => open.bulk_until,
            (_, Some(bulk)) => now + later(bulk),
            (_, None) => until,
        };
        self.n_opened += 1;
        (self.failures, self.bursts, self.silent) = (0, 0, 0);
        self.open = Some(Open {
            since: now,
            urgent_until: until,
            bulk_until: bulk_until.max(until),
            probe: Probe::None,
        });
        AfterFailure::Paused(pause)
    }
}

#[cfg(test)]
mod tests;
