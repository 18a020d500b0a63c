//! How many devices one user may have.
//!
//! The devices in memory say how many he has, some milliseconds late. What this process stores for him
//! meanwhile is counted beside them, and who would take the last place looks once more when everything
//! is known. So one process keeps to the number; several go beyond it by what the others store in those
//! milliseconds. Where no devices are in memory nobody knows, and nobody is refused.

mod taken;

use std::sync::{Mutex, MutexGuard, PoisonError};

use fanfare_nats::{Broker, Device, DeviceHash, DeviceId};

use self::taken::Taken;
use crate::known::Known;
use crate::problem::{Kind, Problem};

/// Places for the devices of each user.
#[derive(Debug)]
pub(crate) struct Places {
    /// For each user; 0 is no limit.
    most: usize,
    taken: Mutex<Taken>,
}

/// One of them, until the devices in memory contain the one that takes it, or until it is given up.
///
/// Dropping it gives it up, unless the device was [`stored`](Self::stored).
#[derive(Debug)]
pub(super) struct Place<'a> {
    taken: &'a Mutex<Taken>,
    user: String,
    ticket: u64,
    revision: Option<u64>,
}

impl Places {
    /// So many for each user; 0 is no limit.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// A place for a document that is to be stored over another one; `None` if it needs none, because the
    /// device is nobody's, was this user's before, or nobody knows how many he has.
    ///
    /// Dropping the future takes no place.
    ///
    /// # Errors
    /// `too_many_devices`.
    pub(super) async fn take(
        &self,
        broker: &Broker,
        known: &Known,
        id: &DeviceId,
        device: &Device,
        before: Option<&Device>,
    ) -> Result<Option<Place<'_>>, Problem> {
        let user = device.asked_user().filter(|_| self.most > 0);
        let his = before.and_then(Device::asked_user);
        let Some(user) = user.filter(|it| his != Some(it)) else {
            return Ok(None);
        };
        if known.reached().is_none() {
            return Ok(None);
        }
        let place = Place {
            taken: &self.taken,
            user: user.to_owned(),
            ticket: lock(&self.taken).enter(user, id.hash()),
            revision: None,
        };
        if (self.others(known, id, &place).await).is_some_and(|it| it + 1 < self.most) {
            return Ok(Some(place));
        }
        // One of his may have been removed this moment, or another been stored by another process.
        known.catch_up(broker).await;
        if (self.others(known, id, &place).await).is_none_or(|it| it < self.most) {
            return Ok(Some(place));
        }
        Err(self.none_left())
    }

    /// Other devices of the user, with those that came before; `None` while others use the index.
    async fn others(&self, known: &Known, id: &DeviceId, place: &Place<'_>) -> Option<usize> {
        let (user, reached) = (&place.user, known.reached());
        // Before the look at the index: what is forgotten here is there.
        let mut devices: Vec<DeviceHash> = {
            let mut taken = lock(&self.taken);
            taken.forget(reached);
            taken.before(user, place.ticket).collect()
        };
        devices.extend(known.devices_of(user, self.most + 1).await?);
        devices.retain(|it| *it != id.hash());
        devices.sort_unstable();
        devices.dedup();
        Some(devices.len())
    }

    fn none_left(&self) -> Problem {
        let detail = "the user has as many devices as `[api] max_devices_per_user` says: remove one of \
                      them first";
        Problem::new(Kind::TooManyDevices, detail).with("limit", self.most)
    }
}

impl Place<'_> {
    /// Keeps it for a device that was stored at a revision.
    pub(super) fn stored(mut self, revision: u64) {
        self.revision = Some(revision);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.taken).leave(&self.user, self.ticket, self.revision);
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
