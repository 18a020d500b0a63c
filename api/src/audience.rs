//! `POST /v1/topics/audience`: who would get this? Nothing is stored and nothing is sent.

pub(crate) mod schema;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::index::{Index, Listener};
use fanfare_nats::policy::Wish;
use fanfare_nats::tenant::written_path;
use fanfare_nats::{DeviceHash, Lane, Topic, Urgency};
use http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::access::Caller;
use crate::body::Json;
use crate::event::document::{data, topics, urgency};
use crate::fields::{Fields, Flaw, Flaws};
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// The most patterns that are named.
const MAX_PATTERNS: usize = 200;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    topics: Vec<Topic>,
    data: Map<String, Value>,
    urgency: Option<Urgency>,
}

/// Who would get it.
#[derive(Debug, Serialize, ToSchema)]
struct Audience {
    /// In all.
    devices: u64,
    /// The same by lane; lanes without devices are left out.
    lanes: Vec<LaneAudience>,
    /// The patterns by which they follow it, at most 200. Filters were looked at.
    patterns: Vec<String>,
    /// How many there are.
    n_patterns: usize,
    #[serde(flatten)]
    page: Listed<Device>,
}

/// An app at one urgency.
#[derive(Debug, Serialize, ToSchema)]
struct LaneAudience {
    /// Its name, `<app>-<urgency>`.
    lane: String,
    app: String,
    /// `urgent` or `bulk`.
    urgency: &'static str,
    devices: u64,
}

/// A device that would get it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AudienceDevice)]
struct Device {
    id: String,
    app: String,
    #[serde(skip)]
    key: String,
}

/// Who would get an event like this: counted as a notifier counts it, by what is registered now.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    post,
    path = "/v1/topics/audience",
    operation_id = "askAudience",
    description = "A dry run. Devices whose token belongs to a later device by now would get nothing and are not counted. The devices come in pages, in an order that no update changes; the counts are of all.",
    tag = "topics",
    params(
        crate::page::Params,
    ),
    request_body(content = schema::Document),
    responses((status = 200, description = "Who would get it", body = Audience)),
)]
pub(crate) async fn ask(
    State(api): State<Api>,
    caller: Caller,
    page: Page,
    Json(body): Json,
) -> Result<Response, Problem> {
    let mut asked = read(body).map_err(Problem::fields)?;
    let wish = Wish {
        urgency: asked.urgency,
        ..Wish::default()
    };
    let urgency = api.topics.decide(wish, &asked.topics).urgency;
    let tenant = caller.tenant();
    for topic in &mut asked.topics {
        *topic = tenant.topic(topic);
    }
    let from = beginning(&page)?;
    let look = move |index: &Index| audience(index, &asked, urgency, from, &page);
    let audience = api.known.ask(&api.broker, &api.readings, look).await?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(audience)).into_response())
}

/// Reads a question.
///
/// # Errors
/// All fields that are not valid.
pub(crate) fn read(body: Value) -> Result<Asked, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let asked = Fields::open(body, "", &mut flaws).map(|mut fields| {
        let asked = Asked {
            topics: topics(&mut fields, &mut flaws),
            data: data(&mut fields, &mut flaws),
            urgency: urgency(&mut fields, "priority", &mut flaws),
        };
        fields.finish(&mut flaws);
        asked
    });
    flaws.judge(asked)
}

/// Behind the device whose hash is the cursor.
fn beginning(page: &Page) -> Result<DeviceHash, Problem> {
    let Some(after) = page.after() else {
        return Ok(DeviceHash(0));
    };
    let next = DeviceHash::parse(after).map(|it| DeviceHash(it.0.saturating_add(1)));
    next.ok_or_else(|| {
        Problem::new(
            Kind::InvalidRequest,
            "`cursor` is none of this question's answers",
        )
    })
}

fn audience(
    index: &Index,
    asked: &Asked,
    urgency: Urgency,
    from: DeviceHash,
    page: &Page,
) -> Audience {
    let interest = index.interest_in(&asked.topics, &asked.data);
    let counts = index.count(&interest).into_iter().filter(|(_, n)| *n > 0);
    let mut lanes: Vec<LaneAudience> = counts
        .map(|(app, devices)| LaneAudience {
            app: app.to_string(),
            lane: Lane { app, urgency }.to_string(),
            urgency: urgency.as_str(),
            devices,
        })
        .collect();
    lanes.sort_by(|one, other| one.lane.cmp(&other.lane));
    let patterns = index.patterns_of(&interest);
    let listeners = index.listeners(&interest, from, page.limit() + 1);
    Audience {
        devices: lanes.iter().map(|it| it.devices).sum(),
        lanes,
        n_patterns: patterns.len(),
        patterns: patterns
            .into_iter()
            .take(MAX_PATTERNS)
            .map(|it| written_path(it).to_owned())
            .collect(),
        page: page.cut(listeners.into_iter().map(shown).collect(), |it| {
            it.key.clone()
        }),
    }
}

fn shown(listener: Listener) -> Device {
    Device {
        key: listener.id.hash().to_string(),
        id: listener.id.written().to_owned(),
        app: listener.app.to_string(),
    }
}
