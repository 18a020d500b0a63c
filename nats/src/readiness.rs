//! Named conditions that must all hold before a process says it is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

#[derive(Clone, Debug)]
enum Condition {
    Met,
    Unmet(String),
    /// Counts as met again after this instant.
    UnmetUntil(Instant, String),
}

/// The conditions of one process; clones share them.
///
/// A condition that was never mentioned does not count; one that was must be met.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
}

impl Readiness {
    /// Starts without conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `condition` holds.
    pub fn met(&self, condition: &'static str) {
        self.put(condition, Condition::Met);
    }

    /// Says that `condition` does not hold, and why, in words for an operator.
    pub fn unmet(&self, condition: &'static str, why: impl Into<String>) {
        self.put(condition, Condition::Unmet(why.into()));
    }

    /// Says that `condition` did not hold just now; it counts as met again after `shadow`.
    pub fn unmet_for(&self, condition: &'static str, shadow: Duration, why: impl Into<String>) {
        let until = Instant::now() + shadow;
        self.put(condition, Condition::UnmetUntil(until, why.into()));
    }

    /// Every condition with its state, in alphabetical order.
    pub fn conditions(&self) -> Vec<(&'static str, Result<(), String>)> {
        let conditions = self
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        conditions
            .iter()
            .map(|(name, state)| {
                let state = match state {
                    Condition::Unmet(why) => Err(why.clone()),
                    Condition::UnmetUntil(until, why) if *until > Instant::now() => {
                        Err(why.clone())
                    }
                    Condition::Met | Condition::UnmetUntil(..) => Ok(()),
                };
                (*name, state)
            })
            .collect()
    }

    /// True when every condition is met.
    pub fn is_ready(&self) -> bool {
        self.conditions().iter().all(|(_, state)| state.is_ok())
    }

    fn put(&self, condition: &'static str, state: Condition) {
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(condition, state);
    }
}
