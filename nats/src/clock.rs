//! The clock of a process: steps of the machine's wall clock do not move it.
//!
//! Expiry, retries and wake-ups are absolute times that processes agree on through the broker. A wall
//! clock that is set an hour on or back would expire what is fresh and wake up what waits an hour too
//! late. So the wall clock is read once and then reckoned on by the monotonic one. It is corrected by
//! the broker's own times where a role hears them ([`hear`]); else the wall clock is followed when it
//! has disagreed for [`PATIENCE`].

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A wall clock that disagrees for so long is right.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Disagreement that is none: what a time service corrects without a step.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// Reckons the time on from one reading. Pure: `at` is monotonic.
#[derive(Clone, Copy, Debug)]
struct Reckoning {
    from: (Instant, Timestamp),
    disagrees_since: Option<Instant>,
    heard_at: Option<Instant>,
}

impl Reckoning {
    fn new(at: Instant, wall: Timestamp) -> Self {
        Self {
            from: (at, wall),
            disagrees_since: None,
            heard_at: None,
        }
    }

    fn reckoned(&self, at: Instant) -> Timestamp {
        let passed = at.saturating_duration_since(self.from.0);
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        self.from.1.checked_add(passed).unwrap_or(self.from.1)
    }

    fn read(&mut self, at: Instant, wall: Timestamp) -> Timestamp {
        let reckoned = self.reckoned(at);
        if wall.duration_since(reckoned).abs() <= TOLERANCE {
            self.disagrees_since = None;
            return reckoned;
        }
        let since = *self.disagrees_since.get_or_insert(at);
        let is_heard = (self.heard_at).is_some_and(|it| at.duration_since(it) < PATIENCE);
        if is_heard || at.duration_since(since) < PATIENCE {
            return reckoned;
        }
        *self = Self::new(at, wall);
        wall
    }

    /// The broker read its clock at `time`, between two of our own readings. Returns by how much we
    /// were wrong, if that is more than can be told apart.
    fn hear(&mut self, time: Timestamp, asked: Instant, at: Instant) -> Option<SignedDuration> {
        self.heard_at = Some(at);
        let (earliest, latest) = (self.reckoned(asked), self.reckoned(at));
        let off = if time < earliest {
            time.duration_since(earliest)
        } else if time > latest {
            time.duration_since(latest)
        } else {
            return None;
        };
        if off.abs() <= TOLERANCE {
            return None;
        }
        let corrected = latest.checked_add(off).unwrap_or(latest);
        *self = Self {
            heard_at: Some(at),
            ..Self::new(at, corrected)
        };
        Some(off)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one reading of the wall clock"
)]
fn wall() -> Timestamp {
    crate::fail::shifted(Timestamp::now())
}

static CLOCK: LazyLock<Mutex<Reckoning>> =
    LazyLock::new(|| Mutex::new(Reckoning::new(Instant::now(), wall())));

/// The current time.
pub fn now() -> Timestamp {
    let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
    clock.read(Instant::now(), wall())
}

/// Tells the clock a time of the broker's: `time` was read by the broker after we asked at `asked`.
pub fn hear(time: Timestamp, asked: Instant) {
    let off = {
        let mut clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        clock.hear(time, asked, Instant::now())
    };
    if let Some(off) = off {
        tracing::warn!(
            seconds = off.as_secs_f64(),
            "the machine's clock differs from the broker's, whose time is used"
        );
    }
}

/// A write that comes back to its writer with the broker's time.
#[derive(Debug, Default)]
pub(crate) struct Echo(Mutex<Option<(String, Instant)>>);

impl Echo {
    /// What is about to be written; only the last one counts.
    pub(crate) fn expect(&self, sign: &str) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = Some((sign.to_owned(), Instant::now()));
    }

    /// Something was stored at `time`; if it is what was expected, the clock hears it.
    pub(crate) fn came_back(&self, value: &[u8], time: Timestamp) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |it: &mut (String, Instant)| it.0.as_bytes() == value;
        if let Some((_, asked)) = expected.take_if(is_it) {
            drop(expected);
            hear(time, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: i64) -> Timestamp {
        START + SignedDuration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_wall_clock_is_followed_only_when_it_lasts() {
        let begun = Instant::now();
        let mut clock = Reckoning::new(begun, START);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(clock.read(at(10), after(10) + HOUR), after(10));
        assert_eq!(clock.read(at(11), after(11)), after(11));
        assert_eq!(clock.read(at(20), after(20) - HOUR), after(20));
        assert_eq!(clock.read(at(139), after(139) - HOUR), after(139));
        assert_eq!(clock.read(at(140), after(140) - HOUR), after(140) - HOUR);
        assert_eq!(clock.read(at(141), after(141) - HOUR), after(141) - HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn the_brokers_time_counts_more_than_the_machines() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut clock = Reckoning::new(begun, START + HOUR);
        assert_eq!(
            clock.hear(after(2), at(1), at(2)),
            Some(-HOUR + SignedDuration::from_secs(1))
        );
        assert_eq!(clock.reckoned(at(3)), after(4));
        for second in 4..400 {
            assert_eq!(
                clock.hear(after(second), at(0), at(second.unsigned_abs())),
                None
            );
            let read = clock.read(at(second.unsigned_abs()), after(second) + HOUR);
            assert_eq!(read, after(second + 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_that_fits_between_asking_and_hearing_changes_nothing() {
        let begun = Instant::now();
        let mut clock = Reckoning::new(begun, START);
        let heard = clock.hear(after(3), begun, begun + Duration::from_secs(5));
        assert_eq!(heard, None);
        assert_eq!(clock.reckoned(begun + Duration::from_secs(5)), after(5));
    }
}
