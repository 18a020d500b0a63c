//! The time for which a lease certainly holds, on this process's own clock.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A lease in hand; clones share its end. It is over when its deadline has passed, whether anybody
/// was awake to see that or not, and once over it stays so.
#[derive(Clone, Debug)]
pub struct Tenure {
    number: u64,
    deadline: Arc<Mutex<Instant>>,
    lost: CancellationToken,
}

impl Tenure {
    pub(super) fn new(number: u64, deadline: Instant) -> Self {
        Self {
            number,
            deadline: Arc::new(Mutex::new(deadline)),
            lost: CancellationToken::new(),
        }
    }

    /// The lease's number: it grows from holder to holder.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Until when it holds, if it is not renewed or lost before.
    pub fn deadline(&self) -> Instant {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn extend(&self, deadline: Instant) {
        if self.is_over() {
            return;
        }
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    pub(super) fn end(&self) {
        self.lost.cancel();
    }

    /// Whether it holds no more. The clock itself is asked, because after a freeze no timer has
    /// run yet.
    pub fn is_over(&self) -> bool {
        if !self.lost.is_cancelled() && Instant::now() >= self.deadline() {
            self.lost.cancel();
        }
        self.lost.is_cancelled()
    }

    /// Waits for its end. Each poll asks the clock: whatever stands after it in a biased `select!` is
    /// not polled any more once the lease is over.
    pub async fn over(&self) {
        let mut lost = pin!(self.lost.cancelled());
        let mut sleep = pin!(tokio::time::sleep_until(self.deadline()));
        poll_fn(|cx| {
            loop {
                if self.is_over() || lost.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                let deadline = self.deadline();
                if sleep.deadline() != deadline {
                    sleep.as_mut().reset(deadline);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// Does `work` while the lease holds; drops it at its first poll after the end, without polling
    /// it again.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.over() => None,
            done = work => Some(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_its_deadline_however_often_that_was_moved_on() {
        let begun = Instant::now();
        let tenure = Tenure::new(1, begun + SECOND);
        let renewed = tenure.clone();
        let renew = async {
            tokio::time::sleep(SECOND / 2).await;
            renewed.extend(begun + 3 * SECOND);
        };
        tokio::join!(tenure.over(), renew);
        assert!((3 * SECOND..4 * SECOND).contains(&begun.elapsed()));
        tenure.extend(begun + 100 * SECOND);
        assert!(tenure.is_over(), "what is over is not revived");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_freeze_nothing_is_done_before_the_clock_was_asked() {
        let tenure = Tenure::new(1, Instant::now() + SECOND);
        let mut n_polls = 0;
        let work = poll_fn(|_| {
            n_polls += 1;
            Poll::<()>::Pending
        });
        {
            let mut work = pin!(tenure.during(work));
            assert!(futures::poll!(work.as_mut()).is_pending());
            // The clock goes on, and no timer runs: the task is polled for another reason first.
            tokio::time::advance(2 * SECOND).await;
            assert_eq!(futures::poll!(work.as_mut()), Poll::Ready(None));
        }
        assert_eq!(n_polls, 1);
    }

    #[tokio::test]
    async fn a_lease_that_was_lost_ends_at_once() {
        let tenure = Tenure::new(1, Instant::now() + Duration::from_hours(1));
        tenure.end();
        tenure.over().await;
        assert!(tenure.is_over());
    }
}
