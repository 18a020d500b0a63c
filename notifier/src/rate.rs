//! How many requests a second an app may make from this process. Pure.
//!
//! Two limits at once: this process's share of the limit that the operator knows, and one found by
//! trying. When a provider says that the app is too fast, the rate is halved; then it grows again by
//! the same amount every second, so that it is where it was after a minute.
//!
//! An urgent request that has to wait gets the next turn. Whoever has many requests under way asks
//! oftenest, and a bulk fan-out would leave nothing to an alert that begins with none.

use std::time::Duration;

use fanfare_nats::Urgency;
use tokio::time::Instant;

/// A share is good for so long after the members were read. A process that was frozen for longer
/// does not know who else has started to send meanwhile.
pub(crate) const SHARE_LASTS: Duration = Duration::from_secs(5);
/// Unused requests are kept for so long, so that a coarse timer does not cost rate.
const BURST: Duration = Duration::from_millis(100);
/// From half the rate back to the whole (Firebase, "Scale FCM": ramp up over at least a minute).
const RECOVERY: Duration = Duration::from_mins(1);
/// No provider is asked less often than this: it could not be noticed that it takes more.
const LEAST: f64 = 1.0;

/// This process's part of an app's limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Share {
    /// The app has no limit.
    Unlimited,
    /// Requests a second, as of the members that were read at this moment.
    PerSecond(f64, Instant),
    /// The members were not read yet.
    Unknown,
}

/// The limit found by trying.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Requests a second when the provider complained.
    complained_at: f64,
    /// Allowed now.
    allowed: f64,
    /// Since when.
    at: Instant,
    /// When the provider complained.
    cut_at: Instant,
}

impl Found {
    fn allowed(&self, now: Instant) -> f64 {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() / RECOVERY.as_secs_f64();
        self.allowed + grown * self.complained_at / 2.0
    }
}

/// The rate of one app.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    share: Share,
    found: Option<Found>,
    tokens: f64,
    filled_at: Instant,
    /// An urgent request was told to wait: until then nothing goes to bulk, unless that one asked
    /// again and has what it wanted, or wants something else.
    kept_until: Option<Instant>,
    /// Requests since the second began, and the rate of the last full one.
    counted: (Instant, u32),
    measured: f64,
}

impl Rate {
    pub(crate) fn new(share: Share, now: Instant) -> Self {
        Self {
            share,
            found: None,
            tokens: 1.0,
            filled_at: now,
            kept_until: None,
            counted: (now, 0),
            measured: 0.0,
        }
    }

    pub(crate) fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Requests a second that are allowed now; infinite without a limit, nothing while it is not
    /// known who else sends.
    pub(crate) fn allowed(&self, now: Instant) -> f64 {
        let share = match self.share {
            Share::Unlimited => f64::INFINITY,
            Share::PerSecond(_, read_at) if read_at + SHARE_LASTS < now => 0.0,
            Share::PerSecond(share, _) => share,
            Share::Unknown => 0.0,
        };
        match &self.found {
            Some(found) => share.min(found.allowed(now)),
            None => share,
        }
    }

    /// How long the next request of a class has to wait; `None` if it may go.
    pub(crate) fn wait(&mut self, urgency: Urgency, now: Instant) -> Option<Duration> {
        let wait = self.wait_of_any(now);
        match urgency {
            Urgency::Urgent => {
                // Later it may come, and nothing is lost: so long unused requests are kept.
                self.kept_until = wait.map(|it| now + it + BURST);
                wait
            }
            Urgency::Bulk => {
                let kept = self.kept_until.filter(|it| now < *it);
                wait.max(kept.map(|it| it - now))
            }
        }
    }

    fn wait_of_any(&mut self, now: Instant) -> Option<Duration> {
        // Twice the rate that was too much, and no complaint: there is no limit there any more.
        self.found = self
            .found
            .filter(|it| it.allowed(now) < 2.0 * it.complained_at);
        let allowed = self.allowed(now);
        if allowed.is_infinite() {
            return None;
        }
        if allowed <= 0.0 {
            self.filled_at = now;
            return Some(BURST);
        }
        let since = now.saturating_duration_since(self.filled_at);
        let most = (allowed * BURST.as_secs_f64()).max(1.0);
        self.tokens = (self.tokens + since.as_secs_f64() * allowed).min(most);
        self.filled_at = now;
        let missing = 1.0 - self.tokens;
        (missing > 0.0).then(|| {
            let wait = Duration::try_from_secs_f64(missing / allowed).unwrap_or(BURST);
            wait.clamp(Duration::from_millis(1), Duration::from_secs(1))
        })
    }

    /// A request goes; [`Self::wait`] was asked before.
    pub(crate) fn take(&mut self, now: Instant) {
        self.tokens = (self.tokens - 1.0).max(0.0);
        let (since, n) = &mut self.counted;
        *n += 1;
        let passed = now.saturating_duration_since(*since);
        if passed >= Duration::from_secs(1) {
            self.measured = f64::from(*n) / passed.as_secs_f64();
            self.counted = (now, 0);
        }
    }

    /// The provider says that the app is too fast. Requests that began before the last cut say
    /// nothing about the rate since.
    pub(crate) fn too_fast(&mut self, begun: Instant, now: Instant) {
        if self.found.is_some_and(|it| begun < it.cut_at) {
            return;
        }
        let running = {
            let passed = now.saturating_duration_since(self.counted.0).as_secs_f64();
            f64::from(self.counted.1) / passed.max(1.0)
        };
        let rate = self.measured.max(running).max(LEAST);
        let complained_at = self.allowed(now).min(rate).max(LEAST);
        self.found = Some(Found {
            complained_at,
            allowed: (complained_at / 2.0).max(LEAST),
            at: now,
            cut_at: now,
        });
        self.tokens = self.tokens.min(1.0);
    }
}

/// One process's part of a limit, `n_members` of which may be the process itself.
pub(crate) fn share(limit: f64, weight: u32, weights: u64) -> f64 {
    let weight = u64::from(weight.max(1));
    #[expect(clippy::cast_precision_loss, reason = "weights are small")]
    let part = weight as f64 / weights.max(weight) as f64;
    limit * part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const URGENT: Urgency = Urgency::Urgent;
    const BULK: Urgency = Urgency::Bulk;

    /// Sends as fast as it may for so long; returns how many, and the time then.
    fn run(rate: &mut Rate, from: Instant, lasts: Duration, renew: Option<f64>) -> (u32, Instant) {
        let (mut now, mut n) = (from, 0);
        while now < from + lasts {
            if let Some(share) = renew {
                rate.set_share(Share::PerSecond(share, now));
            }
            if let Some(wait) = rate.wait(URGENT, now) {
                now += wait;
            } else {
                rate.take(now);
                n += 1;
                now += Duration::from_micros(100); // 10,000 a second at most.
            }
        }
        (n, now)
    }

    /// Bulk asks ten times a millisecond for a second, an alert asks when it was told to, for so long.
    /// Returns how many requests each made.
    fn beside_bulk(rate: &mut Rate, began: Instant, alert_lasts: Duration) -> (u32, u32) {
        let (mut n_alert, mut n_bulk) = (0, 0);
        let (mut now, mut asks_at) = (began, began);
        while now < began + SECOND {
            while asks_at <= now && now < began + alert_lasts {
                match rate.wait(URGENT, now) {
                    None => {
                        rate.take(now);
                        n_alert += 1;
                    }
                    // A timer of whole milliseconds, and bulk is asked before.
                    Some(wait) => asks_at = now + wait + Duration::from_micros(950),
                }
            }
            if rate.wait(BULK, now).is_none() {
                rate.take(now);
                n_bulk += 1;
            }
            now += Duration::from_micros(100);
        }
        (n_alert, n_bulk)
    }

    #[test]
    fn an_alert_that_waits_gets_the_next_turn_and_bulk_what_it_leaves() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::PerSecond(200.0, now), now);
        let (n_alert, n_bulk) = beside_bulk(&mut rate, now, SECOND);
        assert!((195..=201).contains(&n_alert), "{n_alert}");
        assert!(n_bulk <= 1, "{n_bulk}");
        let now = now + SECOND;
        let (n_alert, n_bulk) = beside_bulk(&mut rate, now, SECOND / 2);
        assert!((95..=121).contains(&n_alert), "{n_alert}");
        assert!((195..=221).contains(&(n_alert + n_bulk)), "{n_bulk}");
        let now = now + SECOND;
        let (n_alert, n_bulk) = beside_bulk(&mut rate, now, Duration::ZERO);
        assert!(n_alert == 0 && (195..=221).contains(&n_bulk), "{n_bulk}");
    }

    #[test]
    fn bulk_goes_on_as_soon_as_the_alert_that_waited_has_gone() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::PerSecond(1000.0, now), now);
        rate.take(now);
        let wait = rate.wait(URGENT, now).unwrap();
        assert!(rate.wait(BULK, now).unwrap() > 10 * wait);
        let now = now + wait;
        assert_eq!(rate.wait(URGENT, now), None);
        rate.take(now);
        assert_eq!(rate.wait(BULK, now), Some(wait));
    }

    #[test]
    fn without_a_limit_nothing_is_kept_for_alerts() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::Unlimited, now);
        assert_eq!(rate.wait(URGENT, now), None);
        assert_eq!(rate.wait(BULK, now), None);
    }

    #[test]
    fn a_share_is_kept_to() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::Unknown, now);
        let (n, _) = run(&mut rate, now, 10 * SECOND, Some(200.0));
        assert!((1950..=2025).contains(&n), "{n}");
    }

    #[test]
    fn nothing_goes_before_the_members_are_read_and_after_a_gap() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::Unknown, now);
        assert!(rate.wait(URGENT, now).is_some());
        rate.set_share(Share::PerSecond(100.0, now));
        assert!(rate.wait(URGENT, now + SHARE_LASTS).is_none());
        let woken = now + SHARE_LASTS + Duration::from_millis(1);
        assert!(rate.wait(URGENT, woken).is_some(), "frozen for longer");
        rate.set_share(Share::PerSecond(100.0, woken));
        let (n, _) = run(&mut rate, woken, SECOND, None);
        assert!((90..=112).contains(&n), "the gap is not made up for: {n}");
    }

    #[test]
    fn a_complaint_halves_the_rate_once_and_a_minute_brings_it_back() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::Unlimited, now);
        let (n, now) = run(&mut rate, now, 3 * SECOND, None);
        assert!(n > 20_000, "{n}");
        let before = now - SECOND;
        rate.too_fast(before, now);
        rate.too_fast(before, now); // Of the same burst.
        let halved = rate.allowed(now);
        assert!((4000.0..6000.0).contains(&halved), "{halved}");
        let back = rate.allowed(now + RECOVERY);
        assert!((1.9 * halved..2.1 * halved).contains(&back), "{back}");
        rate.too_fast(now + SECOND, now + SECOND);
        assert!(rate.allowed(now + SECOND) < 0.6 * halved + 200.0);
    }

    #[test]
    fn who_never_complains_again_is_asked_without_limit() {
        let now = Instant::now();
        let mut rate = Rate::new(Share::Unlimited, now);
        let (_, now) = run(&mut rate, now, 2 * SECOND, None);
        rate.too_fast(now, now);
        assert!(rate.allowed(now).is_finite());
        let later = now + 4 * RECOVERY;
        assert_eq!(rate.wait(URGENT, later), None);
        assert!(rate.allowed(later).is_infinite());
    }

    proptest! {
        #[test]
        fn shares_of_all_members_are_the_limit(weights in prop::collection::vec(1_u32..9, 1..9)) {
            let all = weights.iter().map(|it| u64::from(*it)).sum();
            let sum: f64 = weights.iter().map(|it| share(600.0, *it, all)).sum();
            prop_assert!((sum - 600.0).abs() < 1e-6);
        }

        #[test]
        fn no_second_has_more_than_the_share_and_a_tenth(
            share in 1.0_f64..3000.0,
            pauses in prop::collection::vec(0_u64..300, 1..50),
        ) {
            let mut now = Instant::now();
            let mut rate = Rate::new(Share::Unknown, now);
            let mut sent: Vec<Instant> = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                rate.set_share(Share::PerSecond(share, now));
                while rate.wait(URGENT, now).is_none() {
                    rate.take(now);
                    sent.push(now);
                }
            }
            for (at, begin) in sent.iter().enumerate() {
                let n = sent.partition_point(|it| *it < *begin + SECOND) - at;
                #[expect(clippy::cast_precision_loss, reason = "small")]
                let n = n as f64;
                prop_assert!(n <= share * 1.1 + 2.0, "{n} of {share}");
            }
        }
    }
}
