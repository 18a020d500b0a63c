//! `GET /v1/members`: every process that runs, in each of its roles.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::members::Seen;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::call::{bounded, no_answer, unavailable};
use crate::page::{Listed, Page};
use crate::problem::Problem;
use crate::router::{Api, MEMBERS};

/// A process in one of its roles. One that died is listed until 20 s after it was last heard of.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(crate) struct Shown {
    /// `fetcher`, `notifier` or `api`.
    role: String,
    /// The process among all.
    node: String,
    /// Its machine.
    host: String,
    /// What is running.
    version: String,
    /// Its part of what is divided among the members of a role.
    weight: u32,
    /// Since when it runs.
    started: Timestamp,
    /// When it last said that it lives.
    renewed: Timestamp,
    /// What keeps it from being ready.
    waits_for: Option<String>,
}

/// Who is alive, of each role.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/members",
    operation_id = "listMembers",
    description = "One that died is listed until 20 s after it was last heard of; one that is cut off from the broker is not listed.",
    tag = "system",
    params(
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "By role and node",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Response, Problem> {
    let read = async {
        let seen = api.broker.members_seen("*").await;
        seen.map_err(|error| unavailable(&error))
    };
    let seen = bounded(&api.broker, read, no_answer).await?;
    let shown = seen.into_iter().map(shown).collect();
    Ok(page.of(MEMBERS, shown, |it: &Shown| {
        format!("{}/{}", it.role, it.node)
    }))
}

fn shown(seen: Seen) -> Shown {
    let Seen { member, renewed } = seen;
    Shown {
        role: member.role,
        node: member.node,
        host: member.host,
        version: member.version,
        weight: member.weight,
        started: member.started,
        renewed,
        waits_for: member.waits_for,
    }
}
