//! Growing pauses with jitter, so that many fetchers do not come back at the same moment.

use std::time::Duration;

use rand::Rng;

/// A pause that doubles with each failure up to a cap, of which a random half to whole is waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
    n_failures: u32,
}

impl Backoff {
    /// A backoff that begins with `first` and never exceeds `cap`.
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self {
            first: first.min(cap),
            cap,
            n_failures: 0,
        }
    }

    /// Counts a failure and says how long to pause.
    pub(crate) fn failed(&mut self) -> Duration {
        let full = self.ceiling();
        self.n_failures = self.n_failures.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins again.
    pub(crate) fn reset(&mut self) {
        self.n_failures = 0;
    }

    fn ceiling(&self) -> Duration {
        // 2^20 of the shortest pause in use is beyond every cap.
        let factor = 1_u32 << self.n_failures.min(20);
        self.first.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pause_is_never_above_the_cap_and_never_below_half_of_what_is_due(
            first_ms in 1_u64..10_000, cap_ms in 1_u64..100_000, n in 0_u32..100
        ) {
            let cap = Duration::from_millis(cap_ms);
            let mut backoff = Backoff::new(Duration::from_millis(first_ms), cap);
            for _ in 0..n {
                let due = backoff.ceiling();
                let pause = backoff.failed();
                prop_assert!(pause <= cap && pause >= due / 2);
            }
            prop_assert_eq!(backoff.n_failures, n);
        }
    }
}
