//! `GET /v1/lanes`: what waits on each lane, and an operator's pause.
//!
//! Pausing is not here: it is a right of operators, and the connection of this role does not have
//! it (`fanfare lanes pause`).

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::lanes::LaneReport;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{bounded, no_answer, unavailable};
use crate::page::{Listed, Page};
use crate::problem::Problem;
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
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 200, description = "Items of a page"),
        ("cursor" = Option<String>, Query, pattern = "^([0-9a-f]{2})+$", description = "`next_cursor` of the page before"),
    ),
    responses((
        status = 200,
        description = "By name",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Response, Problem> {
    let read = async {
        let lanes = api.broker.lanes().await;
        lanes.map_err(|error| unavailable(&error))
    };
    let lanes = bounded(&api.broker, read, no_answer).await?;
    let shown = lanes.into_iter().map(shown).collect();
    Ok(page.of(LANES, shown, |it: &Shown| it.lane.clone()))
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
