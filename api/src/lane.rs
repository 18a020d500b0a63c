//! `GET /v1/lanes` and one of them: what waits, and an operator's pause.

pub(crate) mod pause;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::lanes::LaneReport;
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::LanePath;
use crate::call::{bounded, no_answer, unavailable};
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::router::{Api, LANES};

/// An app at one urgency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lane)]
pub(crate) struct Shown {
    /// Its name, `<app>-<urgency>`.
    lane: String,
    app: String,
    /// `urgent` or `bulk`.
    urgency: &'static str,
    /// Tasks that nobody has taken yet.
    waiting: u64,
    /// Tasks that were taken and are not settled.
    in_hand: u64,
    /// Until when an operator has paused it.
    paused_until: Option<Timestamp>,
}

/// Every lane that a notifier was ever started for.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/lanes",
    operation_id = "listLanes",
    description = "What waits, what is in hand, and until when an operator has paused it.",
    tag = "system",
    params(
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "By name",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Response, Problem> {
    let lanes = read(&api).await?;
    let shown = lanes.into_iter().map(shown).collect();
    Ok(page.of(LANES, shown, |it: &Shown| it.lane.clone()))
}

/// One lane.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/lanes/{lane}",
    operation_id = "showLane",
    description = "What waits, what is in hand, and until when an operator has paused it.",
    tag = "system",
    params(("lane" = String, Path, description = "`<app>-urgent` or `<app>-bulk`")),
    responses((status = 200, description = "The lane", body = Shown)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    LanePath(lane): LanePath,
) -> Result<Response, Problem> {
    let lanes = read(&api).await?;
    let found = lanes.into_iter().find(|it| it.lane == lane);
    Ok(answer(found.ok_or_else(no_such_lane)?))
}

async fn read(api: &Api) -> Result<Vec<LaneReport>, Problem> {
    let read = async {
        let lanes = api.broker.lanes().await;
        lanes.map_err(|error| unavailable(&error))
    };
    bounded(&api.broker, read, no_answer).await
}

/// The answer with one lane.
fn answer(report: LaneReport) -> Response {
    let private = [(CACHE_CONTROL, "private, no-cache")];
    (private, axum::Json(shown(report))).into_response()
}

/// The refusal of a lane that there is not.
pub(crate) fn no_such_lane() -> Problem {
    Problem::new(
        Kind::NoSuchLane,
        "no notifier with its app was ever started here",
    )
}

fn shown(report: LaneReport) -> Shown {
    Shown {
        lane: report.lane.to_string(),
        urgency: report.lane.urgency.as_str(),
        app: report.lane.app.to_string(),
        waiting: report.n_pending,
        in_hand: report.n_in_hand,
        paused_until: report.paused_until,
    }
}
