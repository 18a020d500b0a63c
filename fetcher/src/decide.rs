//! Observation → verdict (pure): is it news?

use std::time::Duration;

use fanfare_nats::Level;
use jiff::{SignedDuration, Timestamp};

use crate::baseline::Baseline;
use crate::mapping::Observation;

/// How far in the future a time may lie: feeds with day precision write noon of today. A later one
/// would still be fresh when the stream has forgotten its decision.
pub const MAX_AHEAD: Duration = Duration::from_hours(24);

/// The largest `fresh_for`: EVENTS remembers 7 days; a day of [`MAX_AHEAD`] and a day of slack.
pub const MAX_FRESH_FOR: Duration = Duration::from_hours(5 * 24);

/// What follows from one observation.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// News at this level, if nobody stored it before; the create-only subject says.
    Publish(Level),
    /// No news.
    Silent(Silence),
}

/// Why an observation is no news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No step is reached.
    BelowLevel,
    /// Older than `fresh_for`.
    Stale,
    /// Further in the future than [`MAX_AHEAD`].
    Ahead,
    /// It was there when the source was first read, at this level or above.
    Baseline,
}

/// What decides, beside the observation.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Items older than this are no news.
    pub fresh_for: Duration,
    /// What was there on the source's first run.
    pub baseline: &'a Baseline,
}

/// Decides about one observation, alone.
pub fn decide(seen: &Observation, policy: Policy<'_>, now: Timestamp) -> Decision {
    let Some(level) = &seen.level else {
        return Decision::Silent(Silence::BelowLevel);
    };
    if let Some(occurred_at) = seen.occurred_at {
        let age = now.duration_since(occurred_at);
        if age > signed(policy.fresh_for) {
            return Decision::Silent(Silence::Stale);
        }
        if age < -signed(MAX_AHEAD) {
            return Decision::Silent(Silence::Ahead);
        }
    }
    if policy.baseline.silences(&seen.item, level) {
        return Decision::Silent(Silence::Baseline);
    }
    Decision::Publish(level.clone())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use fanfare_nats::event::Content;
    use proptest::prelude::*;

    use super::*;

    const NOON: &str = "2026-03-02T12:00:00Z";

    fn seen(item: &str, level: Option<f64>, occurred_at: Option<&str>) -> Observation {
        Observation {
            item: item.to_owned(),
            level: level.map(Level::Step),
            occurred_at: occurred_at.map(|it| it.parse().unwrap()),
            topics: Vec::new(),
            urgency: None,
            content: Content::default(),
        }
    }

    fn baseline() -> Baseline {
        Baseline::of([("us1", &Level::Step(4.5))], NOON.parse().unwrap())
    }

    #[track_caller]
    fn check(item: &str, level: Option<f64>, occurred_at: Option<&str>, expected: Decision) {
        let baseline = baseline();
        let policy = Policy {
            fresh_for: Duration::from_hours(24),
            baseline: &baseline,
        };
        let decision = decide(
            &seen(item, level, occurred_at),
            policy,
            NOON.parse().unwrap(),
        );
        assert_eq!(decision, expected);
    }

    #[test]
    fn an_item_of_the_baseline_speaks_only_when_it_rises() {
        let time = Some("2026-03-02T11:00:00Z");
        check("us1", Some(4.5), time, Decision::Silent(Silence::Baseline));
        check("us1", Some(6.0), time, Decision::Publish(Level::Step(6.0)));
        check("us1", None, time, Decision::Silent(Silence::BelowLevel));
        check("us2", Some(4.5), time, Decision::Publish(Level::Step(4.5)));
    }

    #[test]
    fn an_old_item_is_refused_and_one_of_the_far_future_too() {
        let level = Some(6.0);
        check(
            "a",
            level,
            Some("2026-03-01T12:00:00Z"),
            Decision::Publish(Level::Step(6.0)),
        );
        check(
            "a",
            level,
            Some("2026-03-01T11:59:59Z"),
            Decision::Silent(Silence::Stale),
        );
        check(
            "a",
            level,
            Some("2026-03-03T12:00:00Z"),
            Decision::Publish(Level::Step(6.0)),
        );
        check(
            "a",
            level,
            Some("2026-03-03T12:00:01Z"),
            Decision::Silent(Silence::Ahead),
        );
        check("a", level, None, Decision::Publish(Level::Step(6.0)));
    }

    proptest! {
        #[test]
        fn the_set_of_decisions_does_not_depend_on_order_or_repeats(
            shown in proptest::collection::vec((0_u8..6, 0_u8..4), 1..40),
            shuffle in any::<u64>(),
        ) {
            let baseline = baseline();
            let policy = Policy { fresh_for: Duration::from_hours(1), baseline: &baseline };
            let decided = |shown: &[(u8, u8)]| {
                let mut set: Vec<String> = shown
                    .iter()
                    .map(|(item, step)| {
                        let level = [None, Some(4.5), Some(6.0), Some(7.0)][usize::from(*step)];
                        let item = format!("us{item}");
                        let seen = seen(&item, level, None);
                        format!("{item} {:?}", decide(&seen, policy, NOON.parse().unwrap()))
                    })
                    .collect();
                set.sort();
                set.dedup();
                set
            };
            let mut other = shown.clone();
            other.extend(shown.iter().rev().copied());
            let turn = usize::try_from(shuffle % 97).unwrap() % other.len();
            other.rotate_left(turn);
            prop_assert_eq!(decided(&shown), decided(&other));
        }
    }
}
