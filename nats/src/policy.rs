//! How an event is to be delivered, and who may say so: the request or the source, then the topic
//! sections of the configuration, then the defaults. Pure.
//!
//! The publisher decides it once and writes it into the event, so that every notifier reads the
//! same, also after the configuration was edited.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use crate::event::{Guarantee, MAX_EXPIRES_IN, Urgency};
use crate::topic::{Pattern, Topic};

/// How long an event is worth telling if nobody says otherwise (design section 3).
pub const EXPIRES_IN: Duration = Duration::from_hours(6);
/// The most attempts that can be asked for; without a limit the expiry ends them.
pub const MAX_ATTEMPTS: u32 = 1000;
/// The shortest first delay: below it a retry is no wait but a second try.
pub const MIN_DELAY: Duration = Duration::from_millis(100);

/// How often, and after which waits, a device gets another attempt.
///
/// An attempt counts when the provider answered for the device. A provider, a connection or
/// credentials that fail are no attempt: nobody had a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    attempts: Option<NonZeroU32>,
    first: Duration,
    longest: Duration,
}

/// Why values are no retry policy. The message continues a sentence that begins with the key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RetryError {
    /// Zero attempts, or more than [`MAX_ATTEMPTS`].
    #[error("must be 1 to {MAX_ATTEMPTS}; without it an event is tried until it expires")]
    Attempts,
    /// The first delay is too short or longer than the longest.
    #[error("must be 100ms or more, and not longer than `longest`")]
    First,
    /// The longest delay is longer than any event lives.
    #[error("must be at most 24h")]
    Longest,
}

impl Retry {
    /// Until the event expires; the first retry within 2 s, none later than 15 min after the one
    /// before.
    pub const DEFAULT: Self = Self {
        attempts: None,
        first: Duration::from_secs(2),
        longest: Duration::from_mins(15),
    };

    /// A policy: at most so many attempts, waits that begin below `first` and end below `longest`.
    ///
    /// # Errors
    /// [`RetryError`] names the value that cannot be.
    pub fn new(
        attempts: Option<u32>,
        first: Duration,
        longest: Duration,
    ) -> Result<Self, RetryError> {
        let attempts = match attempts {
            None => None,
            Some(n) if n <= MAX_ATTEMPTS => Some(NonZeroU32::new(n).ok_or(RetryError::Attempts)?),
            Some(_) => return Err(RetryError::Attempts),
        };
        if longest > MAX_EXPIRES_IN {
            return Err(RetryError::Longest);
        }
        if first < MIN_DELAY || first > longest {
            return Err(RetryError::First);
        }
        Ok(Self {
            attempts,
            first,
            longest,
        })
    }

    /// The most attempts per device; `None`: until the event expires.
    pub fn attempts(&self) -> Option<u32> {
        self.attempts.map(NonZeroU32::get)
    }

    /// The longest first wait.
    pub fn first(&self) -> Duration {
        self.first
    }

    /// The longest wait of all.
    pub fn longest(&self) -> Duration {
        self.longest
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attempts {
            Some(n) if n.get() == 1 => return f.write_str("one attempt"),
            Some(n) => write!(f, "at most {n} attempts")?,
            None => f.write_str("attempts until it expires")?,
        }
        let (first, longest) = (Plain(self.first), Plain(self.longest));
        write!(f, ", waits of up to {first} growing to {longest}")
    }
}

/// A duration as a person writes it.
struct Plain(Duration);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if ms >= size && ms.is_multiple_of(size) {
                return write!(f, "{}{unit}", ms / size);
            }
        }
        write!(f, "{ms}ms")
    }
}

/// What somebody says about delivery; what is left out is the next one's to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Attempts and waits.
    pub retry: Option<Retry>,
    /// How long after its publication an event may be sent.
    pub expires_in: Option<Duration>,
    /// Repeat or lose at a crash.
    pub guarantee: Option<Guarantee>,
    /// Which lane.
    pub urgency: Option<Urgency>,
}

impl Wish {
    /// This wish, and the other's where this one says nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            retry: self.retry.or(other.retry),
            expires_in: self.expires_in.or(other.expires_in),
            guarantee: self.guarantee.or(other.guarantee),
            urgency: self.urgency.or(other.urgency),
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.urgency.map(|it| it.as_str().to_owned()),
            self.guarantee.map(|it| it.as_str().to_owned()),
            self.expires_in
                .map(|it| format!("expires in {}", Plain(it))),
            self.retry.map(|it| it.to_string()),
        ];
        let said: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&said.join(", "))
    }
}

/// How an event is delivered: everything said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts and waits.
    pub retry: Retry,
    /// How long after its publication an event may be sent; at most [`MAX_EXPIRES_IN`].
    pub expires_in: Duration,
    /// Repeat or lose at a crash.
    pub guarantee: Guarantee,
    /// Which lane.
    pub urgency: Urgency,
}

impl From<Wish> for Policy {
    fn from(wish: Wish) -> Self {
        Self {
            retry: wish.retry.unwrap_or_default(),
            expires_in: wish.expires_in.unwrap_or(EXPIRES_IN).min(MAX_EXPIRES_IN),
            guarantee: wish.guarantee.unwrap_or_default(),
            urgency: wish.urgency.unwrap_or_default(),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            retry,
            expires_in,
            guarantee,
            urgency,
        } = self;
        let (expires_in, guarantee) = (Plain(*expires_in), guarantee.as_str());
        let urgency = urgency.as_str();
        write!(
            f,
            "{urgency}, {guarantee}, expires in {expires_in}, {retry}"
        )
    }
}

/// The topic sections of a configuration.
///
/// Each key of the policy is decided for itself: of the sections that match one of the event's
/// topics and say something about it, the most specific one wins. More plain segments are more
/// specific, then more `*`; of equals the first in the configuration wins. Reserved topics (one
/// device, one user) match no section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPolicies {
    /// The most specific first.
    sections: Vec<(Pattern, Wish)>,
}

impl TopicPolicies {
    /// Puts sections, given in the order of the configuration, into the order of their weight.
    pub fn new(mut sections: Vec<(Pattern, Wish)>) -> Self {
        // Stable: equals keep the order of the configuration.
        sections.sort_by_key(|(pattern, _)| std::cmp::Reverse(specificity(pattern)));
        Self { sections }
    }

    /// The sections, the most specific first.
    pub fn sections(&self) -> impl Iterator<Item = &(Pattern, Wish)> {
        self.sections.iter()
    }

    /// The policy of an event: what its source or request says, then the sections, then the
    /// defaults.
    pub fn decide(&self, own: Wish, topics: &[Topic]) -> Policy {
        let is_about =
            |(pattern, _): &&(Pattern, Wish)| topics.iter().any(|it| pattern.matches(it));
        let sections = self.sections.iter().filter(is_about);
        sections
            .fold(own, |wish, (_, section)| wish.or(*section))
            .into()
    }
}

/// How closely a pattern says what it means: plain segments, then `*`.
fn specificity(pattern: &Pattern) -> (usize, usize) {
    let segments = || pattern.as_str().split('.');
    let n_plain = segments().filter(|it| !matches!(*it, "*" | ">")).count();
    let n_any = segments().filter(|it| *it == "*").count();
    (n_plain, n_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn values_that_could_not_wait_or_never_end_are_refused() {
        let new = |attempts, first, longest| Retry::new(attempts, first, longest).err();
        assert_eq!(new(Some(3), SECOND, SECOND), None);
        assert_eq!(new(None, SECOND, 60 * SECOND), None);
        assert_eq!(new(Some(0), SECOND, SECOND), Some(RetryError::Attempts));
        assert_eq!(new(Some(1001), SECOND, SECOND), Some(RetryError::Attempts));
        assert_eq!(new(None, Duration::ZERO, SECOND), Some(RetryError::First));
        assert_eq!(new(None, 2 * SECOND, SECOND), Some(RetryError::First));
        assert_eq!(
            new(None, SECOND, 100_000 * SECOND),
            Some(RetryError::Longest)
        );
    }

    /// A section that says `expires_in` only, so that it can be told which one won.
    fn sections(sections: &[(&str, u64)]) -> TopicPolicies {
        let section = |(pattern, hours): &(&str, u64)| {
            let wish = Wish {
                expires_in: Some(Duration::from_hours(*hours)),
                ..Wish::default()
            };
            (Pattern::parse(pattern).unwrap(), wish)
        };
        TopicPolicies::new(sections.iter().map(section).collect())
    }

    #[track_caller]
    fn check(policies: &TopicPolicies, topics: &[&str], hours: u64) {
        let topics: Vec<Topic> = topics.iter().map(|it| Topic::parse(it).unwrap()).collect();
        let policy = policies.decide(Wish::default(), &topics);
        assert_eq!(policy.expires_in, Duration::from_hours(hours), "{topics:?}");
    }

    #[test]
    fn the_most_specific_section_wins_whatever_the_order() {
        let policies = sections(&[(">", 1), ("a.>", 2), ("a.*", 3), ("a.b", 4), ("*.b", 5)]);
        check(&policies, &["x"], 1);
        check(&policies, &["a.x.y"], 2);
        check(&policies, &["a.x"], 3);
        check(&policies, &["a.b"], 4);
        check(&policies, &["x.b"], 5);
    }

    #[test]
    fn of_equals_the_first_in_the_configuration_wins() {
        check(&sections(&[("a.*", 1), ("*.b", 2)]), &["a.b"], 1);
        check(&sections(&[("*.b", 2), ("a.*", 1)]), &["a.b"], 2);
    }

    #[test]
    fn of_several_topics_the_most_specific_match_of_any_counts() {
        let policies = sections(&[("a.>", 1), ("b.c", 2)]);
        check(&policies, &["a.x", "b.c"], 2);
        check(&policies, &["b.c", "a.x"], 2);
        check(&policies, &["b.x", "a.x"], 1);
        check(&policies, &["b.x"], 6);
    }

    #[test]
    fn no_section_is_about_one_device() {
        check(&sections(&[(">", 1)]), &["fanfare.device.phone-1"], 6);
    }

    #[test]
    fn each_key_is_decided_for_itself() {
        let wish = |urgency, retry| Wish {
            retry,
            urgency,
            ..Wish::default()
        };
        let pattern = |text| Pattern::parse(text).unwrap();
        let twice = Retry::new(Some(2), SECOND, SECOND).unwrap();
        let policies = TopicPolicies::new(vec![
            (pattern("a.>"), wish(Some(Urgency::Bulk), Some(twice))),
            (pattern("a.b"), wish(Some(Urgency::Urgent), None)),
        ]);
        let topics = [Topic::parse("a.b").unwrap()];
        let policy = policies.decide(Wish::default(), &topics);
        assert_eq!((policy.urgency, policy.retry), (Urgency::Urgent, twice));
        let own = wish(Some(Urgency::Bulk), Some(Retry::DEFAULT));
        let policy = policies.decide(own, &topics);
        assert_eq!(
            (policy.urgency, policy.retry),
            (Urgency::Bulk, Retry::DEFAULT)
        );
    }

    #[test]
    fn a_policy_reads_like_a_sentence() {
        let retry = Retry::new(Some(5), SECOND, 90 * SECOND).unwrap();
        let wish = Wish {
            retry: Some(retry),
            ..Wish::default()
        };
        assert_eq!(
            Policy::from(wish).to_string(),
            "urgent, at_least_once, expires in 6h, at most 5 attempts, waits of up to 1s growing \
             to 90s"
        );
    }
}
