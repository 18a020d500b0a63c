//! All devices together, as this process holds them in memory: what whole questions are asked of.
//!
//! Readiness does not depend on it: whoever registers a device needs none of it. What needs it answers
//! 503 until it is loaded, and tells where it is switched off.

use fanfare_nats::follow::{Followed, NotCurrent};
use fanfare_nats::index::Index;
use fanfare_nats::{Broker, DeviceId};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::call::{bounded, no_answer, unavailable};
use crate::problem::{Kind, Problem};

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
