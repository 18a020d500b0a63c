//! Numbers of frames: which frames are missing.

use std::collections::HashMap;

/// How a number stands to the last one of its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    /// The first of its scope since the opening.
    First,
    /// The next one.
    Next,
    /// The same or an earlier one; frames repeat.
    Repeat,
    /// So many frames are missing before it.
    Gap(u64),
}

/// The most scopes that are followed; later ones are not counted.
const MAX_SCOPES: usize = 10_000;

/// The last number of each scope of one socket.
#[derive(Debug, Default)]
pub struct Tracker {
    last: HashMap<String, u64>,
}

impl Tracker {
    /// Takes a number in.
    pub fn see(&mut self, scope: &str, number: u64) -> Continuity {
        let Some(last) = self.last.get_mut(scope) else {
            if self.last.len() < MAX_SCOPES {
                self.last.insert(scope.to_owned(), number);
            }
            return Continuity::First;
        };
        let continuity = match number.checked_sub(*last) {
            Some(1) => Continuity::Next,
            Some(0) | None => Continuity::Repeat,
            Some(step) => Continuity::Gap(step - 1),
        };
        *last = number.max(*last);
        continuity
    }

    /// Begins again: a reopened socket numbers anew, and its catch-up is due anyway.
    pub fn reset(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_scope_is_counted_by_itself() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.see("dot", 4908), Continuity::First);
        assert_eq!(tracker.see("eth", 1), Continuity::First);
        assert_eq!(tracker.see("dot", 4909), Continuity::Next);
        assert_eq!(tracker.see("dot", 4909), Continuity::Repeat);
        assert_eq!(tracker.see("dot", 4912), Continuity::Gap(2));
        assert_eq!(tracker.see("dot", 4910), Continuity::Repeat);
        assert_eq!(tracker.see("dot", 4913), Continuity::Next);
        tracker.reset();
        assert_eq!(tracker.see("dot", 1), Continuity::First);
    }

    proptest! {
        #[test]
        fn every_dropped_frame_inside_a_run_is_missed_once(
            n in 3_u64..200, dropped in proptest::collection::btree_set(1_u64..198, 0..20)
        ) {
            let mut tracker = Tracker::default();
            let kept = (0..n).filter(|it| *it == 0 || *it == n - 1 || !dropped.contains(it));
            let missing: u64 = kept
                .map(|it| match tracker.see("", it) {
                    Continuity::Gap(n) => n,
                    Continuity::First | Continuity::Next | Continuity::Repeat => 0,
                })
                .sum();
            prop_assert_eq!(missing, dropped.iter().filter(|it| **it < n - 1).count() as u64);
        }
    }
}
