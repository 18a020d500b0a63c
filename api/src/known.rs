//! All devices together, as this process holds them in memory: what whole questions are asked of.
//!
//! Readiness does not depend on it: whoever registers a device needs none of it. What needs it answers
//! 503 until it is loaded, and tells where it is switched off.

use std::sync::TryLockError;
use std::time::Duration;

use fanfare_nats::follow::{Followed, NotCurrent};
use fanfare_nats::index::Index;
use fanfare_nats::{Broker, Device, DeviceHash, DeviceId};
use tokio::sync::{Semaphore, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use crate::call::{bounded, no_answer, unavailable};
use crate::problem::{Kind, Problem};

/// So often a registration looks again, while others use the index.
const LOOKS: u32 = 10;
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// How long a registration waits for the index before it is challenged.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The index, if there is one.
#[derive(Clone, Debug)]
pub(crate) struct Known(Option<Followed>);

impl Known {
    /// What is followed, or nothing where it is switched off.
    pub(crate) fn new(followed: Option<Followed>) -> Self {
        Self(followed)
    }

    /// The devices, with everything that was acknowledged before this call, by whichever API.
    ///
    /// # Errors
    /// A problem if there is no index, or none yet.
    pub(crate) async fn current(&self, broker: &Broker) -> Result<&Followed, Problem> {
        let followed = self.0.as_ref().ok_or_else(switched_off)?;
        match followed.current(broker).await {
            Ok(()) => Ok(followed),
            Err(NotCurrent::Loading) => Err(Problem::new(
                Kind::IndexLoading,
                "this server reads the devices since it was started: come again in a moment",
            )),
            Err(error @ NotCurrent::Outdated) => Err(Problem::new(
                Kind::IndexLoading,
                format!("{error}: update this server"),
            )),
            Err(error @ NotCurrent::Feed(_)) => Err(unavailable(&error)),
        }
    }

    /// Whether there seems to be such a device; a hint that costs nothing.
    pub(crate) fn seems_to_have(&self, id: &DeviceId) -> bool {
        self.0.as_ref().is_some_and(|it| it.seems_to_have(id))
    }

    /// Whether a document's token is somebody else's, as far as this process knows: some milliseconds
    /// behind the bucket, and not at all without an index. Nothing depends on it but what is answered:
    /// whose a token is, the documents say.
    pub(crate) async fn must_be_confirmed(&self, id: &DeviceId, device: &Device) -> bool {
        let must = self.look(|index| index.must_be_confirmed(id, device));
        must.await.unwrap_or(false)
    }

    /// Devices of a user, at most `limit`, as far as this process knows: some milliseconds behind the
    /// bucket; `None` while others use the index.
    pub(crate) async fn devices_of(&self, user: &str, limit: usize) -> Option<Vec<DeviceHash>> {
        self.look(|index| index.hashes_of(user, limit)).await
    }

    /// The revision up to which the devices are known, if there are any in memory.
    pub(crate) fn reached(&self) -> Option<u64> {
        *self.0.as_ref()?.seen().borrow()
    }

    /// A short look that nobody waits for: `None` without an index, and while others use it for longer.
    async fn look<T>(&self, look: impl Fn(&Index) -> T) -> Option<T> {
        let index = self.0.as_ref()?.shared();
        let try_look = || match index.try_read() {
            Ok(index) => Some(look(&index)),
            Err(TryLockError::Poisoned(index)) => Some(look(&index.into_inner())),
            Err(TryLockError::WouldBlock) => None,
        };
        for n in 0..LOOKS {
            if let Some(seen) = try_look() {
                return Some(seen);
            }
            if n < LOOKS / 2 {
                yield_now().await;
            } else {
                sleep(LOOK_AGAIN).await;
            }
        }
        None
    }

    /// Waits, but not long, until what was acknowledged before this call is known here.
    pub(crate) async fn catch_up(&self, broker: &Broker) {
        if let Some(followed) = &self.0
            && !matches!(
                timeout(CATCH_UP, followed.current(broker)).await,
                Ok(Ok(()))
            )
        {
            tracing::debug!("the devices in memory are behind the bucket");
        }
    }

    /// Devices whose token is somebody else's and that were not challenged, at most `limit`; `None` while
    /// others use the index.
    pub(crate) fn contested(&self, limit: usize) -> Option<Vec<DeviceId>> {
        let index = self.0.as_ref()?.shared();
        index.try_read().ok().map(|it| it.contested(limit))
    }

    /// Tells of each time that the devices in memory have changed, if there are any.
    pub(crate) fn changes(&self) -> Option<watch::Receiver<Option<u64>>> {
        self.0.as_ref().map(Followed::seen)
    }

    /// Asks the devices something that may take long, on a thread for that.
    ///
    /// # Errors
    /// As for [`Self::current`], or `overloaded` where others ask already.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        broker: &Broker,
        places: &Semaphore,
        question: impl FnOnce(&Index) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let current = bounded(broker, self.current(broker), no_answer).await?;
        let Ok(_place) = places.try_acquire() else {
            return Err(Problem::new(
                Kind::Overloaded,
                "others ask about all devices: come again in a moment",
            ));
        };
        let followed = current.clone();
        let asked = spawn_blocking(move || question(&followed.index())).await;
        asked.map_err(|_| Problem::new(Kind::Internal, "the request failed; it may be sent again"))
    }
}

fn switched_off() -> Problem {
    Problem::new(
        Kind::IndexOff,
        "`[api] index = false`: ask another server, or have it switched on",
    )
}
