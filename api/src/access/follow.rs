//! Follows the bucket of keys: asks the leader each second what is new.
//!
//! Not a watch: whether a watch is silent or dead is known after ten seconds, whereas each answer here
//! proves that the ring is as new as the question. It needs one right, to read messages.

use std::error::Error;
use std::time::Duration;

use fanfare_nats::keys::KeysError;
use fanfare_nats::{Broker, Readiness};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::ring::{Ring, Seen};

/// How often is asked: how long a key that was taken back opens doors.
const EVERY: Duration = Duration::from_secs(1);
/// How often everything is read anew. Whatever became of the bucket is known then, were it restored
/// from a copy and its revisions smaller than before.
const ANEW_EVERY: Duration = Duration::from_mins(1);
/// How long the first reading may take before requests are let in, and told to come again.
const FIRST: Duration = Duration::from_secs(3);
/// The condition of readiness.
const CONDITION: &str = "keys";

/// Reads the keys for the first time, so that the first requests can be judged; gives up after some
/// seconds and leaves it to [`follow`].
pub(crate) async fn first(ring: &Ring, broker: &Broker, readiness: &Readiness) {
    readiness.unmet(CONDITION, "not read yet");
    let read = timeout(FIRST, read(ring, broker, true)).await;
    if let Ok(Ok(())) = read {
        readiness.met(CONDITION);
    }
}

/// Keeps the ring new until `stop`.
///
/// Dropping the future leaves a ring that says nothing after half a minute.
pub(crate) async fn follow(
    ring: Ring,
    broker: Broker,
    readiness: Readiness,
    stop: CancellationToken,
) {
    let mut whole_at: Option<Instant> = None;
    let mut is_told = false;
    loop {
        let began = Instant::now();
        let is_stale = ring.seen(began).is_none();
        // Markers of removals are kept for an hour only.
        let is_whole = is_stale || whole_at.is_none_or(|it| it + ANEW_EVERY <= began);
        let read = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            read = read(&ring, &broker, is_whole) => read,
        };
        match read {
            Ok(()) => {
                readiness.met(CONDITION);
                if is_whole {
                    whole_at = Some(began);
                }
                if is_told {
                    tracing::info!("the keys can be read again");
                }
                is_told = false;
                note(&ring.last(), &broker).await;
            }
            Err(error) => {
                if !is_told {
                    let error = &error as &dyn Error;
                    tracing::info!(error, "the keys cannot be read");
                }
                is_told = true;
                if ring.seen(Instant::now()).is_none() {
                    readiness.unmet(CONDITION, "not read lately: requests cannot be judged");
                }
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(began + EVERY) => {}
        }
    }
}

async fn read(ring: &Ring, broker: &Broker, is_whole: bool) -> Result<(), KeysError> {
    if !broker.is_connected() {
        return Err(KeysError::Read("there is no connection".to_owned()));
    }
    let read_at = Instant::now();
    let last = ring.last();
    let from = if is_whole { 1 } else { last.next() };
    let changes = broker.key_changes(from).await?;
    let seen = last.after(changes, is_whole, read_at);
    tell(&last, &seen);
    ring.replace(seen);
    Ok(())
}

/// Where no keys are asked for until there is one, the first one changes everything.
fn tell(before: &Seen, after: &Seen) {
    match (before.is_empty(), after.is_empty()) {
        (true, false) => tracing::info!("there are keys: every request needs one"),
        (false, true) => tracing::info!("there are no keys any more"),
        (true, true) | (false, false) => {}
    }
}

/// Notes uses; what cannot be noted is tried again in a second.
async fn note(seen: &Seen, broker: &Broker) {
    for (name, at) in seen.to_note() {
        match broker.note_key_use(&name, at).await {
            Ok(()) => seen.noted(&name, at),
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::debug!(key.id = %name.1, error, "the use of a key is not noted");
                return;
            }
        }
    }
}
