//! One keeper per connection of a pool: connects on demand, replaces what ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::places::Signs;
use super::{Inner, connect, drive};
use crate::outcome::Backoff;

/// A connection that stood so long was a good one, as is one that carried a push: its replacement
/// comes at once.
const STABLE: Duration = Duration::from_secs(10);

/// Between failed connections. The cap stays below the provider timeout, so that a request that
/// arrives during the pause still hears of the next try.
const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(4);

/// Keeps slot number `slot` of the pool connected until the pool is stopped.
pub(super) async fn keep(slot: usize, pool: Arc<Inner>, tasks: TaskTracker) {
    let stop = pool.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = connect_again_and_again(slot, &pool, &tasks) => {}
    }
}

async fn connect_again_and_again(slot: usize, pool: &Arc<Inner>, tasks: &TaskTracker) {
    let mut demand = pool.demand.subscribe();
    let mut n_failures = 0;
    let mut is_wanted = *demand.borrow() > 0;
    loop {
        if !is_wanted && demand.changed().await.is_err() {
            return;
        }
        // Who asks from here on is either served by this connection or asks for the next one.
        demand.mark_unchanged();
        is_wanted = match connect_once(slot, pool, tasks).await {
            Ok((ended, signs)) => {
                let began = tokio::time::Instant::now();
                // Busy when it went out of use: somebody will want the next one at once.
                let was_busy = ended.await.unwrap_or(false);
                if began.elapsed() >= STABLE || signs.was_useful.load(Ordering::Relaxed) {
                    n_failures = 0;
                } else {
                    n_failures += 1;
                    // The first replacement is immediate, a connection that keeps ending is not.
                    pause(n_failures - 1).await;
                }
                was_busy || demand.has_changed().unwrap_or(false)
            }
            Err(why) => {
                if pool.places.connected() {
                    pool.failed.send_replace(why);
                }
                pause(n_failures).await;
                n_failures += 1;
                demand.has_changed().unwrap_or(false)
            }
        };
    }
}

/// Connects and hands the connection to its driver, which says when it goes out of use.
async fn connect_once(
    slot: usize,
    pool: &Arc<Inner>,
    tasks: &TaskTracker,
) -> Result<(oneshot::Receiver<bool>, Arc<Signs>), Cow<'static, str>> {
    pool.places.connecting();
    let connecting = connect::connect(&pool.way, slot);
    let made = match tokio::time::timeout(pool.way.connect_timeout, connecting).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => {
            tracing::info!(endpoint = %pool.way.endpoint, %error, "connection to provider failed");
            return Err(error.reason());
        }
        Err(_) => {
            tracing::info!(endpoint = %pool.way.endpoint, "connection to provider timed out");
            return Err(Cow::Borrowed("connection timed out"));
        }
    };
    let signs = Arc::new(Signs::default());
    let (send, connection) = made;
    let limit = send.current_max_send_streams();
    let id = pool.places.add(send.clone(), limit, Arc::clone(&signs));
    let (ended, hears_end) = oneshot::channel();
    let pool_of_driver = Arc::clone(pool);
    let signs_of_driver = Arc::clone(&signs);
    tasks.spawn(async move {
        drive::drive(
            connection,
            send,
            id,
            limit,
            &signs_of_driver.suspicion,
            &pool_of_driver,
            ended,
        )
        .await;
    });
    pool.places.connected();
    Ok((hears_end, signs))
}

async fn pause(n_failures: u32) {
    if n_failures == 0 {
        return;
    }
    let random = rand::rng().random::<f64>();
    if let Some(backoff) = Backoff::new(BASE, CAP) {
        tokio::time::sleep(backoff.delay(n_failures, random)).await;
    }
}
