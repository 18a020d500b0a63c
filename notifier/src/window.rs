//! What a process may have under way: `W` credits (sends whose outcome is not yet durably recorded)
//! and places in flight, divided among its lanes by [`crate::share`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::share::{Budget, Seat};

/// The credits and places of a process; clones share them.
#[derive(Clone, Debug)]
pub struct Window(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    taken: Mutex<Taken>,
    freed: Notify,
    /// Who waits for `freed`; nobody, most of the time, and then nothing is to be done.
    n_waiting: AtomicUsize,
}

#[derive(Debug)]
struct Taken {
    credit: Budget,
    in_flight: Budget,
}

/// A place in flight. It is given back when this is dropped; the credit that was taken with it
/// stays taken until [`Window::release`], because the outcome is not recorded before.
#[derive(Debug)]
pub struct Place {
    window: Window,
    seat: Seat,
}

impl Window {
    /// A budget of `size` credits and `concurrency` requests at a time for so many apps.
    pub fn new(size: usize, concurrency: usize, urgent_percent: u8, n_apps: usize) -> Self {
        Self(Arc::new(Inner {
            taken: Mutex::new(Taken {
                credit: Budget::new(size, urgent_percent, n_apps),
                in_flight: Budget::new(concurrency, urgent_percent, n_apps),
            }),
            freed: Notify::new(),
            n_waiting: AtomicUsize::new(0),
        }))
    }

    fn taken_now(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A credit and a place in flight, if the lane may have both at once. Its app may have `reach`
    /// requests in flight beyond its own part.
    pub fn try_take(&self, seat: Seat, reach: usize) -> Option<Place> {
        let mut taken = self.taken_now();
        let has_credit = taken.credit.has_room(seat, usize::MAX);
        if !has_credit || !taken.in_flight.has_room(seat, reach) {
            return None;
        }
        taken.in_flight.take(seat);
        taken.credit.take(seat);
        Some(Place {
            window: self.clone(),
            seat,
        })
    }

    /// Gives back `n` credits of a lane, once their outcomes are recorded or can no longer be.
    pub fn release(&self, seat: Seat, n: usize) {
        if n > 0 {
            self.taken_now().credit.give_back(seat, n);
            self.wake();
        }
    }

    /// Whether there is no credit for a lane.
    pub fn is_exhausted(&self, seat: Seat) -> bool {
        !self.taken_now().credit.has_room(seat, usize::MAX)
    }

    /// Credits that are taken.
    pub fn taken(&self) -> usize {
        self.taken_now().credit.taken()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.taken_now().in_flight.taken()
    }

    /// Waits until `ready` gives something; it is asked at once, and again whenever something was
    /// given back or [`Self::wake`] was called, and at the moment it names. Dropping the future
    /// takes nothing.
    pub(crate) async fn wait_for<T>(
        &self,
        mut ready: impl FnMut() -> Result<T, Option<tokio::time::Instant>>,
    ) -> T {
        let _waiting = Waiting::new(&self.0.n_waiting);
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // What is freed from here on is not missed.
            match ready() {
                Ok(it) => return it,
                Err(None) => freed.await,
                Err(Some(at)) => {
                    let _ = tokio::time::timeout_at(at, freed).await;
                }
            }
        }
    }

    /// Has everyone who waits ask again.
    pub(crate) fn wake(&self) {
        if self.0.n_waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.window.taken_now().in_flight.give_back(self.seat, 1);
        self.window.wake();
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(n: &'a AtomicUsize) -> Self {
        n.fetch_add(1, Ordering::AcqRel);
        Self(n)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use fanfare_nats::Urgency;
    use futures::FutureExt;

    use super::*;

    const SEAT: Seat = Seat {
        app: 0,
        urgency: Urgency::Urgent,
    };

    #[test]
    fn a_credit_stays_taken_until_it_is_released_and_a_place_is_not() {
        let window = Window::new(2, 1, 25, 1);
        let first = window.try_take(SEAT, 0);
        assert!(first.is_some() && window.try_take(SEAT, 0).is_none());
        drop(first);
        drop(window.try_take(SEAT, 0).unwrap());
        assert_eq!(window.taken(), 2);
        assert!(window.is_exhausted(SEAT) && window.try_take(SEAT, 0).is_none());
        window.release(SEAT, 1);
        assert!(window.try_take(SEAT, 0).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_what_is_given_back() {
        let window = Window::new(1, 1, 25, 1);
        let held = window.try_take(SEAT, 0);
        let mut waits = Box::pin(window.wait_for(|| window.try_take(SEAT, 0).ok_or(None)));
        assert!((&mut waits).now_or_never().is_none());
        drop(held);
        assert!((&mut waits).now_or_never().is_none(), "its credit is taken");
        window.release(SEAT, 1);
        let _place = waits.await;
    }
}
