//! `POST /v1/events`: an app's own event.
//!
//! The item is the client's id, so whoever posts the same thing twice stores it once: the first is
//! answered 201, the same content again 200, other content under the same id 409.

mod digest;
pub(crate) mod document;
pub(crate) mod entry;
pub(crate) mod list;
pub(crate) mod shown;
pub(crate) mod wanted;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::event::Event;
use fanfare_nats::post::{PostEventError, Posted};
use fanfare_nats::publish::PublishEventError;
use fanfare_nats::tenant::written_path;
use fanfare_nats::{Broker, EventId, Topic, fail};
use http::{HeaderMap, StatusCode};
use rand::Rng;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::audit::About;
use crate::body::Json;
use crate::call::{bounded, refused};
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// The `CloudEvents` type of posted events.
const POSTED: &str = "fanfare.event.posted";

/// What the poster learns.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PostedEvent)]
pub(crate) struct Answer<'a> {
    /// What its poster calls it.
    id: &'a str,
    /// The event's id.
    event: &'a str,
    topics: Vec<&'a str>,
    /// After this nobody is told.
    expires_at: jiff::Timestamp,
}

impl<'a> Answer<'a> {
    /// What is told of an event that is stored; its id is the event's own.
    pub(crate) fn of(event: &'a Event, id: &'a EventId) -> Self {
        Self {
            id: event.written_item(),
            event: id.as_str(),
            topics: event.topics.iter().map(written_topic).collect(),
            expires_at: event.expires_at,
        }
    }
}

/// Post an event, stored once by its id.
///
/// Dropping the future leaves it unknown whether the event is stored; the same request again, with
/// the same id, settles it.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "postEvent",
    description = "The first post of an id is answered 201, the same content again 200, other content 409. After a 503 send the same again, with the `id` that the answer names.",
    tag = "events",
    params((
        "Idempotency-Key" = Option<String>, Header, pattern = r#"^("([ !#-\[\]-~]|\\["\\]){1,200}"|[!#-~][ -~]{0,199})$"#,
        description = "The event's `id`, as a quoted string; the same as in the document if both \
                       are given",
    )),
    request_body(content = document::schema::Document),
    responses(
        (status = 201, description = "Stored", body = Answer),
        (status = 200, description = "The same was stored before", body = Answer),
    ),
)]
pub(crate) async fn post(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    let key = document::idempotency_key(&headers).map_err(|unreadable| {
        Problem::new(
            Kind::InvalidRequest,
            format!("`Idempotency-Key` {unreadable}"),
        )
    })?;
    let posted = document::read(body, key).map_err(Problem::fields)?;
    let traceparent = document::traceparent(&headers);
    let chosen = posted.id.clone();
    let id = chosen.clone().unwrap_or_else(generated_id);
    let tenant = caller.tenant();
    let event = posted.into_event(&id, traceparent, &api.topics, &tenant, clock::now());
    caller.may_publish(&event.topics)?;

    let unknown = || {
        let problem = Problem::new(
            Kind::BrokerUnavailable,
            "the broker gave no final answer: the event may be stored. Send the same content with \
             the same `id` again, it is stored once",
        );
        // Without the id that was made up here, a second try would be a second event.
        problem.with("id", event.written_item())
    };
    let (status, stored) =
        bounded(&api.broker, store(&api.broker, &event, unknown), unknown).await?;
    let stored = stored.as_ref().unwrap_or(&event);
    let event_id = stored.id();
    let answer = Answer::of(stored, &event_id);
    let item = stored.written_item().to_owned();
    let about = About(vec![("event", event_id.to_string()), ("id", item)]);
    let mut response = (status, axum::Json(answer)).into_response();
    response.extensions_mut().insert(about);
    Ok(response)
}

/// 201 for what this call stored; 200 with what was stored before.
pub(crate) async fn store(
    broker: &Broker,
    event: &Event,
    unknown: impl FnOnce() -> Problem,
) -> Result<(StatusCode, Option<Event>), Problem> {
    fail::point("api.before-write");
    let posted = broker.post(event).await;
    fail::point("api.written");
    match posted {
        Ok(Posted::New) => Ok((StatusCode::CREATED, None)),
        Ok(Posted::Before(before)) if before.digest == event.digest => {
            Ok((StatusCode::OK, Some(*before)))
        }
        // One that cannot be read is not the one that is posted, and it holds the id.
        Ok(Posted::Before(_)) | Err(PostEventError::Decode(_)) => Err(Problem::new(
            Kind::EventExists,
            "an event with other content was posted by this id: choose another id",
        )),
        Err(PostEventError::Publish(error @ PublishEventError::Refused { .. })) => {
            Err(refused(&error))
        }
        Err(
            error @ (PostEventError::Publish(PublishEventError::Unknown { .. })
            | PostEventError::Read(_)
            | PostEventError::NotFound),
        ) => {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "event with unknown fate");
            Err(unknown())
        }
    }
}

/// A topic as its tenant writes it.
fn written_topic(topic: &Topic) -> &str {
    written_path(topic.as_str())
}

/// An id for an event that its poster did not name.
pub(crate) fn generated_id() -> String {
    format!("{:032x}", rand::rng().random::<u128>())
}
