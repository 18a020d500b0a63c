//! `GET /v1/devices/{id}/missed`: what this device's topics had since then, for apps that come back.
//!
//! Not what was delivered: an app that was away, or whose pushes the system swallowed, catches up
//! with what happened. Read from the stream of events, the newest first, as far as one request may
//! read; the cursor goes on from there.

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use fanfare_nats::story::read::StoredEvent;
use fanfare_nats::{Device, DeviceId, EventId};
use http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Found, find};
use crate::access::Caller;
use crate::body::DevicePath;
use crate::call::{LOOKING, bounded, no_answer, unavailable};
use crate::clock;
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::query::{self, Pairs, refuse};
use crate::router::Api;

/// The most events that are looked at for one page: about half a second of reading.
const MOST_PLACES: u64 = 2048;
/// They are looked at so many at a time.
const AT_A_TIME: u64 = 256;

/// Something that concerned the device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MissedEvent)]
pub(crate) struct Missed {
    /// The event's id.
    event: String,
    /// Who published it; `api` if it was posted.
    source: String,
    /// `first`, or the level that its item reached.
    level: String,
    /// Because of which topics it concerns the device.
    topics: Vec<String>,
    /// When it was stored.
    stored_at: Timestamp,
    /// When it happened, where its source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    occurred_at: Option<Timestamp>,
    /// After this nobody was told; it may be past.
    expires_at: Timestamp,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    image: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(required = false)]
    data: Map<String, Value>,
}

/// From where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// What was stored then or later.
    Time(Timestamp),
    /// What was stored behind this event.
    Event(EventId),
}

/// The part of the stream that a page looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// From this sequence on.
    from: u64,
    /// Up to this one, which does not belong to it.
    before: u64,
}

/// `?since=`, which the first page needs.
#[derive(Debug)]
pub(crate) struct SinceQuery(Option<Since>);

impl<S: Send + Sync> FromRequestParts<S> for SinceQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let query = Pairs::of(&parts.uri)?;
        query.get("since").map(Since::read).transpose().map(Self)
    }
}

impl Since {
    fn read(text: &str) -> Result<Self, Problem> {
        if let Some(event) = EventId::parse(text) {
            return Ok(Self::Event(event));
        }
        query::time(text)
            .map(Self::Time)
            .ok_or_else(|| refuse(SINCE))
    }
}

const SINCE: &str = "`since` is a time such as 2026-11-21T12:00:00Z, or the id of an event that the \
                     device got";

impl Range {
    /// What a cursor says.
    fn read(key: &str) -> Option<Self> {
        let (from, before) = key.split_once('-')?;
        Some(Self {
            from: from.parse().ok()?,
            before: before.parse().ok()?,
        })
    }

    /// The key of a cursor.
    fn key(self) -> String {
        format!("{}-{}", self.from, self.before)
    }
}

/// What a device's topics had since a time.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}/missed",
    operation_id = "listMissed",
    description = "Events that concern the device by its document as it is now, whether or not they were pushed, the newest first. A page may have fewer items than asked for, also none, and go on all the same: follow `next_cursor` to the end.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        ("since" = Option<String>, Query, example = "2026-11-21T12:00:00Z", description = "A time (RFC 3339), or the id of an event that the device got; needed without a cursor"),
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "The newest first",
        body = Listed<Missed>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is more")),
    )),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    SinceQuery(since): SinceQuery,
    page: Page,
) -> Result<Response, Problem> {
    let range = match (page.after(), since) {
        (Some(cursor), _) => {
            Err(Range::read(cursor).ok_or_else(|| refuse("`cursor` is none of this list's"))?)
        }
        (None, Some(since)) => Ok(since),
        (None, None) => return Err(refuse(SINCE)),
    };
    let read = async {
        let found = find(&api.broker, &id).await?;
        caller.may_touch(found.device())?;
        let Found::Device(stored) = found else {
            return Err(Problem::new(
                Kind::NoSuchDevice,
                "no device is registered by this id",
            ));
        };
        // Whoever comes back comes with everybody else: they take turns.
        let _place = api.catching_up.acquire().await;
        let range = match range {
            Ok(since) => begin(&api, &id, &stored.device, since).await?,
            Err(range) => range,
        };
        look(&api, &id, &stored.device, range, page.limit()).await
    };
    let (items, rest) = bounded(&api.broker, read, no_answer).await?;
    let address = format!("/v1/devices/{}/missed?", id.written());
    Ok(page.part(&address, items, rest.map(Range::key)))
}

/// Everything from `since` on.
async fn begin(api: &Api, id: &DeviceId, device: &Device, since: Since) -> Result<Range, Problem> {
    let broker = &api.broker;
    let held = broker.events_held().await;
    let Some((_, newest)) = held.map_err(|error| unavailable(&error))? else {
        return Ok(Range { from: 1, before: 1 });
    };
    let from = match since {
        Since::Time(since) => {
            let first = broker.first_event_at(since).await;
            first.map_err(|error| unavailable(&error))?
        }
        Since::Event(event) => {
            let found = broker
                .event_named(&id.tenant(), event.as_str(), clock::now())
                .await;
            let found = found.map_err(|error| unavailable(&error))?;
            // Of another's event it is not told whether it exists.
            let own = found.filter(|it| !device.topics_of(id, &it.stored.event).is_empty());
            own.ok_or_else(|| refuse(SINCE))?.stored.seq + 1
        }
    };
    Ok(Range {
        from,
        before: newest.saturating_add(1),
    })
}

/// Looks from the newest backwards, until a page is full or enough was looked at.
async fn look(
    api: &Api,
    id: &DeviceId,
    device: &Device,
    mut range: Range,
    limit: usize,
) -> Result<(Vec<Missed>, Option<Range>), Problem> {
    let mut items = Vec::new();
    let lowest = range.before.saturating_sub(MOST_PLACES).max(range.from);
    let begun = Instant::now();
    let mut is_end = range.before <= range.from;
    while !is_end && lowest < range.before && begun.elapsed() < LOOKING {
        let n_places = (range.before - lowest).min(AT_A_TIME);
        let stretch = api.broker.events_before(range.before, n_places).await;
        let stretch = stretch.map_err(|error| unavailable(&error))?;
        for stored in stretch.items {
            let seq = stored.seq;
            let Some(missed) = missed(id, device, stored) else {
                continue;
            };
            if items.len() == limit {
                range.before = seq + 1;
                return Ok((items, Some(range)));
            }
            items.push(missed);
        }
        range.before = stretch.next;
        is_end = stretch.is_end || range.before <= range.from;
    }
    Ok((items, (!is_end).then_some(range)))
}

/// What the device is told of an event, if it concerns it. A nonce is told by its push alone, and
/// challenges concern no device that is told anything.
fn missed(id: &DeviceId, device: &Device, stored: StoredEvent) -> Option<Missed> {
    let StoredEvent { at, event, .. } = stored;
    let topics = device.topics_of(id, &event);
    if topics.is_empty() || event.is_challenge() {
        return None;
    }
    Some(Missed {
        event: event.id().to_string(),
        source: event.source.to_string(),
        level: event.level.to_string(),
        topics: topics
            .into_iter()
            .map(|it| it.written().to_string())
            .collect(),
        stored_at: at,
        occurred_at: event.occurred_at,
        expires_at: event.expires_at,
        title: event.content.title,
        body: event.content.body,
        url: event.content.url,
        image: event.content.image,
        data: event.content.data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_or_an_event() {
        assert!(matches!(
            Since::read("2026-11-21T12:00:00Z"),
            Ok(Since::Time(_))
        ));
        let event = "0123456789abcdef0123456789abcdef";
        assert!(matches!(Since::read(event), Ok(Since::Event(_))));
        for wrong in ["", "yesterday", "2026-11-21", "12"] {
            assert!(Since::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_says_what_is_left() {
        let range = Range {
            from: 7,
            before: 900,
        };
        assert_eq!(range.key(), "7-900");
        assert_eq!(Range::read("7-900"), Some(range));
        for wrong in ["7", "7-", "a-b", "7-8-9", ""] {
            assert_eq!(Range::read(wrong), None, "{wrong:?}");
        }
    }
}
