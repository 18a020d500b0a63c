//! Restarts in order, one process after another, under load: nothing is lost and nothing repeated.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::seat::{Role, Seat};
use crate::eventually::eventually;
use crate::pipeline::Pipeline;

/// Between two restarts.
const PAUSE: Duration = Duration::from_millis(1500);

/// Waits until every fetcher knows what was there before.
pub(super) async fn until_polled(seats: &[Seat]) {
    for seat in seats.iter().filter(|it| it.role == Role::Fetcher) {
        eventually("it has polled", async || {
            let n = seat.metric("fanfare_source_polls_total").await;
            if n > 0.0 { Ok(()) } else { Err(n) }
        })
        .await;
    }
}

/// Drains one process after another and starts the next in its place; returns how many.
pub(super) async fn keep_restarting(
    pipeline: &Pipeline,
    seats: &[Seat],
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    for seat in seats.iter().cycle() {
        let _over = stop.run_until_cancelled(sleep(PAUSE)).await;
        if stop.is_cancelled() {
            break;
        }
        seat.drain().await;
        assert!(
            seat.start(pipeline, None).await,
            "no start: {:#?}",
            seat.lines().await
        );
        n += 1;
    }
    n
}
