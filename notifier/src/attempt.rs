//! One device's turn: the request, and what its outcome asks for before the device is marked.

use std::error::Error;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::dead::DeadLetter;
use fanfare_nats::event::Guarantee;
use fanfare_nats::receipt::Mark;
use fanfare_nats::{DeviceHash, DeviceId, Task, fail};
use jiff::Timestamp;
use rand::Rng;
use tokio::time::Instant;

use crate::clock;
use crate::hygiene::{Brake, Registration, Removal, may_remove};
use crate::lane::Admission;
use crate::loaded::Loaded;
use crate::notification::Target;
use crate::outcome::{Backoff, Next, Outcome, Reason, Scope};
use crate::provider::Prepared;
use crate::shared::{LaneOfProcess, Shared};

/// What a turn came to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// The device is through.
    Marked(Mark, Option<Reason>),
    /// Again in a later pass.
    Later(Duration, Reason),
    /// The app or a connection failed, and may have said for how long; the device had no turn.
    Failed(Scope, Option<Duration>, Reason),
    /// The same, but the push may have been delivered, and its event is at most once.
    Unclear(Scope, Option<Duration>, Reason),
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
    /// When the attempt was begun.
    pub(crate) begun: Instant,
    /// When the answer was read.
    pub(crate) at: Timestamp,
}

/// What all turns of a task have in common.
pub(crate) struct Turns {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lane: Arc<LaneOfProcess>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) task: Task,
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
        let (now, begun) = (clock::now(), Instant::now());
        let to = Target {
            device: &self.target.id,
            token: &self.target.token,
        };
        let outcome = self.turns.lane.app.app.attempt(&to, &form, now).await;
        drop(admission);
        let at = clock::now();
        self.brake().record_attempts(1, at);
        let left =
            Duration::try_from(self.turns.task.expires_at.duration_since(at)).unwrap_or_default();
        let backoff = match &outcome {
            Outcome::Unavailable { .. } => {
                Backoff::of(&self.turns.loaded.event).after(self.attempts, rand::rng().random())
            }
            Outcome::Accepted { .. }
            | Outcome::Unregistered { .. }
            | Outcome::Refused { .. }
            | Outcome::Credentials { .. } => None,
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
                scope,
                retry_after,
                maybe_delivered: true,
            } if self.turns.loaded.event.guarantee == Guarantee::AtMostOnce => {
                Turn::Unclear(scope, retry_after, reason)
            }
            Next::HandBack {
                reason,
                scope,
                retry_after,
                ..
            } => Turn::Failed(scope, retry_after, reason),
        };
        Ended {
            device: self.hash,
            attempts: self.attempts,
            turn,
            begun,
            at,
        }
    }

    /// Stores the dead letter of a refused push.
    pub(crate) async fn refuse(self, reason: Reason, admission: Admission) -> Ended {
        drop(admission);
        let (at, begun) = (clock::now(), Instant::now());
        let turn = self.bury(reason, at).await;
        Ended {
            device: self.hash,
            attempts: self.attempts,
            turn,
            begun,
            at,
        }
    }

    async fn bury(&self, reason: Reason, at: Timestamp) -> Turn {
        let (task, shared) = (&self.turns.task, &self.turns.shared);
        let letter = DeadLetter::refused(task, self.hash, self.attempts + 1, &reason, at);
        let traceparent = self.turns.loaded.event.traceparent.as_deref();
        let letter = letter.by(shared.broker.node(), traceparent);
        match shared.broker.bury(&letter).await {
            Ok(()) => {
                fail::point("dead.stored");
                shared.metrics.dead_letters.inc();
                Turn::Marked(Mark::Refused, Some(reason))
            }
            Err(_) => Turn::Failed(Scope::Connection, None, "dead letter not stored".into()),
        }
    }

    fn brake(&self) -> MutexGuard<'_, Brake> {
        let brake = self.turns.lane.app.brake.lock();
        brake.unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a token that the provider knows no more: guarded by the revision that was read, and
    /// by the brake. It may get lost; providers repeat themselves.
    async fn retire(&self, since: Option<Timestamp>, sent_at: Timestamp) {
        let brake = {
            let mut brake = self.brake();
            brake.record_unregistered(self.hash.0, clock::now());
            brake.verdict(clock::now())
        };
        let Ok(id) = DeviceId::parse_stored(&self.target.id) else {
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
                fail::point("token.removed");
                self.turns.shared.metrics.retired.inc();
                tracing::debug!(device.id = %id, "token removed: the provider knows it no more");
            }
            Err(error) => {
                tracing::debug!(device.id = %id, error = &error as &dyn Error, "token not removed");
            }
        }
    }
}
