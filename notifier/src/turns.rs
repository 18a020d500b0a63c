//! Where the planners of a process stand in the events: whether one has to wait for its turn.
//!
//! Architecture invariant: it decides nothing that matters to the promise. Whoever plans before the
//! turn stores the plan that stands, and whoever comes later finds it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare_nats::Urgency;

/// A bulk event among so many that came last, and more of the kind are likely to wait: who was started
/// in the middle of a storm was not told of what waits.
const NEAR: u64 = 64;

/// The turns of the events, as the planners of one process see them; all of them share it.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// The highest sequence that came to a planner here. Events come in their order, so whatever is
    /// not higher has come to somebody.
    reached: u64,
    /// What waited behind the last one that came; `None` where that is not known.
    n_behind: Option<u64>,
    n_busy: usize,
    /// The highest sequence of a bulk event that came, or was told of.
    last_bulk: Option<u64>,
}

/// One turn; the planner is busy while it lives.
pub(crate) struct Turn<'a>(&'a Turns);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.n_busy = queue.n_busy.saturating_sub(1);
    }
}

impl Turns {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event came to a planner, and so many waited behind it.
    pub(crate) fn begin(&self, seq: u64, urgency: Urgency, n_behind: u64) -> Turn<'_> {
        let mut queue = self.queue();
        queue.see(seq, urgency);
        queue.reached = queue.reached.max(seq);
        queue.n_behind = Some(n_behind);
        queue.n_busy += 1;
        drop(queue);
        Turn(self)
    }

    /// A planner asked for an event, and there was none.
    pub(crate) fn none(&self) {
        self.queue().n_behind = Some(0);
    }

    /// A planner asked for an event and was not answered: others may wait, or not.
    pub(crate) fn unknown(&self) {
        self.queue().n_behind = None;
    }

    /// Whether an event came to a planner, of this process or of another.
    pub(crate) fn has_come(&self, seq: u64) -> bool {
        seq <= self.queue().reached
    }

    /// An event is on its way to somebody's turn.
    pub(crate) fn told(&self, seq: u64, urgency: Urgency) {
        self.queue().see(seq, urgency);
    }

    /// Whether an urgent event had better be planned before its turn: it has not come, others have
    /// theirs before, or every planner has something in hand, and there are bulk events among those.
    /// Behind urgent ones it waits as they do. `None` as long as it is not known what waits.
    pub(crate) fn waits(&self, seq: u64, n_planners: usize) -> Option<bool> {
        let queue = self.queue();
        if seq <= queue.reached {
            return Some(false);
        }
        let is_behind = queue.n_behind? > 0 || queue.n_busy >= n_planners;
        let is_bulk = |it| queue.reached < it + NEAR;
        Some(is_behind && queue.last_bulk.is_some_and(is_bulk))
    }
}

impl Queue {
    fn see(&mut self, seq: u64, urgency: Urgency) {
        if urgency == Urgency::Bulk {
            self.last_bulk = self.last_bulk.max(Some(seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(turns: &Turns, seq: u64, n_behind: u64) -> Turn<'_> {
        turns.begin(seq, Urgency::Bulk, n_behind)
    }

    #[test]
    fn an_event_waits_behind_others_that_wait_and_behind_busy_planners() {
        let turns = Turns::default();
        assert_eq!(turns.waits(1, 2), None, "nothing is known of a queue");
        turns.none();
        assert_eq!(turns.waits(1, 2), Some(false), "there is none");
        let first = bulk(&turns, 1, 0);
        assert_eq!(turns.waits(2, 2), Some(false), "another planner is free");
        let second = bulk(&turns, 2, 0);
        assert_eq!(turns.waits(3, 2), Some(true), "both are busy");
        assert_eq!(turns.waits(2, 2), Some(false), "it has its turn");
        drop(first);
        assert_eq!(turns.waits(3, 2), Some(false));
        drop((second, bulk(&turns, 4, 7)));
        assert_eq!(turns.waits(5, 2), Some(true), "seven wait");
        assert_eq!(turns.waits(3, 2), Some(false), "it came to another process");
        turns.none();
        assert_eq!(turns.waits(5, 2), Some(false), "nobody waits any more");
        turns.unknown();
        assert_eq!(turns.waits(5, 2), None, "the broker does not answer");
    }

    #[test]
    fn nobody_overtakes_urgent_events() {
        let turns = Turns::default();
        drop(turns.begin(1, Urgency::Urgent, 900));
        assert_eq!(turns.waits(500, 2), Some(false), "all that wait are urgent");
        turns.told(499, Urgency::Bulk);
        assert_eq!(turns.waits(500, 2), Some(true), "a bulk event waits");
        drop(turns.begin(499 + NEAR - 1, Urgency::Urgent, 900));
        assert_eq!(turns.waits(999, 2), Some(true), "more may be behind it");
        drop(turns.begin(499 + NEAR, Urgency::Urgent, 900));
        assert_eq!(turns.waits(999, 2), Some(false), "it was the last");
    }
}
