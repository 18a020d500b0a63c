//! How many tasks a process works on at once, and whose.
//!
//! Each app has places of its own, so that none waits for the tasks of another whose provider is
//! slow, and each lane always has one of them, so that an alert never waits for the end of a bulk
//! task. Places cost little, and credits bound what a crash repeats.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_nats::Urgency;
use tokio::sync::Notify;

use crate::share::Seat;

/// The places for tasks of a process; clones share them.
#[derive(Clone, Debug)]
pub struct TaskPlaces(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lanes {
    urgent: usize,
    bulk: usize,
    /// Urgent tasks in hand that have no place yet.
    waiting: usize,
}

impl Lanes {
    fn of(&mut self, urgency: Urgency) -> &mut usize {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Bulk => &mut self.bulk,
        }
    }
}

/// Pure.
#[derive(Clone, Debug)]
struct Table {
    /// Places of one app.
    size: usize,
    apps: Vec<Lanes>,
    n_taken: usize,
    /// Somebody runs alone, or waits until the others have ended.
    is_alone: bool,
}

impl Table {
    fn new(size: usize, n_apps: usize) -> Self {
        Self {
            size,
            apps: vec![Lanes::default(); n_apps.max(1)],
            n_taken: 0,
            is_alone: false,
        }
    }

    fn has_room(&self, seat: Seat) -> bool {
        let Some(lanes) = self.apps.get(seat.app) else {
            return false;
        };
        let (own, is_first_to_serve) = match seat.urgency {
            Urgency::Urgent => (lanes.urgent, true),
            Urgency::Bulk => (lanes.bulk, lanes.waiting == 0),
        };
        let is_one_left = lanes.urgent + lanes.bulk < self.size;
        !self.is_alone && (own == 0 || is_one_left && is_first_to_serve)
    }

    fn take(&mut self, seat: Seat) {
        if let Some(lanes) = self.apps.get_mut(seat.app) {
            *lanes.of(seat.urgency) += 1;
            self.n_taken += 1;
        }
    }

    fn give_back(&mut self, seat: Seat) {
        if let Some(lanes) = self.apps.get_mut(seat.app) {
            *lanes.of(seat.urgency) -= 1;
            self.n_taken -= 1;
        }
    }

    fn wait(&mut self, seat: Seat, change: impl Fn(usize) -> usize) {
        if seat.urgency == Urgency::Urgent
            && let Some(lanes) = self.apps.get_mut(seat.app)
        {
            lanes.waiting = change(lanes.waiting);
        }
    }
}

/// A place for one task, given back when dropped.
#[derive(Debug)]
pub struct TaskPlace {
    places: TaskPlaces,
    seat: Seat,
}

/// All other places: nothing else is begun until this is dropped.
#[derive(Debug)]
pub struct Alone(TaskPlaces);

impl TaskPlaces {
    /// `size` places for each of so many apps.
    pub fn new(size: usize, n_apps: usize) -> Self {
        Self(Arc::new(Inner {
            table: Mutex::new(Table::new(size, n_apps)),
            changed: Notify::new(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. Dropping the future takes none.
    pub async fn take(&self, seat: Seat) -> TaskPlace {
        self.table().wait(seat, |n| n + 1);
        let _waits = Waits(self, seat);
        self.until(|table| {
            let has_room = table.has_room(seat);
            if has_room {
                table.take(seat);
            }
            has_room
        })
        .await;
        TaskPlace {
            places: self.clone(),
            seat,
        }
    }

    /// Waits until no other task runs, and keeps others from beginning; `None` if somebody else
    /// does so already: two would wait for each other. To be called by who has a place.
    pub async fn run_alone(&self) -> Option<Alone> {
        {
            let mut table = self.table();
            if table.is_alone {
                return None;
            }
            table.is_alone = true;
        }
        let alone = Alone(self.clone());
        self.until(|table| table.n_taken <= 1).await;
        Some(alone)
    }

    async fn until(&self, mut is_so: impl FnMut(&mut Table) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(&mut self.table()) {
                return;
            }
            changed.await;
        }
    }
}

struct Waits<'a>(&'a TaskPlaces, Seat);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.table().wait(self.1, |n| n.saturating_sub(1));
        self.0.0.changed.notify_waiters(); // A bulk task may have waited for this one.
    }
}

impl Drop for TaskPlace {
    fn drop(&mut self) {
        let seat = self.seat;
        self.places.table().give_back(seat);
        self.places.0.changed.notify_waiters();
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.table().is_alone = false;
        self.0.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn seat(app: usize, urgency: Urgency) -> Seat {
        Seat { app, urgency }
    }

    fn fill(places: &TaskPlaces, seat: Seat) -> Vec<TaskPlace> {
        std::iter::from_fn(|| places.take(seat).now_or_never()).collect()
    }

    #[test]
    fn no_app_takes_a_place_of_another_and_no_bulk_lane_that_of_an_urgent_one() {
        let places = TaskPlaces::new(4, 2);
        let held = fill(&places, seat(0, Urgency::Bulk));
        assert_eq!(held.len(), 4);
        assert_eq!(fill(&places, seat(0, Urgency::Urgent)).len(), 1);
        assert_eq!(fill(&places, seat(1, Urgency::Urgent)).len(), 4);
    }

    #[test]
    fn an_urgent_task_that_waits_goes_before_a_bulk_task() {
        let places = TaskPlaces::new(2, 1);
        let (urgent, bulk) = (seat(0, Urgency::Urgent), seat(0, Urgency::Bulk));
        let mut held = fill(&places, bulk);
        let _first = fill(&places, urgent);
        let mut second = Box::pin(places.take(urgent));
        let mut more_bulk = Box::pin(places.take(bulk));
        assert!((&mut more_bulk).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        held.truncate(0);
        // Bulk has its own place; one more would be the urgent task's.
        let third = (&mut more_bulk).now_or_never();
        assert!(third.is_some() && places.take(bulk).now_or_never().is_none());
        drop(third);
        assert!((&mut second).now_or_never().is_some());
    }

    #[test]
    fn who_runs_alone_waits_for_the_others_and_keeps_them_away() {
        let places = TaskPlaces::new(4, 2);
        let (mine, other) = (seat(0, Urgency::Urgent), seat(1, Urgency::Bulk));
        let _place = places.take(mine).now_or_never().unwrap();
        let theirs = places.take(other).now_or_never().unwrap();
        let mut waiting = Box::pin(places.run_alone());
        assert!((&mut waiting).now_or_never().is_none());
        assert!(places.run_alone().now_or_never().unwrap().is_none());
        assert!(places.take(other).now_or_never().is_none());
        drop(theirs);
        let alone = (&mut waiting).now_or_never().unwrap();
        assert!(alone.is_some() && places.take(other).now_or_never().is_none());
        drop(alone);
        assert!(places.take(other).now_or_never().is_some());
    }

    #[test]
    fn whoever_gives_up_waiting_stands_in_nobodys_way() {
        let places = TaskPlaces::new(1, 1);
        let (urgent, bulk) = (seat(0, Urgency::Urgent), seat(0, Urgency::Bulk));
        let first = places.take(urgent).now_or_never().unwrap();
        let mut second = Box::pin(places.take(urgent));
        assert!((&mut second).now_or_never().is_none());
        drop(second);
        drop(first);
        assert_eq!(places.table().apps[0].waiting, 0);
        assert!(!fill(&places, bulk).is_empty());
    }
}
