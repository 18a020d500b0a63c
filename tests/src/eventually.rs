//! Waiting for a state. Level-triggered: it looks again and again, and misses no change that lasts.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longer than anything takes that is going to happen, a dead worker's `ack_wait` included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` finds it (`Ok`), for at most a minute. `Err` says what was seen instead.
///
/// # Panics
/// If it is not found in time; the message says what was seen last.
#[track_caller]
pub fn eventually<T, S: std::fmt::Display>(
    what: &str,
    look: impl AsyncFnMut() -> Result<T, S>,
) -> impl Future<Output = T> {
    eventually_within(PATIENCE, what, look)
}

/// As [`eventually`], with another limit.
///
/// # Panics
/// If it is not found in time; the message says what was seen last.
#[track_caller]
pub fn eventually_within<T, S: std::fmt::Display>(
    limit: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    let until = Instant::now() + limit;
    async move {
        loop {
            let seen = match look().await {
                Ok(found) => return found,
                Err(seen) => seen,
            };
            assert!(
                Instant::now() < until,
                "{at}: not in {limit:?}: {what}; last seen: {seen}"
            );
            sleep(PAUSE).await;
        }
    }
}

/// `Ok` once `n` has reached `wanted`, for counts in [`eventually`].
///
/// # Errors
/// What there is so far.
pub fn at_least(n: u64, wanted: u64) -> Result<u64, String> {
    if n >= wanted {
        Ok(n)
    } else {
        Err(format!("{n} of {wanted}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_looks_until_the_state_is_reached() {
        let mut n_looks = 0;
        let found = eventually("the third look", async || {
            n_looks += 1;
            at_least(n_looks, 3)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "two apples; last seen: 1 of 2")]
    async fn it_says_what_it_saw_last() {
        let limit = Duration::from_millis(30);
        eventually_within(limit, "two apples", async || at_least(1, 2)).await;
    }
}
