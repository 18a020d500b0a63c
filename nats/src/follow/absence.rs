//! Whether a follower of the device bucket was away for so long that deletions may be forgotten.
//! Pure.
//!
//! A deletion is known by the marker that it leaves, and markers go away. Whoever is back in time
//! reads the markers of what it missed; whoever is not would go on pushing to devices that are gone,
//! so it loads the bucket anew.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::feed::Heard;

/// What the follower knows of its own absence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absence {
    /// As of then nothing was missing, by our clock.
    complete: Instant,
    /// The same by the broker's clock, which goes on while our machine is suspended.
    complete_stored: Option<Timestamp>,
    longest: Duration,
}

impl Absence {
    /// A load that begins at `at`, of a bucket that remembers deletions for `marker_ttl`. Six
    /// sevenths of it may be missed, the rest is for coming back.
    pub(super) fn new(at: Instant, marker_ttl: Duration) -> Self {
        Self {
            complete: at,
            complete_stored: None,
            longest: marker_ttl * 6 / 7,
        }
    }

    /// Judges the next change before it is applied, heard at `at`: whether a deletion between it and
    /// those before it may have been forgotten.
    ///
    /// While more changes wait behind what is heard, nothing is complete: markers go away during a
    /// long catching up, too.
    pub(super) fn ends_too_late(&mut self, at: Instant, heard: Option<Heard>) -> bool {
        if at.saturating_duration_since(self.complete) > self.longest {
            return true;
        }
        let Some(heard) = heard else {
            return false;
        };
        let longest = SignedDuration::try_from(self.longest).unwrap_or(SignedDuration::MAX);
        let is_late = |it: Timestamp| heard.stored_at.duration_since(it) > longest;
        if self.complete_stored.is_some_and(is_late) {
            return true;
        }
        if heard.is_last {
            self.complete = at;
            self.complete_stored = Some(heard.stored_at);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn heard(after: Duration, is_last: bool) -> Heard {
        let stored_at = Timestamp::UNIX_EPOCH + SignedDuration::try_from(after).unwrap();
        Heard { stored_at, is_last }
    }

    #[test]
    fn who_was_away_for_less_than_deletions_are_remembered_catches_up() {
        let start = Instant::now();
        let mut absence = Absence::new(start, 7 * DAY);
        assert!(!absence.ends_too_late(start + DAY, Some(heard(DAY, true))));
        assert!(!absence.ends_too_late(start + 6 * DAY, Some(heard(2 * DAY, false))));
        assert!(!absence.ends_too_late(start + 6 * DAY, Some(heard(6 * DAY, true))));
        assert!(!absence.ends_too_late(start + 12 * DAY, Some(heard(12 * DAY, true))));
    }

    #[test]
    fn who_was_away_for_longer_starts_over() {
        let start = Instant::now();
        let mut absence = Absence::new(start, 7 * DAY);
        assert!(!absence.ends_too_late(start + DAY, Some(heard(DAY, true))));
        let late = start + 7 * DAY + Duration::from_secs(1);
        assert!(absence.ends_too_late(late, Some(heard(2 * DAY, false))));
    }

    #[test]
    fn catching_up_counts_as_being_away() {
        let start = Instant::now();
        let mut absence = Absence::new(start, Duration::from_secs(7));
        let second = Duration::from_secs;
        assert!(!absence.ends_too_late(start, Some(heard(second(0), true))));
        // Back after five seconds, but what is heard then is not the end of it.
        assert!(!absence.ends_too_late(start + second(5), Some(heard(second(1), false))));
        assert!(!absence.ends_too_late(start + second(6), Some(heard(second(2), false))));
        assert!(absence.ends_too_late(start + second(7), Some(heard(second(3), false))));
    }

    #[test]
    fn a_machine_that_was_suspended_learns_it_from_the_brokers_clock() {
        let start = Instant::now();
        let mut absence = Absence::new(start, 7 * DAY);
        assert!(!absence.ends_too_late(start, Some(heard(DAY, true))));
        let woken = start + Duration::from_secs(1);
        assert!(!absence.ends_too_late(woken, Some(heard(2 * DAY, false))));
        assert!(absence.ends_too_late(woken, Some(heard(8 * DAY, true))));
    }

    #[test]
    fn a_load_that_takes_too_long_is_an_absence() {
        let start = Instant::now();
        let mut absence = Absence::new(start, Duration::from_secs(7));
        assert!(absence.ends_too_late(start + Duration::from_secs(8), Some(heard(DAY, true))));
    }
}
