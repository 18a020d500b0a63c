//! One event to a hundred thousand devices, four notifiers, one of them killed every second in turn.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::load::Load;
use super::options::Options;
use super::seat::{Role, Seat};
use super::slice::count;
use super::table::Row;
use crate::pipeline::Pipeline;

/// Between two kills.
const EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(
    options: &Options,
    pipeline: &Pipeline,
    seats: &[Seat],
    load: &Load<'_>,
) -> Row {
    let begun = Instant::now();
    load.post("fan-out", &json!({})).await;
    let owed = load.noted().debts().n;
    let notifiers: Vec<_> = seats
        .iter()
        .filter(|it| it.role == Role::Notifier)
        .collect();
    let killing = async {
        for seat in notifiers.iter().cycle() {
            sleep(EVERY).await;
            seat.kill().await;
            seat.start(pipeline, None).await;
        }
    };
    let finishing = async {
        while pipeline.counts().deliveries < owed && begun.elapsed() < options.time {
            sleep(Duration::from_millis(200)).await;
        }
    };
    let telling = super::report::progress(pipeline, seats, load, 0);
    tokio::select! {
        () = killing => {}
        () = finishing => {}
        () = telling => {}
    }
    let took = begun.elapsed();
    // The kill that was under way may have left a seat empty.
    for seat in notifiers {
        seat.take(pipeline).await;
    }
    let mut row = count(options.kind, pipeline, seats, load, 0).await;
    row.note = format!("finished after {:.0} s; {}", took.as_secs_f64(), row.note);
    row
}
