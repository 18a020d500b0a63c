//! Hearing of events before their turn comes.
//!
//! Whether an event is urgent is not part of its identity, so no subject and no filter can tell; a
//! header does. A second durable hands out the headers of all events, each to one notifier, and
//! nothing of it is settled: what it has told of still has its turn.

use async_nats::HeaderMap;

use crate::connect::Broker;
use crate::consumer::{Claims, ConsumerError};
use crate::event::Urgency;
use crate::wire;

/// Headers of so many events come with one pull.
const BATCH: usize = 256;

/// What tells of events before their turn.
#[derive(Debug)]
pub struct Ahead {
    claims: Claims,
}

/// An event that has not had its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// Its stream sequence.
    pub seq: u64,
    /// How urgent its headers call it; `None` where they say nothing that can be read.
    pub urgency: Option<Urgency>,
}

impl Broker {
    /// Binds the durable that tells of events before their turn.
    ///
    /// # Errors
    /// [`ConsumerError::Bind`]: it is missing, or may not be asked for. Events have their turn without.
    pub async fn events_ahead(&self) -> Result<Ahead, ConsumerError> {
        let claims = self.ahead_claims(BATCH).await?;
        Ok(Ahead { claims })
    }
}

impl Ahead {
    /// The next event that this process is told of; `None` after about a second without one.
    ///
    /// Dropping the future loses nothing; what was told to a process that dies is told to nobody else.
    ///
    /// # Errors
    /// [`ConsumerError::Pull`]: pause, and ask again.
    pub async fn next(&self) -> Result<Option<Foreseen>, ConsumerError> {
        let told = self.claims.next_told().await?;
        let none = HeaderMap::new();
        Ok(told.and_then(|it| {
            let seq = it.info().ok()?.stream_sequence;
            let urgency = wire::urgency(it.headers.as_ref().unwrap_or(&none));
            Some(Foreseen { seq, urgency })
        }))
    }
}
