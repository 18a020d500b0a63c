//! One lane's tasks: taken one at a time, worked on several at once.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::consumer::Claims;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::shared::{LaneOfProcess, Shared};
use crate::worker;

/// Takes tasks of a lane until the process drains, then waits for those in hand.
pub(crate) async fn run(shared: Arc<Shared>, lane: Arc<LaneOfProcess>, claims: Claims) {
    let claims = Arc::new(claims);
    let mut workers = JoinSet::new();
    while !shared.stop.is_cancelled() {
        while let Some(ended) = workers.try_join_next() {
            report(ended);
        }
        if let Some(pause) = lane.state.pause_left(Instant::now()) {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.stop.cancelled() => {}
            }
            continue;
        }
        match claims.next().await {
            Ok(Some(message)) => {
                // One ahead at most: the next is taken when this one has its place.
                let place = async {
                    tokio::select! {
                        place = shared.tasks.clone().acquire_owned() => place.ok(),
                        () = shared.stop.cancelled() => None,
                    }
                };
                let place = message.extend_while(claims.ack_wait(), place).await;
                let Some(place) = place.filter(|_| !shared.stop.is_cancelled()) else {
                    message.nak(None).await; // Not begun: somebody else may at once.
                    continue;
                };
                let working = worker::work(shared.clone(), lane.clone(), claims.clone(), message);
                workers.spawn(async move {
                    working.await;
                    drop(place);
                });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    lane = %lane.lane,
                    error = &error as &dyn std::error::Error,
                    "tasks cannot be taken, trying again"
                );
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
    while let Some(ended) = workers.join_next().await {
        report(ended);
    }
}

/// A worker that panicked leaves its message unsettled, so the task comes again; its credits stay
/// taken, because what it sent is not known.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task's worker panicked");
    }
}
