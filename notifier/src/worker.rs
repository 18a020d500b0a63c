//! One task in the hands of one worker: claim, walk, send, record, settle.
//!
//! The order is the promise. A claim is appended before anything is sent. A credit is taken before a
//! request is written and given back when its outcome is recorded. The task is acknowledged when
//! everything is recorded and, if devices wait, the wake-up is stored. A refused append means that
//! somebody else owns the task: nothing more is sent, and the message gets no answer.

mod sending;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::Task;
use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use fanfare_nats::receipt::{Claim, Mark, Verdict};
use fanfare_nats::receipts::{AppendError, ReceiptChain};
use tokio::time::Instant;

use self::sending::{Sending, Sent};
use crate::attempt::Turns;
use crate::clock;
use crate::config::Sabotage;
use crate::metric::{EXPIRED, SUPERSEDED};
use crate::planner;
use crate::progress::Progress;
use crate::shared::{LaneOfProcess, Shared};

/// A task that cannot be begun at the moment is handed back for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// What a task's message gets.
pub(crate) enum Settle {
    /// All is recorded.
    Ack,
    /// We were not ready: somebody else, or later.
    Back(Option<Duration>),
    /// Somebody else owns it, or it is not known what we own.
    Forget,
}

/// Works on one message until it is settled.
pub(crate) async fn work(
    shared: Arc<Shared>,
    lane: Arc<LaneOfProcess>,
    claims: Arc<Claims>,
    message: Message,
) {
    let (task, pass) = match message.task(shared.broker.names()) {
        Ok(read) => read,
        Err(error) => return planner::bury(&shared, message, &error).await,
    };
    shared.metrics.tasks.inc();
    let claim = Claim {
        epoch: claims.epoch(),
        pass,
        delivered: message.delivered(),
        nonce: rand::random(),
    };
    if shared.config.sabotage == Some(Sabotage::AckEarly) {
        let _acknowledged = message.ack().await;
        let _unheard = attend(&shared, &lane, task, claim, claims.ack_wait()).await;
        return;
    }
    let working = attend(&shared, &lane, task, claim, claims.ack_wait());
    match message.extend_while(claims.ack_wait(), working).await {
        Settle::Ack => {
            if let Err(error) = message.ack().await {
                tracing::debug!(%error, "task comes again and finds itself done");
            }
        }
        Settle::Back(delay) => {
            shared.metrics.handed_back.inc();
            message.nak(delay).await;
        }
        Settle::Forget => message.forget(),
    }
}

async fn attend(
    shared: &Arc<Shared>,
    lane: &Arc<LaneOfProcess>,
    task: Task,
    claim: Claim,
    ack_wait: Duration,
) -> Settle {
    let _at_work = shared.follower.at_work();
    let loaded = match shared.events.get(task.event_seq).await {
        Ok(loaded) => loaded,
        Err(error) => {
            tracing::warn!(event.id = %task.event, error = &error as &dyn Error, "event cannot be read, trying again");
            return Settle::Back(Some(PAUSE));
        }
    };
    let (chain, mut progress) = match resume(shared, &task, claim).await {
        Ok(resumed) => resumed,
        Err(settle) => return settle,
    };
    // An event that aged out has expired long before.
    let Some(loaded) = loaded else {
        return close(shared, chain, progress, Mark::Expired).await;
    };
    if task.expires_at <= clock::now() {
        return close(shared, chain, progress, Mark::Expired).await;
    }
    let looked_at = Instant::now();
    let Some(standing) = planner::standing(shared, &loaded.event).await else {
        return Settle::Back(Some(PAUSE));
    };
    if standing.is_superseded {
        return close(shared, chain, progress, Mark::Superseded).await;
    }
    let chain = match append(shared, chain, &mut progress).await {
        Ok(chain) => chain,
        Err(settle) => return settle,
    };
    shared.follower.ready_for(task.revision).await;
    if standing.has_lower {
        // Whoever sends the lower level has looked before this one was stored, and sends for so
        // long at most without looking again: nobody gets the lower one after the higher one.
        tokio::time::sleep(sending::LEVELS_KNOWN).await;
    }
    let turns = Turns {
        shared: shared.clone(),
        lane: lane.clone(),
        loaded,
        task,
        ack_wait,
        looked_at,
    };
    Box::pin(send(turns, progress, chain)).await // Large, and once per task.
}

/// Reads how far a task is, and whether a claim on it counts.
async fn resume(
    shared: &Shared,
    task: &Task,
    claim: Claim,
) -> Result<(ReceiptChain, Progress), Settle> {
    let (chain, recorded) = match shared.broker.receipts(task).await {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(event.id = %task.event, error = &error as &dyn Error, "receipts cannot be read, trying again");
            return Err(Settle::Back(Some(PAUSE)));
        }
    };
    if recorded
        .as_ref()
        .is_some_and(fanfare_nats::Receipt::is_finished)
    {
        return Err(Settle::Ack);
    }
    match claim.against(recorded.as_ref().map(|it| &it.claim)) {
        Verdict::Take | Verdict::Own => Ok((chain, Progress::resume(recorded.as_ref(), claim))),
        Verdict::Obsolete => Err(Settle::Ack),
        Verdict::Refused => {
            shared.broker.metrics().fenced_claims.inc();
            Err(Settle::Forget)
        }
    }
}

/// Ends a task without sending: everyone left gets `mark`.
async fn close(shared: &Shared, chain: ReceiptChain, mut progress: Progress, mark: Mark) -> Settle {
    progress.end_with(mark, clock::now());
    let reason = if mark == Mark::Superseded {
        SUPERSEDED
    } else {
        EXPIRED
    };
    shared.metrics.skip(reason, 1);
    match append(shared, chain, &mut progress).await {
        Ok(_) => Settle::Ack,
        Err(settle) => settle,
    }
}

/// Appends a receipt with everything up to now.
async fn append(
    shared: &Shared,
    mut chain: ReceiptChain,
    progress: &mut Progress,
) -> Result<ReceiptChain, Settle> {
    let receipt = progress.receipt(shared.broker.node(), clock::now());
    match chain.append(&receipt).await {
        Ok(_) => {
            shared.metrics.receipts.inc();
            Ok(chain)
        }
        Err(error) => Err(lost(&error)),
    }
}

fn lost(error: &AppendError) -> Settle {
    match error {
        AppendError::Fenced => tracing::debug!("fenced: another worker has the task"),
        AppendError::Unknown | AppendError::Refused(_) => {
            tracing::warn!(
                error = error as &dyn Error,
                "receipt not stored, task given up here"
            );
        }
    }
    Settle::Forget
}

async fn send(turns: Turns, progress: Progress, chain: ReceiptChain) -> Settle {
    let (shared, task) = (turns.shared.clone(), turns.task.clone());
    let Sent {
        progress,
        chain,
        is_superseded,
    } = match Sending::new(turns, progress, chain).run().await {
        Ok(sent) => sent,
        Err(settle) => return settle,
    };
    if is_superseded {
        return close(&shared, chain, progress, Mark::Superseded).await;
    }
    let Some(due) = progress.earliest_due() else {
        return Settle::Ack;
    };
    let pass = progress.claim().pass + 1;
    match shared.broker.wake_up(&task, pass, due, clock::now()).await {
        Ok(()) => Settle::Ack,
        Err(error) => {
            tracing::warn!(event.id = %task.event, error = &error as &dyn Error, "wake-up not stored, trying again");
            Settle::Back(Some(PAUSE))
        }
    }
}
