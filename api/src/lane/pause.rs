//! `PUT` and `DELETE /v1/lanes/{lane}/pause`: an operator's pause, which is the broker's own.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::lanes::{LaneError, LaneReport};

use super::{Shown, answer, no_such_lane};
use crate::body::{Json, LanePath};
use crate::call::{bounded, unavailable};
use crate::clock;
use crate::operate::pause;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Stops sending on a lane; its work is kept.
///
/// Dropping the future leaves it unknown whether the lane is paused; the same again settles it.
#[utoipa::path(
    put,
    path = "/v1/lanes/{lane}/pause",
    operation_id = "pauseLane",
    description = "Answered when the leader of its consumer shows the pause. What is in hand is handed back by the notifiers within seconds, and what waits is kept until its event expires. A lane that is paused gets the new end.",
    tag = "operating",
    params(("lane" = String, Path, description = "`<app>-urgent` or `<app>-bulk`")),
    request_body(content = pause::Document),
    responses((status = 200, description = "It is paused", body = Shown)),
)]
pub(crate) async fn put(
    State(api): State<Api>,
    LanePath(lane): LanePath,
    Json(body): Json,
) -> Result<Response, Problem> {
    let until = pause::read(body, clock::now()).map_err(Problem::fields)?;
    let broker = api.operating.broker()?;
    let paused = async { told(broker.pause_lane(&lane, until).await) };
    bounded(broker, paused, unknown).await.map(answer)
}

/// Ends a pause.
///
/// Dropping the future leaves it unknown whether the lane is paused; the same again settles it.
#[utoipa::path(
    delete,
    path = "/v1/lanes/{lane}/pause",
    operation_id = "resumeLane",
    description = "Answered when the leader of its consumer shows it. A lane that is not paused stays as it is.",
    tag = "operating",
    params(("lane" = String, Path, description = "`<app>-urgent` or `<app>-bulk`")),
    responses((status = 200, description = "It is not paused", body = Shown)),
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    LanePath(lane): LanePath,
) -> Result<Response, Problem> {
    let broker = api.operating.broker()?;
    let resumed = async { told(broker.resume_lane(&lane).await) };
    bounded(broker, resumed, unknown).await.map(answer)
}

fn told(done: Result<LaneReport, LaneError>) -> Result<LaneReport, Problem> {
    done.map_err(|error| match error {
        LaneError::Unknown(_) => no_such_lane(),
        // The reader of the body lets only near moments through.
        LaneError::Date => Problem::new(Kind::Internal, "the end of the pause is no date"),
        LaneError::NotAgreed(_) => unknown(),
        LaneError::Broker(_) => unavailable(&error),
    })
}

fn unknown() -> Problem {
    Problem::new(
        Kind::BrokerUnavailable,
        "the servers did not agree on it in time: look at the lane, and send the same request again",
    )
}
