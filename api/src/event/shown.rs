//! `GET /v1/events/{event}`: what became of an event, from its receipts.
//!
//! The receipts name a device when its turn is over, so while tasks are open nobody has counted
//! whom it is owed to: `owed` is null until then. Who *should* have been named is judged by
//! `fanfare verify`, which reads every device document; a request of an app does not.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::event::Event;
use fanfare_nats::receipt::Mark;
use fanfare_nats::story::read::{Named, StoredEvent};
use fanfare_nats::story::tally::Tally;
use fanfare_nats::story::unplanned::Absence;
use fanfare_nats::{Plan, Tenant};
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::body::EventPath;
use crate::call::{bounded, no_answer, unavailable};
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// The most receipts that are read for one answer, some 250,000 devices': within the time of a
/// request, and no burden for the broker.
const MOST_RECEIPTS: u64 = 8192;

/// Events with at most so many tasks are small.
const FEW_TASKS: u32 = 4;

/// An event and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventReport)]
pub(crate) struct Shown {
    #[serde(flatten)]
    identity: Identity,
    /// `waiting` (not planned yet), `sending`, `done`, `nobody` (planned, and nobody followed it);
    /// without a plan for good: `expired`, `superseded`, `forgotten` (older than plans are kept),
    /// `lost`.
    #[schema(example = "done")]
    state: &'static str,
    counts: Counts,
    tasks: Tasks,
    /// What happened when, the oldest first.
    timeline: Vec<Moment>,
}

/// Which event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventIdentity)]
pub(crate) struct Identity {
    /// The event's id.
    event: String,
    /// Who published it; `api` if it was posted.
    source: String,
    /// The id that its poster or its source gave it.
    id: String,
    /// `first`, or the level that its item reached.
    level: String,
    topics: Vec<String>,
    /// `urgent` or `bulk`.
    priority: &'static str,
    /// `at_least_once` or `at_most_once`.
    delivery: &'static str,
    /// After this nobody is told.
    expires_at: Timestamp,
}

/// Devices, each counted by the last word about it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventCounts)]
struct Counts {
    /// Whom the event was for: null while tasks are open, or where one ended early.
    owed: Option<u64>,
    /// The provider took it.
    accepted: u64,
    /// Waiting for another attempt. Devices whose first turn is to come are in no count.
    pending: u64,
    /// Not sent: the event had expired.
    expired: u64,
    /// Not sent: a higher level of the item stood.
    superseded: u64,
    /// Not sent: unsubscribed, removed, or the token another device's, when its turn came.
    dropped: u64,
    /// The provider knows the token no more.
    unregistered: u64,
    /// Refused for good; a dead letter holds it.
    refused: u64,
    /// At most once, and the answer was lost.
    unclear: u64,
    /// Given up with its task; a dead letter holds it.
    poison: u64,
    /// In dead letters: refused and poison.
    dead: u64,
    /// Accepted more than once, as the receipts themselves say.
    repeated: u64,
    /// Why devices were dropped, refused or unregistered; the 32 first reasons, the others as
    /// `other`.
    reasons: Vec<Explained>,
    /// False if the event has more receipts than one request reads: all counts are too low then.
    is_complete: bool,
}

/// Why, and how many.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reason)]
struct Explained {
    /// `dropped`, `refused` or `unregistered`.
    outcome: &'static str,
    /// Our own word, or the provider's.
    #[schema(example = "unsubscribed")]
    reason: String,
    devices: u64,
}

/// How far the sending is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventTasks)]
struct Tasks {
    total: u64,
    begun: u64,
    finished: u64,
    /// Tasks that ended before all their devices had a turn.
    ended_early: u64,
}

/// Something happened.
#[derive(Debug, Serialize, ToSchema)]
struct Moment {
    at: Timestamp,
    /// `stored`, `planned`, `begun`, `first_accepted`, `last_accepted`, `finished`, or `expires`,
    /// which may be to come.
    what: &'static str,
}

/// An event with its counts and timeline.
///
/// It is named by its event id, or by the id that it was posted with. Dropping the future changes
/// nothing.
#[utoipa::path(
    get,
    path = "/v1/events/{event}",
    operation_id = "showEvent",
    description = "Counted from the receipts: whom no receipt names yet is in no count. `fanfare verify` judges by the device documents, too.",
    tag = "events",
    params((
        "event" = String, Path, max_length = 200,
        description = "The event's id (`event` in the answer to its post), or the id it was posted \
                       with. An event of a source that was never planned is not found by its id.",
    )),
    responses((status = 200, description = "What became of it until now", body = Shown)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    caller: Caller,
    EventPath(name): EventPath,
) -> Result<Response, Problem> {
    let shown = bounded(&api.broker, read(&api, &caller.tenant(), &name), no_answer).await?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(shown)).into_response())
}

async fn read(api: &Api, tenant: &Tenant, name: &str) -> Result<Shown, Problem> {
    let found = api.broker.event_named(tenant, name, clock::now()).await;
    let found = found.map_err(|error| unavailable(&error))?;
    let found = found.filter(|it| !it.stored.event.is_challenge());
    let Named { stored, plan } = found.ok_or_else(unknown)?;
    let tally = match &plan {
        Ok(plan) => {
            let _place = place(&api.readings, plan.n_tasks())?;
            api.broker.tally(plan, MOST_RECEIPTS).await
        }
        Err(_) => Ok(Tally::default()),
    };
    let tally = tally.map_err(|error| unavailable(&error))?;
    Ok(shown(&stored, plan.as_ref(), &tally))
}

/// A place among those who count large events at the same time; small ones need none.
fn place(places: &Semaphore, n_tasks: u32) -> Result<Option<SemaphorePermit<'_>>, Problem> {
    if n_tasks <= FEW_TASKS {
        return Ok(None);
    }
    let detail = "several large events are being counted; come again in a moment";
    let place = places.try_acquire();
    place
        .map(Some)
        .map_err(|_| Problem::new(Kind::Overloaded, detail))
}

/// The same for what does not exist and for what the asker may not see.
fn unknown() -> Problem {
    Problem::new(Kind::NoSuchEvent, "there is no event by this id for you")
}

impl Identity {
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            event: event.id().to_string(),
            source: event.source.to_string(),
            id: event.written_item().to_owned(),
            level: event.level.to_string(),
            topics: event
                .topics
                .iter()
                .map(|it| it.written().to_string())
                .collect(),
            priority: event.urgency.as_str(),
            delivery: event.guarantee.as_str(),
            expires_at: event.expires_at,
        }
    }
}

fn shown(stored: &StoredEvent, plan: Result<&Plan, &Absence>, tally: &Tally) -> Shown {
    Shown {
        identity: Identity::of(&stored.event),
        state: state(plan, tally),
        counts: counts(plan.is_ok(), tally),
        tasks: Tasks {
            total: tally.n_tasks,
            begun: tally.n_begun,
            finished: tally.n_finished,
            ended_early: tally.closed.values().sum(),
        },
        timeline: timeline(stored, plan.ok(), tally),
    }
}

fn state(plan: Result<&Plan, &Absence>, tally: &Tally) -> &'static str {
    match plan {
        Ok(plan) if plan.lanes.is_empty() => "nobody",
        Ok(_) if tally.is_finished() => "done",
        Ok(_) => "sending",
        Err(Absence::Waiting) => "waiting",
        Err(Absence::Expired) => "expired",
        Err(Absence::Superseded(_)) => "superseded",
        Err(Absence::Lost) => "lost",
        Err(Absence::Forgotten) => "forgotten",
    }
}

fn counts(is_planned: bool, tally: &Tally) -> Counts {
    let reasons = tally.reasons().map(|(outcome, reason, devices)| Explained {
        outcome,
        reason: reason.to_owned(),
        devices,
    });
    let (refused, poison) = (tally.n(Mark::Refused), tally.n(Mark::Dead));
    Counts {
        owed: tally.owed().filter(|_| is_planned),
        accepted: tally.n(Mark::Accepted),
        pending: tally.n(Mark::Later),
        expired: tally.n(Mark::Expired),
        superseded: tally.n(Mark::Superseded),
        dropped: tally.n(Mark::Dropped),
        unregistered: tally.n(Mark::Unregistered),
        refused,
        unclear: tally.n(Mark::Unclear),
        poison,
        dead: refused + poison,
        repeated: tally.repeated,
        reasons: reasons.collect(),
        is_complete: tally.is_whole,
    }
}

fn timeline(stored: &StoredEvent, plan: Option<&Plan>, tally: &Tally) -> Vec<Moment> {
    let accepted = tally.accepted_at;
    let finished = tally.last_at.filter(|_| tally.is_finished());
    let moments = [
        ("stored", Some(stored.at)),
        ("planned", plan.map(|it| it.planned_at)),
        ("begun", tally.begun_at),
        ("first_accepted", accepted.map(|it| it.0)),
        ("last_accepted", accepted.map(|it| it.1)),
        ("finished", finished),
        ("expires", Some(stored.event.expires_at)),
    ];
    let moments = moments.into_iter();
    let mut timeline: Vec<Moment> = moments
        .filter_map(|(what, at)| Some(Moment { at: at?, what }))
        .collect();
    timeline.sort_by_key(|it| it.at); // Stable: of one time the order above.
    timeline
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_events_take_places_and_small_ones_do_not_wait_for_them() {
        let places = Semaphore::new(1);
        let taken = place(&places, 512).unwrap();
        assert!(taken.is_some());
        assert!(place(&places, FEW_TASKS + 1).is_err());
        assert!(place(&places, FEW_TASKS).unwrap().is_none());
        drop(taken);
        assert!(place(&places, 512).is_ok());
    }
}
