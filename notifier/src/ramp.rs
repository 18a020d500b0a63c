//! How far an app may reach beyond what belongs to it. Pure.
//!
//! Each answer of its provider lets the app have one more request under way, so that its reach
//! doubles with every round of answers. An app whose provider says nothing for a second is back at
//! its own part: whoever never answers holds no places that others could use.

use std::time::Duration;

use tokio::time::Instant;

/// Without an answer for so long, nothing is known of the provider any more.
const FORGOTTEN: Duration = Duration::from_secs(1);

/// The reach of one app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ramp {
    reach: usize,
    answered_at: Option<Instant>,
}

impl Ramp {
    /// Requests that may be under way beyond the app's own part.
    pub(crate) fn reach(&self, now: Instant) -> usize {
        let is_known = self.answered_at.is_some_and(|it| now <= it + FORGOTTEN);
        if is_known { self.reach } else { 0 }
    }

    /// The provider answered, whatever it said.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.reach = self.reach(now).saturating_add(1);
        self.answered_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_widen_the_reach_and_a_second_of_silence_ends_it() {
        let mut now = Instant::now();
        let mut ramp = Ramp::default();
        assert_eq!(ramp.reach(now), 0);
        let (own, mut rounds) = (16, 0);
        while ramp.reach(now) < 96 {
            now += Duration::from_millis(50);
            for _ in 0..own + ramp.reach(now) {
                ramp.answered(now);
            }
            rounds += 1;
        }
        assert_eq!(rounds, 3, "16, 48, 112");
        assert_eq!(ramp.reach(now + FORGOTTEN + Duration::from_millis(1)), 0);
    }
}
