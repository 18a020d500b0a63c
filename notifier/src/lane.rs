//! What belongs to a lane: whether its provider answers at all, and a pause while it does not.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures of a whole app in a row that pause its lane.
const TOLERATED: u32 = 8;
/// The first pause, and the longest that grows from it.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The state of one lane in this process; its two parts are guarded together.
#[derive(Debug, Default)]
pub struct LaneState {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pauses: u32,
    paused_until: Option<Instant>,
}

/// What follows from a failure that is no device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Try the same device again.
    Again,
    /// The lane is paused for so long: hand the task back.
    Paused(Duration),
}

impl LaneState {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The provider answered for a device: all is well.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        if state.failures > 0 || state.pauses > 0 {
            *state = State::default();
        }
    }

    /// The app or a connection failed; `wish` is what the provider asked for.
    pub fn failed(&self, wish: Option<Duration>, now: Instant) -> AfterFailure {
        let mut state = self.lock();
        state.failures += 1;
        if wish.is_none() && state.failures < TOLERATED {
            return AfterFailure::Again;
        }
        Self::pause(&mut state, wish.unwrap_or_default(), now)
    }

    /// The provider refuses us: only an operator can help.
    pub fn refused(&self, now: Instant) -> AfterFailure {
        Self::pause(&mut self.lock(), PAUSE.1, now)
    }

    fn pause(state: &mut State, at_least: Duration, now: Instant) -> AfterFailure {
        if let Some(until) = state.paused_until.filter(|it| *it > now) {
            return AfterFailure::Paused(until - now); // Others of the same burst.
        }
        let grown = PAUSE
            .0
            .saturating_mul(1 << state.pauses.min(5))
            .min(PAUSE.1);
        let pause = grown.max(at_least);
        state.pauses += 1;
        state.failures = 0;
        state.paused_until = Some(now + pause);
        AfterFailure::Paused(pause)
    }

    /// How long nothing may be taken from the lane.
    pub fn pause_left(&self, now: Instant) -> Option<Duration> {
        self.lock()
            .paused_until
            .filter(|it| *it > now)
            .map(|it| it - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_pauses_after_failures_in_a_row_and_longer_each_time() {
        let lane = LaneState::default();
        let now = Instant::now();
        for _ in 1..TOLERATED {
            assert_eq!(lane.failed(None, now), AfterFailure::Again);
        }
        assert_eq!(lane.failed(None, now), AfterFailure::Paused(PAUSE.0));
        assert_eq!(lane.pause_left(now), Some(PAUSE.0));
        let later = now + PAUSE.0;
        assert_eq!(lane.pause_left(later), None);
        for _ in 1..TOLERATED {
            lane.failed(None, later);
        }
        assert_eq!(lane.failed(None, later), AfterFailure::Paused(PAUSE.0 * 2));
        lane.succeeded();
        assert_eq!(lane.failed(None, later), AfterFailure::Again);
    }

    #[tokio::test(start_paused = true)]
    async fn a_providers_wish_pauses_at_once() {
        let lane = LaneState::default();
        let wish = Duration::from_secs(7);
        assert_eq!(
            lane.failed(Some(wish), Instant::now()),
            AfterFailure::Paused(wish)
        );
    }
}
