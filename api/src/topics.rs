//! `GET /v1/topics`: what is followed, and by how many.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::index::{Followers, Index};
use fanfare_nats::tenant::written_path;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::page::{Listed, Page};
use crate::problem::Problem;
use crate::router::{Api, TOPICS};

/// A pattern that somebody follows.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FollowedPattern)]
pub(crate) struct Shown {
    pattern: String,
    /// Devices that follow it, with whatever filters; each counts once.
    devices: u64,
    /// In whose order they come.
    #[serde(skip)]
    stored: String,
}

/// Every pattern that a device follows, and how many do.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/topics",
    operation_id = "listTopics",
    description = "Patterns as devices follow them, not the topics that they match. What was registered before the request is counted.",
    tag = "topics",
    params(
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "In the order of their texts",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    page: Page,
) -> Result<Response, Problem> {
    let (after, limit) = (page.after().map(str::to_owned), page.limit() + 1);
    let tenant = caller.tenant();
    let find = move |index: &Index| {
        let is_mine = |pattern: &str| tenant.owns_path(pattern);
        index.patterns(after.as_deref(), limit, is_mine)
    };
    let found = api.known.ask(&api.broker, &api.readings, find).await?;
    let all = found.into_iter().map(shown).collect();
    Ok(page.of(TOPICS, all, |it: &Shown| it.stored.clone()))
}

fn shown(followers: Followers) -> Shown {
    Shown {
        pattern: written_path(&followers.pattern).to_owned(),
        stored: followers.pattern,
        devices: followers.n_devices,
    }
}
