//! `POST /v1/devices/{id}/test` and `/v1/users/{user}/test`: what `fanfare push` does, for app
//! developers. An event like any other on a reserved topic, through the whole pipeline.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::event::{Content, SourceName};
use fanfare_nats::policy::{Policy, TopicPolicies, Wish};
use fanfare_nats::{Event, Level, Topic};
use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use utoipa::ToSchema;

use crate::access::Caller;
use crate::audit::About;
use crate::body::{DevicePath, OptionalJson, UserPath};
use crate::call::{bounded, no_answer};
use crate::clock;
use crate::device::{Found, find};
use crate::event::{self, Answer};
use crate::fields::{Fields, Flaw, Flaws};
use crate::problem::{Kind, Problem};
use crate::router::Api;
use crate::text;

/// The `CloudEvents` type of a test, that of `fanfare push` too.
const KIND: &str = "fanfare.push";
/// A test that comes an hour late helps nobody.
const EXPIRES_IN: Duration = Duration::from_hours(1);
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 2000;

/// What a test says; it is read by hand ([`read`]).
#[derive(ToSchema)]
#[schema(as = TestDocument)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct Document {
    /// The line in bold; without one it is `fanfare`.
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    /// The text below it; without one it says that this is a test.
    #[schema(min_length = 1, max_length = 2000)]
    body: Option<String>,
}

/// What a test says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    title: String,
    body: String,
}

/// Reads what a test says; without a document, something is said for it.
fn read(document: Option<Value>) -> Result<Said, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let document = document.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let said = Fields::open(document, "", &mut flaws).map(|mut fields| {
        let title = fields.optional("title", &mut flaws, |it| text::line(it, MAX_TITLE));
        let body = fields.optional("body", &mut flaws, |it| text::prose(it, MAX_BODY));
        fields.finish(&mut flaws);
        Said {
            title: title.unwrap_or_else(|| "fanfare".to_owned()),
            body: body.unwrap_or_else(|| "This is a test.".to_owned()),
        }
    });
    flaws.judge(said)
}

/// The event of a test, delivered as its topic is, but for the expiry.
fn test(said: Said, topic: Topic, policies: &TopicPolicies, now: Timestamp) -> Event {
    let wish = Wish {
        expires_in: Some(EXPIRES_IN),
        ..Wish::default()
    };
    let Policy {
        retry,
        expires_in,
        guarantee,
        urgency,
    } = policies.decide(wish, &[topic.written()]);
    let expires_in = SignedDuration::try_from(expires_in).ok();
    Event {
        source: SourceName::api(),
        item: topic
            .tenant()
            .text(&format!("test-{}", event::generated_id())),
        level: Level::First,
        topics: vec![topic],
        kind: KIND.to_owned(),
        occurred_at: Some(now),
        expires_at: expires_in
            .and_then(|it| now.checked_add(it).ok())
            .unwrap_or(now),
        urgency,
        guarantee,
        retry,
        digest: None,
        traceparent: None,
        content: Content {
            title: said.title,
            body: Some(said.body),
            ..Content::default()
        },
    }
}

/// Send a test to a device.
///
/// Dropping the future leaves it unknown whether it is sent; asked again, it is another test.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/test",
    operation_id = "testDevice",
    description = "A push to this device through the whole pipeline. What became of it is told by `GET /v1/events/{event}`. Each request is a test of its own.",
    tag = "devices",
    params(("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id")),
    request_body(content = Option<Document>, description = "What it says; without a body it says that it is a test"),
    responses((
        status = 201, description = "Its event is stored", body = Answer,
        headers(("Location" = String, description = "The event")),
    )),
)]
pub(crate) async fn to_device(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    OptionalJson(body): OptionalJson,
) -> Result<Response, Problem> {
    let said = read(body).map_err(Problem::fields)?;
    let found = bounded(&api.broker, find(&api.broker, &id), no_answer).await?;
    caller.may_touch(found.device())?;
    match found {
        Found::Device(_) => send(&api, said, Topic::of_device(&id)).await,
        // Nobody can send to a document that nobody can read.
        Found::Nothing | Found::Unreadable => Err(Problem::new(
            Kind::NoSuchDevice,
            "no device is registered by this id",
        )),
    }
}

/// Send a test to all devices of a user.
///
/// Dropping the future leaves it unknown whether it is sent; asked again, it is another test.
#[utoipa::path(
    post,
    path = "/v1/users/{user}/test",
    operation_id = "testUser",
    description = "A push to every device of this user, also to none: who the user is, is not asked. What became of it is told by `GET /v1/events/{event}`. Each request is a test of its own.",
    tag = "users",
    params((
        "user" = String, Path, min_length = 1, max_length = 128,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$",
        description = "The user, percent-encoded",
    )),
    request_body(content = Option<Document>, description = "What it says; without a body it says that it is a test"),
    responses((
        status = 201, description = "Its event is stored", body = Answer,
        headers(("Location" = String, description = "The event")),
    )),
)]
pub(crate) async fn to_user(
    State(api): State<Api>,
    UserPath(user): UserPath,
    OptionalJson(body): OptionalJson,
) -> Result<Response, Problem> {
    let said = read(body).map_err(Problem::fields)?;
    api.quotas.user(&user)?;
    send(&api, said, Topic::of_user(&user)).await
}

async fn send(api: &Api, said: Said, topic: Topic) -> Result<Response, Problem> {
    let event = test(said, topic, &api.topics, clock::now());
    let unknown = || {
        let detail = "the broker gave no final answer: the test may be on its way";
        Problem::new(Kind::BrokerUnavailable, detail)
    };
    let storing = event::store(&api.broker, &event, unknown);
    let (_created, _before) = bounded(&api.broker, storing, unknown).await?;
    let id = event.id();
    let mut response = (StatusCode::CREATED, axum::Json(Answer::of(&event, &id))).into_response();
    let about = About(vec![("event", id.to_string())]);
    response.extensions_mut().insert(about);
    if let Ok(location) = HeaderValue::try_from(format!("/v1/events/{id}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_says_what_it_is_told_to_and_something_else_without() {
        assert_eq!(read(None).unwrap().body, "This is a test.");
        let said = read(Some(json!({"title": "One", "body": "Two"}))).unwrap();
        assert_eq!((said.title.as_str(), said.body.as_str()), ("One", "Two"));
        for (wrong, pointer) in [
            (json!({"title": ""}), "/title"),
            (json!({"body": 1}), "/body"),
            (json!({"topics": ["a"]}), "/topics"),
            (json!([]), ""),
        ] {
            let flaws = read(Some(wrong)).unwrap_err();
            assert_eq!(flaws[0].pointer, pointer);
        }
    }

    #[test]
    fn two_tests_are_two_events_that_end_within_the_hour() {
        let made = || {
            let topic = Topic::of_user("ada");
            let said = read(None).unwrap();
            test(
                said,
                topic,
                &TopicPolicies::default(),
                Timestamp::UNIX_EPOCH,
            )
        };
        assert_ne!(made().id(), made().id());
        let hour = Timestamp::from_second(3600).unwrap();
        assert_eq!((made().expires_at, made().kind.as_str()), (hour, KIND));
    }
}
