//! What an attempt came to, and what follows from it: data, decided once, by exhaustive matches.

use std::borrow::Cow;
use std::time::Duration;

use fanfare_nats::Event;
use jiff::Timestamp;

/// A short word for people and metrics: a provider's own reason, or ours. Never a token, an
/// address, a title or a body.
pub type Reason = Cow<'static, str>;

/// How far an unavailability reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This device alone: it is marked *later*, the others go on.
    Device,
    /// All of the app at this provider: nobody is marked, the app's breaker is fed.
    App,
    /// The same, because the app asked for too much: it is asked for less from now on.
    Quota,
    /// One connection, or the way to the provider: nobody is marked, the breaker is fed.
    Connection,
}

/// What one attempt came to. A provider answers with this and never with a `Result`: there is no
/// answer that is an error of ours to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the push.
    Accepted {
        /// The provider's name for it, where it gave one.
        provider_id: Option<Box<str>>,
    },
    /// The token no longer addresses an installation of this app.
    Unregistered {
        /// Since when the provider is sure of it. Without: no earlier than the sending.
        since: Option<Timestamp>,
        /// The provider's reason.
        reason: Reason,
    },
    /// The provider will never take this push for this device; asking again changes nothing.
    Refused {
        /// The provider's reason, or ours when nothing was sent.
        reason: Reason,
    },
    /// Nothing is known against the push or the device; asking again later may succeed.
    Unavailable {
        /// The provider's reason, or what happened to the connection.
        reason: Reason,
        /// How long the provider asked us to wait.
        retry_after: Option<Duration>,
        /// Who is concerned.
        scope: Scope,
        /// True when the request may have been accepted although no answer was read, or a failing
        /// server's. Such a push
        /// is sent again under at-least-once, and given up under at-most-once.
        maybe_delivered: bool,
    },
    /// The provider refuses *us*: key, certificate, project or app are wrong. No device is to
    /// blame, and no token may be removed because of it.
    Credentials {
        /// The provider's reason.
        reason: Reason,
    },
}

/// How the reason of a dead letter begins whose event allows no further attempt.
pub const EXHAUSTED: &str = "attempts exhausted";

/// What follows from an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Mark the device done.
    Done,
    /// Mark it done, and remove the token if [`crate::hygiene`] allows it.
    RetireToken {
        /// See [`Outcome::Unregistered`].
        since: Option<Timestamp>,
        /// The provider's reason.
        reason: Reason,
    },
    /// Store a dead letter, then mark the device done.
    DeadLetter {
        /// Why.
        reason: Reason,
    },
    /// Mark nobody and open the app's breaker: only an operator can help.
    OpenBreaker {
        /// Why.
        reason: Reason,
    },
    /// Mark the device *later*, due after this wait.
    RetryAfter(Duration),
    /// Mark nobody, feed the app's breaker, try again or hand the task back.
    HandBack {
        /// Why.
        reason: Reason,
        /// Whose failure it is.
        scope: Scope,
        /// What the provider asked for; the breaker stays open at least so long.
        retry_after: Option<Duration>,
        /// True when the push may be on the screen already.
        maybe_delivered: bool,
    },
    /// Mark the device done as expired: the wait would end after `expires_at`.
    Expire,
}

impl Outcome {
    /// Decides what follows.
    ///
    /// `backoff` is this attempt's own wait ([`Backoff::after`]), or `None` if it was the last one; a
    /// longer wish of the provider wins over it, a shorter one does not. `left` is the time until
    /// the event expires.
    pub fn next(self, backoff: Option<Duration>, left: Duration) -> Next {
        match self {
            Self::Accepted { provider_id: _ } => Next::Done,
            Self::Unregistered { since, reason } => Next::RetireToken { since, reason },
            Self::Refused { reason } => Next::DeadLetter { reason },
            Self::Credentials { reason } => Next::OpenBreaker { reason },
            Self::Unavailable {
                scope: Scope::Device,
                retry_after,
                reason,
                ..
            } => match backoff.map(|it| retry_after.unwrap_or(it).max(it)) {
                // The operator's own limit: nothing is dropped in silence, and a replay can follow.
                None => Next::DeadLetter {
                    reason: format!("{EXHAUSTED}: {reason}").into(),
                },
                Some(wait) if wait < left => Next::RetryAfter(wait),
                Some(_) => Next::Expire,
            },
            Self::Unavailable {
                scope: scope @ (Scope::App | Scope::Quota | Scope::Connection),
                reason,
                retry_after,
                maybe_delivered,
            } => Next::HandBack {
                reason,
                scope,
                retry_after,
                maybe_delivered,
            },
        }
    }

    /// The word a metric and a receipt use for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Unregistered { .. } => "unregistered",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Credentials { .. } => "credentials",
        }
    }

    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Accepted { .. } => None,
            Self::Unregistered { reason, .. }
            | Self::Refused { reason }
            | Self::Unavailable { reason, .. }
            | Self::Credentials { reason } => Some(reason),
        }
    }
}

/// Exponential backoff with full jitter: every wait between nothing and a ceiling that doubles.
///
/// Full jitter spreads devices that failed together over the whole interval, so that they do not
/// come back together either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: Option<u32>,
}

impl Backoff {
    /// For the devices of an event, as its publisher decided.
    pub fn of(event: &Event) -> Self {
        Self {
            base: event.retry.first(),
            cap: event.retry.longest(),
            attempts: event.retry.attempts(),
        }
    }

    /// A backoff that starts below `base` and ends below `cap`; `None` unless `0 < base <= cap`.
    pub fn new(base: Duration, cap: Duration) -> Option<Self> {
        (!base.is_zero() && base <= cap).then_some(Self {
            base,
            cap,
            attempts: None,
        })
    }

    /// The wait after an attempt that came to nothing, when so many were made before it; `None` if it
    /// was the last one. `random` as in [`Backoff::delay`].
    pub fn after(self, attempts_before: u32, random: f64) -> Option<Duration> {
        let is_last = self
            .attempts
            .is_some_and(|most| attempts_before.saturating_add(1) >= most);
        (!is_last).then(|| self.delay(attempts_before, random))
    }

    /// The wait before try number `attempt` (0 = the first retry). `random` is uniform in 0..1;
    /// what lies outside is clamped.
    pub fn delay(self, attempt: u32, random: f64) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let ceiling = self.base.saturating_mul(factor).min(self.cap);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);

    fn unavailable(scope: Scope, retry_after: Option<Duration>) -> Outcome {
        Outcome::Unavailable {
            reason: "TooManyRequests".into(),
            retry_after,
            scope,
            maybe_delivered: false,
        }
    }

    #[track_caller]
    fn check(outcome: Outcome, expected: Next) {
        assert_eq!(outcome.next(Some(5 * SECOND), HOUR), expected);
    }

    #[test]
    fn each_outcome_has_one_consequence() {
        let since = Some(Timestamp::UNIX_EPOCH);
        check(Outcome::Accepted { provider_id: None }, Next::Done);
        check(
            Outcome::Unregistered {
                since,
                reason: "Unregistered".into(),
            },
            Next::RetireToken {
                since,
                reason: "Unregistered".into(),
            },
        );
        check(
            Outcome::Refused {
                reason: "BadPriority".into(),
            },
            Next::DeadLetter {
                reason: "BadPriority".into(),
            },
        );
        check(
            Outcome::Credentials {
                reason: "BadTopic".into(),
            },
            Next::OpenBreaker {
                reason: "BadTopic".into(),
            },
        );
    }

    #[test]
    fn the_longer_of_backoff_and_the_providers_wish_is_waited() {
        check(
            unavailable(Scope::Device, None),
            Next::RetryAfter(5 * SECOND),
        );
        check(
            unavailable(Scope::Device, Some(SECOND)),
            Next::RetryAfter(5 * SECOND),
        );
        check(
            unavailable(Scope::Device, Some(9 * SECOND)),
            Next::RetryAfter(9 * SECOND),
        );
    }

    #[test]
    fn a_wait_past_the_expiry_is_the_end() {
        check(unavailable(Scope::Device, Some(HOUR)), Next::Expire);
    }

    #[test]
    fn after_the_last_attempt_the_push_is_a_dead_letter_that_says_so() {
        let wish = Some(SECOND);
        assert_eq!(
            unavailable(Scope::Device, wish).next(None, HOUR),
            Next::DeadLetter {
                reason: "attempts exhausted: TooManyRequests".into()
            }
        );
        // A failing app is nobody's attempt.
        assert!(matches!(
            unavailable(Scope::App, wish).next(None, HOUR),
            Next::HandBack { .. }
        ));
    }

    #[test]
    fn the_attempts_of_a_backoff_end_where_the_event_says() {
        let limited = Backoff {
            base: SECOND,
            cap: HOUR,
            attempts: Some(3),
        };
        assert_eq!(limited.after(0, 1.0), Some(SECOND));
        assert_eq!(limited.after(1, 1.0), Some(2 * SECOND));
        assert_eq!(limited.after(2, 1.0), None);
        assert_eq!(limited.after(u32::MAX, 1.0), None);
        let unlimited = Backoff::new(SECOND, HOUR).unwrap();
        assert_eq!(unlimited.after(u32::MAX, 1.0), Some(HOUR));
    }

    #[test]
    fn a_fault_of_the_app_or_the_connection_marks_no_device() {
        for scope in [Scope::App, Scope::Quota, Scope::Connection] {
            check(
                unavailable(scope, Some(HOUR)),
                Next::HandBack {
                    reason: "TooManyRequests".into(),
                    scope,
                    retry_after: Some(HOUR),
                    maybe_delivered: false,
                },
            );
        }
    }

    #[test]
    fn a_backoff_that_could_not_wait_is_refused() {
        assert_eq!(Backoff::new(Duration::ZERO, HOUR), None);
        assert_eq!(Backoff::new(HOUR, SECOND), None);
    }

    proptest! {
        #[test]
        fn a_delay_stays_below_its_ceiling(attempt: u32, random in 0.0_f64..1.0) {
            let backoff = Backoff::new(SECOND, HOUR).unwrap();
            let delay = backoff.delay(attempt, random);
            prop_assert!(delay <= HOUR);
            let doubled = SECOND.saturating_mul(2_u32.saturating_pow(attempt));
            prop_assert!(delay <= doubled);
        }

        #[test]
        fn the_whole_interval_is_used(attempt in 0_u32..8) {
            let backoff = Backoff::new(SECOND, HOUR).unwrap();
            prop_assert_eq!(backoff.delay(attempt, 0.0), Duration::ZERO);
            prop_assert_eq!(backoff.delay(attempt, 1.0), SECOND * 2_u32.pow(attempt));
        }
    }
}
