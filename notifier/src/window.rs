//! The credit budget `W` of a process: sends whose outcome is not yet durably recorded.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Credits and places in flight, shared by all tasks of a process.
#[derive(Clone, Debug)]
pub struct Window {
    credit: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    size: usize,
}

/// Leave to write one request. It gives back its place in flight when dropped; its credit stays
/// taken until [`Window::release`], because the outcome is not recorded before.
#[derive(Debug)]
pub struct Admission(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Window {
    /// A budget of `size` credits and `concurrency` requests at a time.
    pub fn new(size: usize, concurrency: usize) -> Self {
        Self {
            credit: Arc::new(Semaphore::new(size)),
            in_flight: Arc::new(Semaphore::new(concurrency)),
            size,
        }
    }

    /// Waits for a credit and a place in flight. Dropping the future takes neither.
    pub async fn admit(&self) -> Admission {
        let Ok(place) = self.in_flight.clone().acquire_owned().await else {
            return std::future::pending().await; // The semaphores are never closed.
        };
        match self.credit.acquire().await {
            Ok(credit) => credit.forget(),
            Err(_) => return std::future::pending().await,
        }
        Admission(place)
    }

    /// A credit and a place in flight, if there are both at once.
    pub fn try_admit(&self) -> Option<Admission> {
        let place = self.in_flight.clone().try_acquire_owned().ok()?;
        self.credit.try_acquire().ok()?.forget();
        Some(Admission(place))
    }

    /// Gives back `n` credits, once their outcomes are recorded or can no longer be.
    pub fn release(&self, n: usize) {
        self.credit.add_permits(n);
    }

    /// Whether no credit is left.
    pub fn is_exhausted(&self) -> bool {
        self.credit.available_permits() == 0
    }

    /// Credits that are taken.
    pub fn taken(&self) -> usize {
        self.size.saturating_sub(self.credit.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_credit_stays_taken_until_it_is_released_and_a_place_is_not() {
        let window = Window::new(2, 1);
        let first = window.admit().await;
        assert!(window.admit().now_or_never().is_none());
        drop(first);
        drop(window.admit().await);
        assert_eq!(window.taken(), 2);
        assert!(window.admit().now_or_never().is_none());
        window.release(1);
        assert!(window.admit().now_or_never().is_some());
    }
}
