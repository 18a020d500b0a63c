//! Urgent events that would wait behind others are planned before their turn.
//!
//! Events have one durable, and its order: an alert would wait until all that was stored before it is
//! planned, a storm of bulk events or a few huge ones (14 and 45 s behind 20,000, measured). Which
//! event is urgent is read off the headers of all, and an urgent one that has to wait is planned at
//! once. Its turn still comes: plans are stored create-only, so that it finds what stands, and makes
//! good what a death left undone.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::ahead::{Ahead, Foreseen};
use fanfare_nats::{Urgency, fail};
use tokio::task::JoinSet;

use crate::machine::Settle;
use crate::planner;
use crate::shared::Shared;

/// Urgent events planned at once before their turn, beside those that have it.
const AT_ONCE: usize = 2;
/// If nothing waits, an event is told of and has its turn at the same moment; it is given so long.
const GRACE: Duration = Duration::from_millis(20);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(500);
/// The same, for a durable that is not there, or may not be asked for: a denied question shows as not
/// ready for a minute.
const BIND_AGAIN: Duration = Duration::from_mins(5);

/// Looks ahead until the process stops. What is not planned then has its turn.
pub(crate) async fn run(shared: Arc<Shared>) {
    let stop = shared.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = look(&shared) => {}
    }
}

async fn look(shared: &Arc<Shared>) {
    let ahead = bind(shared).await;
    let mut planning = JoinSet::new();
    loop {
        if shared.follower.is_outdated() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        match ahead.next().await {
            Ok(Some(seen)) if waits(shared, seen).await => {
                while planning.len() >= AT_ONCE {
                    planning.join_next().await;
                }
                planning.spawn(plan(shared.clone(), seen.seq));
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "nothing is told of events before their turn");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while planning.try_join_next().is_some() {}
    }
}

/// Waits for the durable; without it each event has its turn.
async fn bind(shared: &Shared) -> Ahead {
    loop {
        match shared.broker.events_ahead().await {
            Ok(ahead) => return ahead,
            Err(error) => {
                let what = "urgent events wait for their turn";
                if shared.broker.is_news(what) {
                    let error: &(dyn std::error::Error + 'static) = &error;
                    tracing::info!(error, "{what}: `fanfare admin apply` makes what is missing");
                }
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
}

/// Whether an event is urgent and would wait.
async fn waits(shared: &Shared, seen: Foreseen) -> bool {
    let urgency = seen.urgency.unwrap_or(Urgency::Bulk); // What is not readable is buried in its turn.
    shared.turns.told(seen.seq, urgency);
    if urgency == Urgency::Bulk {
        return false;
    }
    let waits = || shared.turns.waits(seen.seq, shared.config.planners);
    while waits().is_none() {
        tokio::time::sleep(GRACE).await;
    }
    if waits() == Some(false) && !shared.turns.has_come(seen.seq) {
        tokio::time::sleep(GRACE).await;
    }
    waits() == Some(true)
}

async fn plan(shared: Arc<Shared>, seq: u64) {
    if shared.turns.has_come(seq) {
        return; // It had to wait here as well.
    }
    let event = match shared.broker.event_at(seq).await {
        Ok(Some(event)) => event,
        Ok(None) => return,
        Err(error) => {
            tracing::debug!(%error, seq, "an event is left to its turn");
            return;
        }
    };
    fail::point("ahead.begun");
    let (settle, skipped) = planner::plan(&shared, seq, event).await;
    if settle == Settle::Ack && skipped.is_none() {
        fail::point("ahead.planned");
        shared.metrics.planned_ahead.inc();
    }
}
