//! The effects of a task's machine that take their time: each a future that ends in what the
//! machine is told.

use std::sync::Arc;

use fanfare_nats::dead::DeadLetter;
use fanfare_nats::event::Guarantee;
use fanfare_nats::receipts::{AppendError, ReceiptChain};
use fanfare_nats::{DeviceHash, Level, Receipt, Task, fail};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::clock;
use crate::loaded::Loaded;
use crate::machine::{Appended, Facts, Input, Unreadable};
use crate::planner;
use crate::shared::Shared;
use crate::task_places::Alone;
use crate::trouble::tell;

/// What an effect ended in.
pub(super) enum Told {
    /// The event was asked for.
    Event(Result<Option<Arc<Loaded>>, Unreadable>),
    /// The receipts were asked for.
    Receipts(Result<(Arc<ReceiptChain>, Option<Box<Receipt>>), Unreadable>),
    /// All places of the process were asked for.
    Alone(Option<Alone>),
    /// Anything else.
    Plain(Input),
}

type Effecting = BoxFuture<'static, Told>;

/// What the machine has to know of an event.
pub(super) fn facts(loaded: &Loaded) -> Facts {
    Facts {
        has_levels: matches!(loaded.event.level, Level::Step(_)),
        is_at_most_once: loaded.event.guarantee == Guarantee::AtMostOnce,
    }
}

pub(super) fn load(shared: Arc<Shared>, task: &Task) -> Effecting {
    let (seq, event) = (task.event_seq, task.event.clone());
    async move {
        let loaded = shared.events.get(seq).await.map_err(|error| {
            tell(&shared, "event cannot be read", &event, &error);
            Unreadable
        });
        // After a restore in another order than ours a sequence may be another event's.
        Told::Event(loaded.map(|it| it.filter(|it| it.event.id() == event)))
    }
    .boxed()
}

pub(super) fn read_receipts(shared: Arc<Shared>, task: Task) -> Effecting {
    async move {
        let read = shared.broker.receipts(&task).await.map_err(|error| {
            tell(&shared, "receipts cannot be read", &task.event, &error);
            Unreadable
        });
        Told::Receipts(read.map(|(chain, last)| (Arc::new(chain), last.map(Box::new))))
    }
    .boxed()
}

/// Waits until no other task runs here, unless somebody else does so already.
pub(super) fn run_alone(shared: Arc<Shared>) -> Effecting {
    async move { Told::Alone(shared.tasks.run_alone().await) }.boxed()
}

pub(super) fn look(shared: Arc<Shared>, loaded: Arc<Loaded>) -> Effecting {
    async move {
        let standing = planner::standing(&shared, &loaded.event).await;
        Told::Plain(Input::Looked(standing))
    }
    .boxed()
}

pub(super) fn append(
    shared: Arc<Shared>,
    chain: Arc<ReceiptChain>,
    after: u64,
    receipt: Box<Receipt>,
) -> Effecting {
    async move {
        let appended = match chain.append_after(after, &receipt).await {
            Ok(seq) => {
                shared.metrics.receipts.inc();
                Appended::Stored(seq)
            }
            Err(AppendError::Fenced) => {
                tracing::debug!("fenced: another worker has the task");
                Appended::Fenced
            }
            Err(error @ (AppendError::Unknown | AppendError::Refused(_))) => {
                let what = "receipt not stored: task given up here";
                tell(&shared, what, &receipt.claim.nonce, &error);
                Appended::Unknown
            }
        };
        Told::Plain(Input::Appended(appended))
    }
    .boxed()
}

pub(super) fn await_index(shared: Arc<Shared>, revision: u64) -> Effecting {
    async move {
        shared.follower.ready_for(revision).await;
        Told::Plain(Input::IndexReady)
    }
    .boxed()
}

pub(super) fn bury(
    shared: Arc<Shared>,
    task: &Task,
    trace: Option<&str>,
    claims: u32,
    low: Option<DeviceHash>,
) -> Effecting {
    let letter = DeadLetter::poisoned(task, claims, low, clock::now());
    let letter = letter.by(shared.broker.node(), trace);
    tracing::error!(
        event.id = %task.event,
        lane = %task.lane,
        claims,
        "task makes no progress, kept as dead letter"
    );
    async move {
        let is_stored = shared.broker.bury(&letter).await.is_ok();
        if is_stored {
            fail::point("dead.stored");
            shared.metrics.dead_letters.inc();
        }
        Told::Plain(Input::Buried(is_stored))
    }
    .boxed()
}

pub(super) fn wake_up(shared: Arc<Shared>, task: Task, pass: u32, due: Timestamp) -> Effecting {
    async move {
        let stored = shared.broker.wake_up(&task, pass, due, clock::now()).await;
        if let Err(error) = &stored {
            tell(&shared, "wake-up not stored", &task.event, error);
        }
        fail::point("task.wakeup-stored");
        Told::Plain(Input::WokenUp(stored.is_ok()))
    }
    .boxed()
}
