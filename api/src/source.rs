//! `GET /v1/sources` and one of them: how far each is read, by whom, and an operator's pause.
//!
//! What fetchers stored is read by the API's own connection. What they count stands in their processes
//! alone: it is asked of them through the connection of operators, where there is one.

pub(crate) mod pause;

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::Broker;
use fanfare_nats::sources::SourceReport;
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::SourcePath;
use crate::call::{bounded, no_answer, unavailable};
use crate::clock;
use crate::page::{Listed, Page};
use crate::problem::{Kind, Problem};
use crate::router::{Api, SOURCES};

/// The role that reads sources.
const FETCHER: &str = "fetcher";

/// An upstream, by its configured name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub(crate) struct Shown {
    source: String,
    /// Until when an operator has paused it.
    paused_until: Option<Timestamp>,
    /// Its polled inputs, by their place in the configuration.
    cursors: Vec<Cursor>,
    /// Who holds the lease, if one fetcher at a time reads it.
    holder: Option<Holder>,
    /// The fetchers that are configured with it, by what they say of themselves; null where this
    /// process may not ask them.
    readers: Option<Vec<Reader>>,
}

/// How far an input is read.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceCursor)]
struct Cursor {
    input: usize,
    /// When everything up to here was known to be stored.
    advanced_at: Timestamp,
}

/// Who reads an exclusive source.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SourceHolder)]
struct Holder {
    node: String,
    host: String,
    since: Timestamp,
}

/// A fetcher.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SourceReader)]
struct Reader {
    node: String,
    host: String,
    /// When it last took in a poll or a frame completely.
    last_success: Option<Timestamp>,
    sockets_open: i64,
    is_paused: bool,
}

/// Every source that was ever begun.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/sources",
    operation_id = "listSources",
    description = "Those of a configuration that is not used any more are among them.",
    tag = "system",
    params(
        crate::page::Params,
    ),
    responses((
        status = 200,
        description = "By name",
        body = Listed<Shown>,
        headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page")),
    )),
)]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Response, Problem> {
    let shown = read(&api).await?;
    Ok(page.of(SOURCES, shown, |it: &Shown| it.source.clone()))
}

/// One source.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/sources/{source}",
    operation_id = "showSource",
    description = "As in the list.",
    tag = "system",
    params(("source" = String, Path, description = "Its configured name")),
    responses((status = 200, description = "The source", body = Shown)),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    SourcePath(name): SourcePath,
) -> Result<Response, Problem> {
    answer(&api, name.as_str()).await
}

/// The answer with one source.
async fn answer(api: &Api, name: &str) -> Result<Response, Problem> {
    let shown = read(api).await?.into_iter().find(|it| it.source == name);
    let shown = shown.ok_or_else(no_such_source)?;
    let private = [(CACHE_CONTROL, "private, no-cache")];
    Ok((private, axum::Json(shown)).into_response())
}

/// The refusal of a source that there is not.
pub(crate) fn no_such_source() -> Problem {
    Problem::new(Kind::NoSuchSource, "no fetcher ever began to read it")
}

async fn read(api: &Api) -> Result<Vec<Shown>, Problem> {
    let read = async {
        let reports = api.broker.sources(clock::now());
        let asked = async {
            match api.operating.broker() {
                Ok(broker) => Some(readers(broker).await),
                Err(_) => None,
            }
        };
        let (reports, readers) = tokio::join!(reports, asked);
        let reports = reports.map_err(|error| unavailable(&error))?;
        Ok((reports, readers))
    };
    let (reports, readers) = bounded(&api.broker, read, no_answer).await?;
    let shown = reports.into_iter().map(|it| shown(it, readers.as_ref()));
    Ok(shown.collect())
}

/// What every fetcher says of its sources; one that says nothing in time is left out.
async fn readers(broker: &Broker) -> BTreeMap<String, Vec<Reader>> {
    let mut readers: BTreeMap<String, Vec<Reader>> = BTreeMap::new();
    for (member, figures) in broker.figures(FETCHER).await {
        let sources = figures.get("sources").and_then(Value::as_object);
        for (source, told) in sources.into_iter().flatten() {
            let last_success = told.get("last_success").and_then(Value::as_str);
            let reader = Reader {
                node: member.node.clone(),
                host: member.host.clone(),
                last_success: last_success.and_then(|it| it.parse().ok()),
                sockets_open: told
                    .get("sockets_open")
                    .and_then(Value::as_i64)
                    .unwrap_or(0),
                is_paused: told
                    .get("is_paused")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            };
            readers.entry(source.clone()).or_default().push(reader);
        }
    }
    readers
}

fn shown(report: SourceReport, readers: Option<&BTreeMap<String, Vec<Reader>>>) -> Shown {
    let holder = report.lease.and_then(|it| it.holder).map(|it| Holder {
        node: it.node,
        host: it.host,
        since: it.since,
    });
    let cursors = report.cursors.into_iter();
    Shown {
        readers: readers.map(|it| it.get(&report.source).cloned().unwrap_or_default()),
        source: report.source,
        paused_until: report.pause.map(|it| it.until),
        cursors: cursors
            .map(|(input, advanced_at)| Cursor { input, advanced_at })
            .collect(),
        holder,
    }
}
