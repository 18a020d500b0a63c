//! `GET /v1/events/{event}/deliveries/{device}`: why a device got an event, or why not; what
//! `fanfare why` says.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::story::matching;
use fanfare_nats::story::read::{Document, Letters, Named};
use fanfare_nats::story::why::{self, Case, Chain, Ending, TokenStory, Why};
use fanfare_nats::tenant::written_path;
use fanfare_nats::{DeviceId, Receipt, Tenant};
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::body::DeliveryPath;
use crate::call::{bounded, no_answer, unavailable};
use crate::clock;
use crate::event::shown::Identity;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// What became of one event for one device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub(crate) struct Shown {
    /// How it ended, or where it stands: `delivered`, `waiting`, `to_come`, `filtered_out`,
    /// `not_subscribed`, `removed`, `changed_after_plan`, `expired`, `superseded`, `dropped`,
    /// `unregistered`, `refused`, `unclear`, `poison`, `not_planned_yet`, `forgotten`, `lost`.
    #[schema(example = "delivered")]
    ending: &'static str,
    /// The same for somebody who answers a user.
    sentence: String,
    event: Identity,
    device: Device,
    /// Whether the event names this device or its user.
    is_addressed: bool,
    /// What each subscription of the document says, as it is now.
    subscriptions: Vec<Opinion>,
    /// How the event was cut; null if it has no plan.
    plan: Option<Plan>,
    /// The task that holds the device.
    task: Option<Task>,
    /// Everything that was tried for this device, in order.
    attempts: Vec<Tried>,
    /// When the next attempt is due.
    next_due: Option<Timestamp>,
    /// `as_it_was`, `changed_since`, `retired`, `dead_and_kept`, `moved` or `removed`.
    token: Option<&'static str>,
}

/// What stands under the device's id.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryDevice)]
struct Device {
    id: String,
    app: Option<String>,
    /// Of the document, or of its removal.
    revision: Option<u64>,
    written_at: Option<Timestamp>,
    registered_at: Option<Timestamp>,
    removed_at: Option<Timestamp>,
}

/// What one subscription says of the event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliverySubscription)]
struct Opinion {
    pattern: String,
    /// The event's topic that it matches.
    topic: Option<String>,
    conditions: Vec<Checked>,
    /// Whether the device is concerned because of it.
    is_for: bool,
}

/// One filter against the event's data.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryCondition)]
struct Checked {
    condition: String,
    found: String,
    holds: bool,
}

/// How the event was cut.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryPlan)]
struct Plan {
    /// Documents up to this revision were counted.
    revision: u64,
    planned_at: Timestamp,
    tasks: u32,
}

/// The part of the plan that holds the device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryTask)]
struct Task {
    lane: String,
    n: u32,
    of: u32,
    receipts: usize,
    is_finished: bool,
    /// The process that worked on it last.
    node: Option<String>,
}

/// One attempt, or the decision to make none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryAttempt)]
struct Tried {
    at: Timestamp,
    /// From 1; 0 where nothing was sent.
    attempt: u32,
    #[schema(example = "accepted")]
    mark: &'static str,
    /// The provider's word, or why nothing was sent.
    reason: Option<String>,
    pass: u32,
    node: String,
    /// Sequence of the receipt that says so.
    receipt: u64,
}

/// Why a device got an event, or why not.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/events/{event}/deliveries/{device}",
    operation_id = "showDelivery",
    description = "What `fanfare why` says, without the numbers of dead letters.",
    tag = "events",
    params(
        ("event" = String, Path, max_length = 200, description = "As in `/v1/events/{event}`"),
        (
            "device" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$",
            description = "The device's id",
        ),
    ),
    responses((status = 200, description = "From the streams, as `fanfare why`", body = Shown)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    caller: Caller,
    DeliveryPath(event, device): DeliveryPath,
) -> Result<Response, Problem> {
    let shown = bounded(
        &api.broker,
        read(&api, &caller.tenant(), &event, device),
        no_answer,
    )
    .await?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(shown)).into_response())
}

async fn read(api: &Api, tenant: &Tenant, event: &str, device: DeviceId) -> Result<Shown, Problem> {
    let now = clock::now();
    let found = api.broker.event_named(tenant, event, now).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let found = found.filter(|it| !it.stored.event.is_challenge());
    let Named { stored, plan } = found.ok_or_else(unknown)?;
    let (plan, absence) = match plan {
        Ok(plan) => (Some(plan), None),
        Err(absence) => (None, Some(absence)),
    };
    let case = api
        .broker
        .case(stored, plan, device, Letters::LeftAlone, now);
    let mut case = case.await.map_err(|error| unavailable(&error))?;
    if !case.is_of_a_known_device() {
        return Err(unknown());
    }
    case.absence = absence; // Judged by where planners stood before the plan was looked for.
    Ok(shown(&case, why::why(&case)))
}

/// The same for an event that does not exist, a device that does not, and what the asker may not
/// see.
fn unknown() -> Problem {
    Problem::new(
        Kind::NoSuchDelivery,
        "there is no such event and device for you",
    )
}

fn shown(case: &Case, why: Why) -> Shown {
    let next_due = if let Ending::Waiting(later) = &why.ending {
        Some(later.due)
    } else {
        None
    };
    Shown {
        ending: why.ending.word(),
        sentence: why.ending.sentence(),
        event: Identity::of(&case.stored.event),
        device: device(case),
        is_addressed: why.is_addressed,
        subscriptions: why.opinions.into_iter().map(opinion).collect(),
        plan: case.plan.as_ref().map(|it| Plan {
            revision: it.revision,
            planned_at: it.planned_at,
            tasks: it.n_tasks(),
        }),
        task: why.chain.and_then(|at| case.chains.get(at)).map(task),
        attempts: why.attempts.into_iter().map(attempt).collect(),
        next_due,
        token: why.token.map(TokenStory::word),
    }
}

fn device(case: &Case) -> Device {
    let unknown = Device {
        id: case.device.written().to_owned(),
        app: None,
        revision: None,
        written_at: None,
        registered_at: None,
        removed_at: None,
    };
    match &case.document {
        Document::Stands {
            revision,
            at,
            device,
        } => Device {
            app: Some(device.app.to_string()),
            revision: Some(*revision),
            written_at: Some(*at),
            registered_at: Some(device.registered_at),
            ..unknown
        },
        Document::Removed { revision, at } => Device {
            revision: Some(*revision),
            removed_at: Some(*at),
            ..unknown
        },
        Document::Unknown => unknown,
    }
}

fn opinion(opinion: matching::Opinion) -> Opinion {
    let is_for = opinion.is_for();
    let conditions = opinion.conditions.into_iter().map(|it| Checked {
        condition: it.text,
        found: it.found,
        holds: it.holds,
    });
    Opinion {
        conditions: conditions.collect(),
        pattern: written_path(&opinion.pattern).to_owned(),
        topic: opinion.topic.map(|it| written_path(&it).to_owned()),
        is_for,
    }
}

fn task(chain: &Chain) -> Task {
    let last = chain.receipts.last().map(|(_, it)| it);
    Task {
        lane: chain.lane.to_string(),
        n: chain.n,
        of: chain.n_tasks,
        receipts: chain.receipts.len(),
        is_finished: last.is_some_and(Receipt::is_finished),
        node: last.map(|it| it.node.clone()),
    }
}

fn attempt(attempt: why::Attempt) -> Tried {
    Tried {
        at: attempt.line.at,
        attempt: attempt.line.attempt,
        mark: attempt.line.mark.word(),
        reason: attempt.line.reason,
        pass: attempt.pass,
        node: attempt.node,
        receipt: attempt.seq,
    }
}
