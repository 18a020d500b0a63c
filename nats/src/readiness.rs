//! Named conditions that must all hold before a process says it is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{Timestamp, Unit};
use tokio::time::Instant;

use crate::clock;
use crate::outage::Outages;

#[derive(Clone, Debug)]
enum Condition {
    Met,
    /// Since when, and why.
    Unmet(Timestamp, String),
    /// Counts as met again after this instant.
    UnmetUntil(Instant, Timestamp, String),
}

impl Condition {
    /// Since when it has not been met without a break; `None` if it is.
    fn unmet_since(&self) -> Option<Timestamp> {
        match self {
            Self::Unmet(since, _) => Some(*since),
            Self::UnmetUntil(until, since, _) => (*until > Instant::now()).then_some(*since),
            Self::Met => None,
        }
    }
}

/// The conditions of one process; clones share them.
///
/// A condition that was never mentioned does not count; one that was must be met.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
    /// What the broker does not answer to any of the connections.
    pub(crate) outages: Outages,
}

impl Readiness {
    /// Starts without conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `condition` holds.
    pub fn met(&self, condition: &'static str) {
        self.put(condition, |_| Condition::Met);
    }

    /// Says that `condition` does not hold, and why, in words for an operator.
    pub fn unmet(&self, condition: &'static str, why: impl Into<String>) {
        self.put(condition, |since| Condition::Unmet(since, why.into()));
    }

    /// Says that `condition` did not hold just now; it counts as met again after `shadow`.
    pub fn unmet_for(&self, condition: &'static str, shadow: Duration, why: impl Into<String>) {
        let until = Instant::now() + shadow;
        let why = why.into();
        self.put(condition, |since| Condition::UnmetUntil(until, since, why));
    }

    /// Every condition with its state, in alphabetical order; one that does not hold says why, and
    /// since when.
    pub fn conditions(&self) -> Vec<(&'static str, Result<(), String>)> {
        let conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .map(|(name, state)| {
                let unmet = match (state, state.unmet_since()) {
                    (Condition::Met, _) | (_, None) => return (*name, Ok(())),
                    (Condition::Unmet(_, why) | Condition::UnmetUntil(_, _, why), Some(since)) => {
                        format!("{why} (since {})", second(since))
                    }
                };
                (*name, Err(unmet))
            })
            .collect()
    }

    /// True when every condition is met.
    pub fn is_ready(&self) -> bool {
        self.conditions().iter().all(|(_, state)| state.is_ok())
    }

    /// What is not met, in words; `None` when every condition is met.
    pub fn waits_for(&self) -> Option<String> {
        let unmet: Vec<String> = (self.conditions().into_iter())
            .filter_map(|(name, state)| state.err().map(|why| format!("{name}: {why}")))
            .collect();
        (!unmet.is_empty()).then(|| unmet.join("; "))
    }

    /// `state` is told since when the condition has not been met, which is now if it was.
    fn put(&self, condition: &'static str, state: impl FnOnce(Timestamp) -> Condition) {
        let mut conditions = (self.conditions)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = conditions.get(condition).and_then(Condition::unmet_since);
        let state = state(since.unwrap_or_else(clock::now));
        conditions.insert(condition, state);
    }
}

fn second(at: Timestamp) -> Timestamp {
    at.round(Unit::Second).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_says_since_when_however_often_its_words_change() {
        let readiness = Readiness::new();
        readiness.unmet("x", "one");
        let since = readiness.conditions()[0].1.clone().unwrap_err();
        let since = since.strip_prefix("one ").unwrap().to_owned();
        assert!(since.starts_with("(since 2"), "{since}");
        readiness.unmet("x", "two");
        assert_eq!(readiness.waits_for(), Some(format!("x: two {since}")));
        readiness.met("x");
        assert!(readiness.is_ready() && readiness.waits_for().is_none());
        readiness.unmet_for("x", Duration::from_mins(1), "three");
        assert!(!readiness.is_ready());
        readiness.unmet_for("x", Duration::ZERO, "three");
        assert!(readiness.is_ready());
    }
}
