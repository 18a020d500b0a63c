//! When a registration is warned of, and when it is over. Pure.

use std::time::Duration;

use fanfare_nats::registration::Registration;
use jiff::{SignedDuration, Timestamp};

/// The longest time between two sweeps.
const LONGEST_PERIOD: Duration = Duration::from_hours(24);
/// For so long a warning that nobody has stored is still stored. Behind it, its event has aged out of
/// the stream (7 days), and it would be told a second time.
const WARN_WITHIN: SignedDuration = SignedDuration::from_hours(6 * 24);
/// How long a registration lies that was never confirmed.
const UNCONFIRMED: SignedDuration = SignedDuration::from_hours(24);

/// How long registrations last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    after: Duration,
    warning: Duration,
}

/// What is to be done about a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing, or it was done.
    Stands,
    /// It ends then, unless it is registered again.
    Warn(Timestamp),
    /// It is removed.
    Over,
}

impl Rule {
    /// A rule; the warning comes so long before the end.
    pub(crate) fn new(after: Duration, warning: Duration) -> Self {
        Self { after, warning }
    }

    /// How long a registration lasts.
    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// How often registrations are looked through: several times within the time of warning.
    pub(super) fn period(&self) -> Duration {
        (self.warning / 4).clamp(Duration::from_secs(1), LONGEST_PERIOD)
    }

    /// Judges a registration under a rule that holds `since` then.
    pub(super) fn judge(&self, found: &Registration, since: Timestamp, now: Timestamp) -> Verdict {
        let device = &found.device;
        if let Some(pending) = &device.pending {
            let is_over = pending.expires_at + UNCONFIRMED <= now;
            return if is_over {
                Verdict::Over
            } else {
                Verdict::Stands
            };
        }
        // A version that does not write when it saw a device writes the document all the same.
        let unseen = device.registered_at.max(found.written_at);
        let seen_at = device.last_seen.unwrap_or(unseen);
        let (Some(by_age), Some(by_rule)) =
            (later(seen_at, self.after), later(since, self.warning))
        else {
            return Verdict::Stands;
        };
        let expires_at = by_age.max(by_rule);
        if expires_at <= now {
            return Verdict::Over;
        }
        let left = now.duration_until(expires_at);
        let warning = SignedDuration::try_from(self.warning).unwrap_or(SignedDuration::MAX);
        if left <= warning && warning - left < WARN_WITHIN {
            Verdict::Warn(expires_at)
        } else {
            Verdict::Stands
        }
    }
}

fn later(at: Timestamp, wait: Duration) -> Option<Timestamp> {
    at.checked_add(SignedDuration::try_from(wait).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use fanfare_nats::key::NewSecret;
    use fanfare_nats::{AppName, Device, DeviceId, Token};

    use super::*;

    const RULE: Rule = Rule {
        after: Duration::from_hours(270 * 24),
        warning: Duration::from_hours(14 * 24),
    };

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(n * 86_400).unwrap()
    }

    fn found(registered: i64, seen: Option<i64>, written: i64) -> Registration {
        Registration {
            id: DeviceId::parse("phone-1").unwrap(),
            revision: 7,
            written_at: day(written),
            device: Device {
                app: AppName::parse("ios").unwrap(),
                token: Token::parse("t").unwrap(),
                user: None,
                locale: None,
                time_zone: None,
                subscriptions: Vec::new(),
                registered_at: day(registered),
                last_seen: seen.map(day),
                secret: None,
                holding: fanfare_nats::device::Holding::default(),
                pending: None,
            },
        }
    }

    #[track_caller]
    fn check(found: &Registration, since: i64, now: i64, expected: Verdict) {
        assert_eq!(RULE.judge(found, day(since), day(now)), expected, "{now}");
    }

    #[test]
    fn a_registration_is_warned_of_once_and_then_over() {
        let it = found(0, Some(100), 100);
        for now in [100, 300, 355] {
            check(&it, 0, now, Verdict::Stands);
        }
        for now in [356, 361] {
            check(&it, 0, now, Verdict::Warn(day(370)));
        }
        for now in [362, 369] {
            check(&it, 0, now, Verdict::Stands);
        }
        check(&it, 0, 370, Verdict::Over);
    }

    #[test]
    fn who_never_said_when_it_was_seen_counts_from_when_it_was_written() {
        check(&found(0, None, 200), 0, 300, Verdict::Stands);
        check(&found(0, None, 200), 0, 470, Verdict::Over);
        check(&found(0, None, 0), 0, 270, Verdict::Over);
    }

    #[test]
    fn a_document_that_was_written_without_a_registration_is_as_old_as_its_last_one() {
        let it = found(0, Some(100), 200);
        check(&it, 0, 355, Verdict::Stands);
        check(&it, 0, 356, Verdict::Warn(day(370)));
        check(&it, 0, 370, Verdict::Over);
    }

    #[test]
    fn a_rule_that_is_new_removes_nobody_before_it_could_warn() {
        let it = found(0, Some(0), 0);
        check(&it, 1000, 1000, Verdict::Warn(day(1014)));
        check(&it, 1000, 1013, Verdict::Stands);
        check(&it, 1000, 1014, Verdict::Over);
        // Whoever comes back stays.
        check(&found(0, Some(1005), 1005), 1000, 1014, Verdict::Stands);
    }

    #[test]
    fn what_was_never_confirmed_goes_after_a_day_and_unwarned() {
        let mut it = found(100, Some(100), 100);
        it.device = it
            .device
            .waiting(NewSecret::nonce().hash(), day(100), day(100));
        check(&it, 1000, 100, Verdict::Stands);
        check(&it, 1000, 101, Verdict::Over);
    }

    #[test]
    fn sweeps_come_several_times_within_the_warning() {
        assert_eq!(RULE.period(), LONGEST_PERIOD);
        let short = Rule::new(Duration::from_secs(10), Duration::from_secs(8));
        assert_eq!(short.period(), Duration::from_secs(2));
    }
}
