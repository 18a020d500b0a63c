//! `GET /v1/events`: what was stored, by topic and time, the newest first.
//!
//! The stream knows events by source and item, not by topic: so a page is a bounded part of it that
//! was looked through, and may be short, or empty, with more behind it.

use axum::extract::State;
use axum::response::Response;
use fanfare_nats::story::read::StoryError;
use http::Uri;
use jiff::Timestamp;
use tokio::time::Instant;

use super::entry::Entry;
use super::wanted::Wanted;
use crate::access::Caller;
use crate::call::{LOOKING, bounded, no_answer, unavailable};
use crate::page::{Listed, Page, again};
use crate::problem::Problem;
use crate::query::Pairs;
use crate::router::{Api, EVENTS};

/// Events that one request looks at, whatever it finds: some tenths of a second.
const PLACES: u64 = 2048;
/// How many at a time.
const STEP: u64 = 128;

/// Events that were stored, the newest first.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "listEvents",
    description = "The newest first, by the time they were stored. A page is shorter than `limit`, or empty, where few \
        of the events that were looked through are wanted: as long as there is a `next_cursor`, there may be more.",
    tag = "events",
    params(
        ("topic" = Option<String>, Query, max_length = 200, example = "news.>",
         description = "Only events with a topic that this pattern matches; may be given several times"),
        ("since" = Option<String>, Query, format = DateTime, description = "Only events stored then or later (RFC 3339)"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only events stored before"),
        crate::page::Params,
    ),
    responses((status = 200, description = "A page", body = Listed<Entry>)),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    caller: Caller,
    page: Page,
    uri: Uri,
) -> Result<Response, Problem> {
    let pairs = Pairs::of(&uri)?;
    let wanted = Wanted::read(caller.tenant(), &pairs)?;
    let (since, until) = (pairs.time("since")?, pairs.time("until")?);
    let before = page.behind()?;
    let reading = async {
        let read = read(&api, &wanted, (since, until), before, page.limit()).await;
        read.map_err(|error| unavailable(&error))
    };
    let (events, next) = bounded(&api.broker, reading, no_answer).await?;
    let address = again(EVENTS, &uri, &["topic", "since", "until"]);
    Ok(page.part(&address, events, next.map(|it| it.to_string())))
}

/// A page, and before which sequence the next one begins.
async fn read(
    api: &Api,
    wanted: &Wanted,
    (since, until): (Option<Timestamp>, Option<Timestamp>),
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<Entry>, Option<u64>), StoryError> {
    let mut before = match (before, until) {
        (Some(before), _) => before,
        (None, Some(until)) => api.broker.first_event_at(until).await?,
        (None, None) => u64::MAX,
    };
    let lowest = match since {
        Some(since) => api.broker.first_event_at(since).await?,
        None => 0,
    };
    let (mut events, mut left) = (Vec::new(), PLACES);
    let begun = Instant::now();
    while left > 0 && begun.elapsed() < LOOKING {
        let stretch = api.broker.events_before(before, STEP.min(left)).await?;
        for stored in &stretch.items {
            if stored.seq < lowest {
                return Ok((events, None));
            }
            if wanted.holds(&stored.event.topics) {
                events.push(Entry::of(stored));
            }
            if events.len() == limit {
                return Ok((events, Some(stored.seq)));
            }
        }
        if stretch.is_end || stretch.next <= lowest {
            return Ok((events, None));
        }
        before = stretch.next;
        left = left.saturating_sub(STEP);
    }
    Ok((events, Some(before)))
}
