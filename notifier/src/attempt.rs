//! One device's turn: the request, and what its outcome asks for before the device is marked.

use std::error::Error;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::dead::{DeadLetter, DeadReason};
use fanfare_nats::event::Guarantee;
use fanfare_nats::receipt::Mark;
use fanfare_nats::{DeviceHash, DeviceId, Task};
use jiff::Timestamp;
use rand::Rng;
use tokio::time::Instant;

use crate::clock;
use crate::hygiene::{Registration, Removal, may_remove};
use crate::loaded::Loaded;
use crate::notification::Target;
use crate::outcome::{Backoff, Next, Outcome, Reason};
use crate::provider::Prepared;
use crate::shared::{LaneOfProcess, Shared};
use crate::window::Admission;

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The device is through.
    Marked(Mark, Option<Reason>),
    /// Again in a later pass.
    Later(Duration, Reason),
    /// The app or a connection failed; the device had no turn.
    Failed(Option<Duration>, Reason),
    /// The provider refuses us; the device had no turn.
    Credentials(Reason),
}

/// A turn that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Whose turn.
    pub(crate) device: DeviceHash,
    /// Attempts before this one.
    pub(crate) attempts: u32,
    /// What it came to.
    pub(crate) turn: Turn,
    /// When the answer was read.
    pub(crate) at: Timestamp,
}

/// What all turns of a task have in common.
pub(crate) struct Turns {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<LaneOfProcess>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) task: Task,
    /// How long the broker waits for a sign before it gives the task to another.
    pub(crate) ack_wait: Duration,
    /// When the last look at the item's levels was begun.
    pub(crate) looked_at: Instant,
}

/// One device in the hands of a worker.
pub(crate) struct Delivery {
    pub(crate) turns: Arc<Turns>,
    pub(crate) hash: DeviceHash,
    pub(crate) attempts: u32,
    pub(crate) target: fanfare_nats::index::Target,
}

impl Delivery {
    /// Makes the attempt and does what must be done before the device is marked: a dead letter is
    /// stored, a dead token removed.
    ///
    /// Dropping this future leaves the outcome unknown, so its credit stays taken.
    pub(crate) async fn attempt(self, form: Arc<Prepared>, admission: Admission) -> Ended {
        let now = clock::now();
        let to = Target {
            device: &self.target.id,
            token: &self.target.token,
        };
        let outcome = self.turns.lane.app.app.attempt(&to, &form, now).await;
        drop(admission);
        let at = clock::now();
        {
            let mut brake = self
                .turns
                .lane
                .app
                .brake
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            brake.record_attempts(1, at);
        }
        let left =
            Duration::try_from(self.turns.task.expires_at.duration_since(at)).unwrap_or_default();
        let backoff = match &outcome {
            Outcome::Unavailable { .. } => {
                Backoff::DEVICE.delay(self.attempts, rand::rng().random())
            }
            Outcome::Accepted { .. }
            | Outcome::Unregistered { .. }
            | Outcome::Refused { .. }
            | Outcome::Credentials { .. } => Duration::ZERO,
        };
        let turn = match outcome.next(backoff, left) {
            Next::Done => Turn::Marked(Mark::Accepted, None),
            Next::RetireToken { since, reason } => {
                Box::pin(self.retire(since, now)).await; // Rare, and large.
                Turn::Marked(Mark::Unregistered, Some(reason))
            }
            Next::DeadLetter { reason } => Box::pin(self.bury(reason, at)).await,
            Next::OpenBreaker { reason } => Turn::Credentials(reason),
            Next::RetryAfter(wait) => Turn::Later(wait, "unavailable".into()),
            Next::Expire => Turn::Marked(Mark::Expired, Some("retry would come too late".into())),
            Next::HandBack {
                reason,
                maybe_delivered: true,
                ..
            } if self.turns.loaded.event.guarantee == Guarantee::AtMostOnce => {
                Turn::Marked(Mark::Unclear, Some(reason))
            }
            Next::HandBack {
                reason,
                retry_after,
                ..
            } => Turn::Failed(retry_after, reason),
        };
        Ended {
            device: self.hash,
            attempts: self.attempts,
            turn,
            at,
        }
    }

    /// Stores the dead letter of a refused push.
    pub(crate) async fn refuse(self, reason: Reason, admission: Admission) -> Ended {
        drop(admission);
        let at = clock::now();
        let turn = self.bury(reason, at).await;
        Ended {
            device: self.hash,
            attempts: self.attempts,
            turn,
            at,
        }
    }

    async fn bury(&self, reason: Reason, at: Timestamp) -> Turn {
        let letter = DeadLetter {
            reason: DeadReason::Refused,
            event: self.turns.task.event.to_string(),
            event_seq: self.turns.task.event_seq,
            app: self.turns.task.lane.app.to_string(),
            device: self.hash.to_string(),
            attempts: self.attempts + 1,
            error: reason.to_string(),
            at,
            payload: None,
        };
        match self.turns.shared.broker.bury(&letter).await {
            Ok(()) => {
                self.turns.shared.metrics.dead_letters.inc();
                Turn::Marked(Mark::Refused, Some(reason))
            }
            Err(_) => Turn::Failed(None, "dead letter not stored".into()),
        }
    }

    /// Removes a token that the provider knows no more: guarded by the revision that was read, and
    /// by the brake. It may get lost; providers repeat themselves.
    async fn retire(&self, since: Option<Timestamp>, sent_at: Timestamp) {
        let brake = {
            let mut brake = self
                .turns
                .lane
                .app
                .brake
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            brake.record_unregistered(self.hash.0, clock::now());
            brake.verdict(clock::now())
        };
        let Ok(id) = DeviceId::parse(&self.target.id) else {
            return;
        };
        let stored = match self.turns.shared.broker.device(&id).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(device.id = %id, error = &error as &dyn Error, "token not removed");
                return;
            }
        };
        let registration = Registration {
            registered_at: stored.device.registered_at,
            read_revision: self.target.revision,
            current_revision: stored.revision,
        };
        match may_remove(since, sent_at, registration, brake) {
            Removal::Remove => {}
            Removal::Held => {
                tracing::warn!(
                    app = %self.turns.task.lane.app,
                    "too many tokens come back as unknown: none is removed; compare app, environment and bundle"
                );
                return;
            }
            Removal::RegisteredSince | Removal::Changed => return,
        }
        match self
            .turns
            .shared
            .broker
            .delete_device(&id, Expect::Revision(stored.revision))
            .await
        {
            Ok(_) => {
                self.turns.shared.metrics.retired.inc();
                tracing::debug!(device.id = %id, "token removed: the provider knows it no more");
            }
            Err(error) => {
                tracing::debug!(device.id = %id, error = &error as &dyn Error, "token not removed");
            }
        }
    }
}
