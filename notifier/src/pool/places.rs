//! The places of a pool: how many streams each connection may carry now, and who has one.
//!
//! A place is a stream below the peer's current limit. A fair semaphore over all connections makes
//! waiting orderly; the table under the lock says which connection has room. The sum of both agrees
//! except for a moment after a limit fell: a permit that finds no room is used up to pay for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::sync::{Notify, Semaphore};

use super::ConnectionId;

/// No connection carries more, whatever the peer allows (APNs announces 1000).
const MAX_STREAMS: usize = 1000;

pub(super) struct Places {
    table: Mutex<Table>,
    free: Semaphore,
}

#[derive(Default)]
struct Table {
    open: Vec<Open>,
    last_id: u64,
    n_connecting: usize,
}

struct Open {
    id: ConnectionId,
    send: SendRequest<Bytes>,
    limit: usize,
    n_in_flight: usize,
    signs: Arc<Signs>,
}

/// What a connection's driver and keeper hear of it.
#[derive(Default)]
pub(super) struct Signs {
    /// A request had no answer, or the connection was taken out of use.
    pub(super) suspicion: Notify,
    /// It carried a push that was accepted.
    pub(super) was_useful: AtomicBool,
}

impl Open {
    fn n_free(&self) -> usize {
        self.limit.saturating_sub(self.n_in_flight)
    }
}

/// A stream that may be opened; given back when dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    id: ConnectionId,
    pub(super) send: SendRequest<Bytes>,
    was_useful: bool,
}

impl Place<'_> {
    /// Notes that a push was accepted on this connection.
    pub(super) fn was_useful(&mut self) {
        self.was_useful = true;
    }

    pub(super) fn connection(&self) -> ConnectionId {
        self.id
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.release(self.id, self.was_useful);
    }
}

impl Places {
    /// A table without connections, and so without places.
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
            free: Semaphore::new(0),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a place if one is free; [`Self::pick`] must follow.
    pub(super) fn try_reserve(&self) -> bool {
        self.free
            .try_acquire()
            .map(tokio::sync::SemaphorePermit::forget)
            .is_ok()
    }

    /// Waits in order of arrival for a free place; [`Self::pick`] must follow.
    ///
    /// Dropping this future gives up the turn and nothing else.
    pub(super) async fn reserve(&self) {
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
    }

    /// Turns a reservation into a place on the connection with most room, if possible not on
    /// `avoid`; `None` if the room went away in between.
    pub(super) fn pick(&self, avoid: Option<ConnectionId>) -> Option<Place<'_>> {
        let mut table = self.table();
        let open = table
            .open
            .iter_mut()
            .filter(|it| it.n_free() > 0)
            .max_by_key(|it| (Some(it.id) != avoid, it.n_free()))?;
        open.n_in_flight += 1;
        Some(Place {
            places: self,
            id: open.id,
            send: open.send.clone(),
            was_useful: false,
        })
    }

    fn release(&self, id: ConnectionId, was_useful: bool) {
        let mut table = self.table();
        if let Some(open) = table.open.iter_mut().find(|it| it.id == id) {
            open.n_in_flight = open.n_in_flight.saturating_sub(1);
            if was_useful {
                open.signs.was_useful.store(true, Ordering::Relaxed);
            }
            if open.n_in_flight < open.limit {
                self.free.add_permits(1);
            }
        }
    }

    /// Adds a connection that may carry `limit` streams.
    pub(super) fn add(
        &self,
        send: SendRequest<Bytes>,
        limit: usize,
        signs: Arc<Signs>,
    ) -> ConnectionId {
        let mut table = self.table();
        table.last_id += 1;
        let id = ConnectionId(table.last_id);
        let limit = limit.min(MAX_STREAMS);
        table.open.push(Open {
            id,
            send,
            limit,
            n_in_flight: 0,
            signs,
        });
        self.free.add_permits(limit);
        id
    }

    /// Follows the peer's current limit.
    pub(super) fn set_limit(&self, id: ConnectionId, limit: usize) {
        let mut table = self.table();
        if let Some(open) = table.open.iter_mut().find(|it| it.id == id) {
            let before = open.n_free();
            open.limit = limit.min(MAX_STREAMS);
            let after = open.n_free();
            if after > before {
                self.free.add_permits(after - before);
            } else {
                self.free.forget_permits(before - after);
            }
        }
    }

    /// Takes a connection out of use; what is in flight on it goes on. Idempotent.
    pub(super) fn close(&self, id: ConnectionId) {
        let mut table = self.table();
        if let Some(at) = table.open.iter().position(|it| it.id == id) {
            let open = table.open.swap_remove(at);
            self.free.forget_permits(open.n_free());
            // Wakes the driver, which finds the connection closed.
            open.signs.suspicion.notify_one();
        }
    }

    /// Streams in flight on a connection; `None` once it is out of use.
    pub(super) fn n_in_flight(&self, id: ConnectionId) -> Option<usize> {
        let table = self.table();
        table
            .open
            .iter()
            .find(|it| it.id == id)
            .map(|it| it.n_in_flight)
    }

    /// Asks the driver of a connection for a PING now: a request on it had no answer in time.
    pub(super) fn suspect(&self, id: ConnectionId) {
        if let Some(open) = self.table().open.iter().find(|it| it.id == id) {
            open.signs.suspicion.notify_one();
        }
    }

    /// A connection is on its way.
    pub(super) fn connecting(&self) {
        self.table().n_connecting += 1;
    }

    /// A connection arrived or failed; true when there is none open and none on its way.
    pub(super) fn connected(&self) -> bool {
        let mut table = self.table();
        table.n_connecting = table.n_connecting.saturating_sub(1);
        table.open.is_empty() && table.n_connecting == 0
    }
}
