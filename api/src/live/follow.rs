//! The one task that follows both streams while somebody reads.

use std::time::Duration;

use fanfare_nats::story::read::StoryError;
use tokio::time::sleep;

use super::Live;
use super::position::Position;
use super::ring::Ring;
use super::tail::Tail;

/// The pause when there was nothing new, and when there was: news come in handfuls then, and readers
/// are woken once for each.
const IDLE: Duration = Duration::from_millis(200);
const BUSY: Duration = Duration::from_millis(50);
/// The pause after the broker gave no answer.
const AWAY: Duration = Duration::from_millis(500);

/// Follows whenever there are readers, until the stop.
///
/// Dropping the future leaves the readers without news.
pub(crate) async fn follow(live: Live) {
    let stop = live.0.stop.clone();
    let mut readers = live.0.n_readers.subscribe();
    let following = async {
        // It ends with the sender, which is ours.
        while readers.wait_for(|it| *it > 0).await.is_ok() {
            let left = readers.wait_for(|it| *it == 0);
            tokio::select! {
                () = keep_up(&live) => {}
                left = left => drop(left),
            }
            live.ring(|it| *it = None);
            live.tell();
        }
    };
    let _stopped = stop.run_until_cancelled(following).await;
}

async fn keep_up(live: &Live) {
    let start = loop {
        match ends(live).await {
            Ok(start) => break start,
            Err(error) => pause(&error).await,
        }
    };
    live.ring(|it| *it = Some(Ring::at(start, live.0.backlog)));
    live.tell();
    let mut tail = Tail::behind(start);
    loop {
        let step = match tail.step(live).await {
            Ok(step) => step,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        let is_news = !step.told.is_empty();
        if is_news {
            live.ring(|ring| {
                if let Some(ring) = ring {
                    step.told.into_iter().for_each(|it| ring.push(it));
                }
            });
            live.tell();
        }
        match (is_news, step.is_end) {
            (_, false) => {}
            (true, true) => sleep(BUSY).await,
            (false, true) => sleep(IDLE).await,
        }
    }
}

async fn pause(error: &StoryError) {
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "the live stream waits for the broker"
    );
    sleep(AWAY).await;
}

/// Where both streams end.
pub(super) async fn ends(live: &Live) -> Result<Position, StoryError> {
    let broker = &live.0.broker;
    let receipts = broker.newest_receipt().await?;
    let events = broker.events_held().await?.map_or(0, |it| it.1);
    Ok(Position { events, receipts })
}
