//! `/v1/devices/{id}/topics/{pattern}`: follow a pattern, or follow it no more, without sending the
//! whole document.
//!
//! Each is a compare-and-set on the device's document: read, changed, written at exactly the
//! revision that was read, and begun anew if another write came first. The token and its
//! `registered_at` stay as they are. What is so already is not written.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::bucket::Expect;
use fanfare_nats::device::MAX_SUBSCRIPTIONS;
use fanfare_nats::{Broker, Device, DeviceId, Pattern, Subscription, fail};
use http::header::ETAG;
use http::{HeaderMap, StatusCode};

use super::document::{self, schema};
use super::{Found, again_or, find, judge, preconditions, unknown_write};
use crate::access::Caller;
use crate::body::{OptionalJson, TopicPath};
use crate::call::bounded;
use crate::fields::Flaw;
use crate::precondition::{Preconditions, etag};
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Follow a pattern; afterwards the device follows it exactly once, with these filters.
///
/// Dropping the future leaves it unknown whether it is stored; the same request again settles it.
#[utoipa::path(
    put,
    path = "/v1/devices/{id}/topics/{pattern}",
    operation_id = "followTopic",
    description = "The rest of the document stays as it is, whoever else writes it at the same time. What is so already is not written, and keeps its revision.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        (
            "pattern" = String, Path, max_length = 200,
            description = "The pattern, percent-encoded: `quakes.%3E`",
        ),
        crate::precondition::Params,
    ),
    request_body(
        content = Option<schema::Topic>,
        description = "Filters; without a body there are none",
    ),
    responses(
        (
            status = 200, description = "It was followed already; with these filters now",
            body = document::Shown, headers(("ETag" = String, description = "The revision")),
        ),
        (
            status = 201, description = "It is followed now",
            body = document::Shown, headers(("ETag" = String, description = "The revision")),
        ),
    ),
)]
pub(crate) async fn put(
    State(api): State<Api>,
    caller: Caller,
    TopicPath(id, pattern): TopicPath,
    headers: HeaderMap,
    OptionalJson(body): OptionalJson,
) -> Result<Response, Problem> {
    let preconditions = preconditions(&headers)?;
    let filters = body.map_or(Ok(Vec::new()), document::filters);
    let filters = filters.map_err(Problem::fields)?;
    let wanted = Subscription { pattern, filters };
    let change = |device: &mut Device| {
        caller.may_follow(&wanted.pattern)?;
        follow(device, &wanted)
    };
    let unknown = || unknown_write(&preconditions);
    let changing = changed(&api.broker, &id, &caller, &preconditions, change);
    let changed = bounded(&api.broker, changing, unknown).await?;
    let status = match changed.change {
        Change::Added => StatusCode::CREATED,
        Change::Replaced | Change::Removed | Change::None => StatusCode::OK,
    };
    let shown = document::shown(&id, &changed.device);
    Ok((status, [(ETAG, etag(changed.revision))], axum::Json(shown)).into_response())
}

/// Follow a pattern no more; 204 also if it was not followed.
///
/// Dropping the future leaves it unknown whether it is stored; the same request again settles it.
#[utoipa::path(
    delete,
    path = "/v1/devices/{id}/topics/{pattern}",
    operation_id = "unfollowTopic",
    description = "All of the device's subscriptions by exactly this pattern end. The same request again is answered the same.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        (
            "pattern" = String, Path, max_length = 200,
            description = "The pattern as it is followed, percent-encoded",
        ),
        crate::precondition::Params,
    ),
    responses((
        status = 204, description = "It is not followed",
        headers(("ETag" = String, description = "The revision of the document")),
    )),
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    TopicPath(id, pattern): TopicPath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preconditions = preconditions(&headers)?;
    let change = |device: &mut Device| Ok(unfollow(device, &pattern));
    let unknown = || unknown_write(&preconditions);
    let changing = changed(&api.broker, &id, &caller, &preconditions, change);
    let changed = bounded(&api.broker, changing, unknown).await?;
    Ok((StatusCode::NO_CONTENT, [(ETAG, etag(changed.revision))]).into_response())
}

/// What a request made of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Added,
    Replaced,
    Removed,
}

pub(super) struct Changed {
    device: Device,
    pub(super) revision: u64,
    change: Change,
}

fn follow(device: &mut Device, wanted: &Subscription) -> Result<Change, Problem> {
    let subscriptions = device.asked_subscriptions_mut();
    let mut same = subscriptions
        .iter()
        .filter(|it| it.pattern == wanted.pattern);
    match (same.next(), same.next()) {
        (Some(only), None) if only == wanted => return Ok(Change::None),
        (None, _) if subscriptions.len() >= MAX_SUBSCRIPTIONS => {
            return Err(Problem::fields(vec![Flaw {
                pointer: String::new(),
                detail: format!("the device follows {MAX_SUBSCRIPTIONS} patterns already").into(),
            }]));
        }
        (None, _) => {
            subscriptions.push(wanted.clone());
            return Ok(Change::Added);
        }
        (Some(_), _) => {}
    }
    // The first keeps its place, others by the same pattern go.
    let mut is_first = true;
    subscriptions.retain_mut(|it| {
        if it.pattern != wanted.pattern {
            return true;
        }
        it.clone_from(wanted);
        std::mem::take(&mut is_first)
    });
    Ok(Change::Replaced)
}

fn unfollow(device: &mut Device, pattern: &Pattern) -> Change {
    let subscriptions = device.asked_subscriptions_mut();
    let n_before = subscriptions.len();
    subscriptions.retain(|it| it.pattern != *pattern);
    if subscriptions.len() == n_before {
        Change::None
    } else {
        Change::Removed
    }
}

pub(super) async fn changed(
    broker: &Broker,
    id: &DeviceId,
    caller: &Caller,
    preconditions: &Preconditions,
    change: impl Fn(&mut Device) -> Result<Change, Problem>,
) -> Result<Changed, Problem> {
    loop {
        let found = find(broker, id).await?;
        // First: a precondition tells what there is.
        caller.may_touch(found.device())?;
        judge(preconditions, &found)?;
        let stored = match found {
            Found::Device(stored) => stored,
            Found::Nothing => {
                return Err(Problem::new(
                    Kind::NoSuchDevice,
                    "no device is registered by this id",
                ));
            }
            Found::Unreadable => {
                return Err(Problem::new(
                    Kind::Internal,
                    "the stored document is not readable",
                ));
            }
        };
        let (mut device, revision) = (stored.device, stored.revision);
        let change = change(&mut device)?;
        let done = |device, revision| {
            Ok(Changed {
                device,
                revision,
                change,
            })
        };
        if change == Change::None {
            return done(device, revision);
        }
        fail::point("api.before-write");
        let expect = Expect::Revision(revision);
        match broker.put_device(id, &device, expect).await {
            Ok(revision) => {
                fail::point("api.written");
                return done(device, revision);
            }
            Err(error) => again_or(error, preconditions)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_nats::Token;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn subscription(pattern: &str, min: Option<f64>) -> Subscription {
        let filters = min.map_or(json!([]), |it| json!([{"field": "mag", "min": it}]));
        Subscription {
            pattern: Pattern::parse(pattern).unwrap(),
            filters: serde_json::from_value(filters).unwrap(),
        }
    }

    fn device(subscriptions: Vec<Subscription>) -> Device {
        Device {
            app: fanfare_nats::AppName::parse("ios").unwrap(),
            token: Token::parse("t").unwrap(),
            user: None,
            secret: None,
            locale: None,
            time_zone: None,
            subscriptions,
            registered_at: Timestamp::UNIX_EPOCH,
            last_seen: None,
            holding: fanfare_nats::device::Holding::default(),
            pending: None,
        }
    }

    #[test]
    fn a_pattern_is_followed_once_and_keeps_its_place() {
        let (plain, strong) = (subscription("q.>", None), subscription("q.>", Some(5.0)));
        let other = subscription("a", None);
        let mut it = device(vec![strong.clone(), other.clone(), plain.clone()]);
        assert_eq!(follow(&mut it, &plain).unwrap(), Change::Replaced);
        assert_eq!(it.subscriptions, [plain.clone(), other.clone()]);
        assert_eq!(follow(&mut it, &plain).unwrap(), Change::None);
        assert_eq!(follow(&mut it, &strong).unwrap(), Change::Replaced);
        assert_eq!(it.subscriptions, [strong, other]);
        let new = subscription("b", None);
        assert_eq!(follow(&mut it, &new).unwrap(), Change::Added);
        assert_eq!(unfollow(&mut it, &plain.pattern), Change::Removed);
        assert_eq!(unfollow(&mut it, &plain.pattern), Change::None);
        assert_eq!(it.subscriptions.len(), 2);
    }

    #[test]
    fn a_device_follows_so_many_patterns_and_no_more() {
        let patterns = (0..MAX_SUBSCRIPTIONS).map(|n| subscription(&format!("t{n}"), None));
        let mut it = device(patterns.collect());
        assert!(follow(&mut it, &subscription("more", None)).is_err());
        let known = subscription("t0", Some(1.0));
        assert_eq!(follow(&mut it, &known).unwrap(), Change::Replaced);
        assert_eq!(it.subscriptions.len(), MAX_SUBSCRIPTIONS);
    }
}
