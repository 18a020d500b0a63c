//! One lane's tasks: taken one at a time, worked on several at once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::consumer::Claims;
use tokio::task::{JoinError, JoinSet};

use crate::pressure::TakeUp;
use crate::shared::{LaneOfProcess, Shared};
use crate::{trouble, worker};

/// How often it is asked whether an operator has paused the lane.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Takes tasks of a lane until the process drains, then waits for those in hand.
pub(crate) async fn run(shared: Arc<Shared>, lane: Arc<LaneOfProcess>, claims: Claims) {
    let watch = async {
        tokio::select! {
            () = watch_pause(&shared, &lane, &claims) => {}
            () = shared.stop.cancelled() => {}
        }
    };
    tokio::join!(take(&shared, &lane, &claims), watch);
}

async fn take(shared: &Arc<Shared>, lane: &Arc<LaneOfProcess>, claims: &Claims) {
    let claims = Arc::new(claims.clone());
    let mut workers = JoinSet::new();
    while !shared.stop.is_cancelled() {
        while let Some(ended) = workers.try_join_next() {
            report(ended);
        }
        tokio::select! {
            () = lane.state.open() => {}
            () = shared.stop.cancelled() => break,
        }
        match claims.next().await {
            Ok(Some(message)) if shared.follower.is_outdated() => {
                message.nak(None).await;
                lane.state.hold(true);
            }
            Ok(Some(message)) => {
                // The breaker may have opened while the pull was waiting. Handed back at once, the
                // task reaches a notifier whose way to the provider is better.
                let probing = match lane.state.take_up() {
                    TakeUp::Free => None,
                    TakeUp::Probing(probing) => Some(probing),
                    TakeUp::No => {
                        message.nak(None).await;
                        continue;
                    }
                };
                // One ahead at most: the next is taken when this one has its place.
                let place = async {
                    tokio::select! {
                        place = shared.tasks.take(lane.state.seat()) => Some(place),
                        () = lane.state.closed() => None,
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
                    drop((place, probing));
                });
            }
            Ok(None) => {}
            Err(error) => {
                trouble::tell(shared, "tasks cannot be taken", &lane.lane, &error);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
    claims.hand_back().await;
    while let Some(ended) = workers.join_next().await {
        report(ended);
    }
}

/// Follows an operator's pause, which is the broker's own pause of the lane's durable: the broker
/// delivers nothing meanwhile, and what is in hand here is handed back.
async fn watch_pause(shared: &Shared, lane: &LaneOfProcess, claims: &Claims) {
    let mut was_outdated = false;
    loop {
        match claims.pause_left().await {
            Ok(left) => {
                // Whoever cannot read all devices hands back what it has.
                let is_outdated = shared.follower.is_outdated();
                let is_turned = lane.state.hold(left.is_some() || is_outdated);
                if is_turned && !is_outdated && !was_outdated {
                    tell(lane, left);
                }
                was_outdated = is_outdated;
                let gauge = shared.metrics.lanes.paused(&lane.lane);
                gauge.set(i64::from(left.is_some()));
            }
            Err(error) => tracing::debug!(
                lane = %lane.lane,
                error = &error as &dyn Error,
                "it is not known whether the lane is paused"
            ),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tell(lane: &LaneOfProcess, left: Option<Duration>) {
    if let Some(left) = left {
        let seconds = left.as_secs();
        tracing::info!(lane = %lane.lane, seconds, "an operator has paused the lane: nothing is sent on it");
    } else {
        tracing::info!(lane = %lane.lane, "the lane is no longer paused");
    }
}

/// A worker that panicked leaves its message unsettled, so the task comes again; its credits stay
/// taken, because what it sent is not known.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task's worker panicked");
    }
}
