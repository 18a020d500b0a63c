//! Who changed what: a record of every change, in the stream of the audit.
//!
//! Architecture invariant: a change is answered well when its record is stored, and not before.
//!
//! * The record is made when the handler has answered, because it says what came of it, and it is stored
//!   by one writer for the whole process (`writer.rs`), together with all others that wait: so it costs
//!   the time of one more write at the broker, and hardly more messages.
//! * Where it cannot be stored in time the answer is 503: the change stands, the same request again
//!   settles it, and the writer goes on trying. While it does, changes are refused before anything is
//!   done.
//! * What may have been done is recorded too: a broker that gave no final answer, time that was over, a
//!   client that hung up in the middle. Nobody waits for these. So nobody can change something and leave no
//!   trace by hanging up.
//! * A process that is killed takes with it what nobody was told of yet.
//!
//! A record names the key's id, the operation, what the path names, the status, the revision and the
//! request. It has no token, no secret and nothing of a body; nor the client's address, which behind a
//! proxy is the proxy's.

pub(crate) mod list;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fanfare_nats::audit::{Change, Who};
use fanfare_nats::{Broker, Tenant};
use http::Method;
use http::header::ETAG;
use http::request::Parts;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use self::writer::{LOST, STORED};

use self::writer::{Failing, Writer};
use crate::access::Caller;
use crate::clock;
use crate::layer::RequestId;
use crate::metric::Metrics;
use crate::openapi;
use crate::problem::{Kind, Problem};
use crate::router::SERVED;

/// How long a change waits for its record. With a body (5 s) and a broker (4 s) that take all the time
/// they may, it is about what a request has.
const PATIENCE: Duration = Duration::from_secs(2);
/// Records that wait for the broker: about a megabyte. While none are stored, no more come.
const ROOM: usize = 4096;

/// On an answer: what was changed besides what the path names, by kind. What is called `id` is told
/// again where the same request would be another one without it.
#[derive(Clone, Debug)]
pub(crate) struct About(pub(crate) Vec<(&'static str, String)>);

/// On an answer: nothing was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NothingChanged;

/// Takes records. Each request clones it, so it is one pointer.
#[derive(Clone, Debug)]
pub(crate) struct Audit(Arc<Taker>);

#[derive(Debug)]
struct Taker {
    queue: mpsc::Sender<Item>,
    is_failing: Failing,
    metrics: Metrics,
    /// What changes something: path, method, and the operation's id.
    operations: Vec<(&'static str, &'static str, String)>,
}

/// Whose a change is, and the change.
type Record = (Tenant, Change);

/// A record under way, and whoever waits for it.
#[derive(Debug)]
struct Item {
    record: Record,
    stored: oneshot::Sender<()>,
}

impl Audit {
    /// The place where records are taken, and what stores them.
    fn new(metrics: Metrics) -> (Self, Writer) {
        let (queue, handed_over) = mpsc::channel(ROOM);
        let is_failing = Failing::default();
        let writer = Writer::new(handed_over, is_failing.clone(), metrics.clone());
        let changes = SERVED.iter().filter(|it| it.is_change);
        let operations = changes.filter_map(|it| {
            let id = openapi::operation_id(it.route, it.method)?;
            Some((it.route, it.method, id))
        });
        let taker = Taker {
            queue,
            is_failing,
            metrics,
            operations: operations.collect(),
        };
        (Self(Arc::new(taker)), writer)
    }

    /// Who asks for which change; nothing where nothing can change.
    async fn asked(&self, parts: &mut Parts) -> Option<Record> {
        let path = parts.extensions.get::<MatchedPath>()?.clone();
        let method = &parts.method;
        let mut operations = self.0.operations.iter();
        let (route, _, what) =
            operations.find(|(route, it, _)| *route == path.as_str() && method == *it)?;
        let mut of = BTreeMap::new();
        if let Ok(named) = RawPathParams::from_request_parts(parts, &()).await {
            let named = named.iter();
            of.extend(named.map(|(place, name)| (kind(route, place).to_owned(), name.to_owned())));
        }
        let caller = parts.extensions.get::<Caller>()?;
        let change = Change {
            at: clock::now(),
            who: who(caller),
            what: what.clone(),
            of,
            status: None,
            revision: None,
            request: parts.extensions.get::<RequestId>().map(|it| it.0.clone()),
        };
        Some((caller.tenant(), change))
    }

    /// Hands over a record that nobody waits for.
    fn leave(&self, record: Record) {
        let (stored, _nobody) = oneshot::channel();
        let item = Item { record, stored };
        if self.0.queue.try_send(item).is_err() {
            self.0.metrics.audited(LOST, 1);
            tracing::info!("nobody will know of a change that may have been made: too many wait");
        }
    }
}

/// Adds what came of it.
fn answered(change: &mut Change, response: &Response) {
    if let Some(About(about)) = response.extensions().get::<About>() {
        let about = about.iter();
        change
            .of
            .extend(about.map(|(kind, name)| ((*kind).to_owned(), name.clone())));
    }
    let revision = response.headers().get(ETAG);
    let revision = revision.and_then(|it| it.to_str().ok());
    change.revision = revision.map(|it| it.trim_matches('"').to_owned());
    change.status = Some(response.status().as_u16());
    change.at = clock::now();
}

/// What a place of a path names: `{id}` below `/v1/devices` is a device.
fn kind<'a>(route: &str, place: &'a str) -> &'a str {
    match place {
        "id" if route.starts_with("/v1/devices") => "device",
        place => place,
    }
}

fn who(caller: &Caller) -> Who {
    match caller {
        Caller::Anyone => Who::Anyone,
        Caller::Key(key) => Who::Key {
            id: key.id.to_string(),
        },
        Caller::Device(_) => Who::Device,
    }
}

/// A change that was asked for and has no record yet: whoever drops it leaves one that says so.
struct UnderWay {
    audit: Audit,
    record: Option<Record>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.audit.leave(record);
        }
    }
}

impl UnderWay {
    /// The answer that may be given.
    async fn answered(mut self, response: Response) -> Response {
        let fate = Fate::of(&response);
        if let Some((_, change)) = &mut self.record {
            answered(change, &response);
        }
        match fate {
            Fate::Untouched => {
                self.record = None;
                response
            }
            Fate::Unknown => response,
            Fate::Changed => match timeout(PATIENCE, self.stored()).await {
                Ok(Some(())) => response,
                Ok(None) | Err(_) => not_recorded(&response).into_response(),
            },
        }
    }

    /// Waits until the record is stored; `None` if it never will.
    ///
    /// Dropping the future leaves the record.
    async fn stored(&mut self) -> Option<()> {
        let queue = self.audit.0.queue.clone();
        let place = queue.reserve().await.ok()?;
        let (stored, known) = oneshot::channel();
        place.send(Item {
            record: self.record.take()?,
            stored,
        });
        known.await.ok()
    }
}

/// What an answer says of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was done.
    Changed,
    /// It may have been done.
    Unknown,
    /// It was not done.
    Untouched,
}

impl Fate {
    fn of(response: &Response) -> Self {
        let status = response.status();
        if status.is_success() {
            return match response.extensions().get::<NothingChanged>() {
                Some(_) => Self::Untouched,
                None => Self::Changed,
            };
        }
        let is_open = match response.extensions().get::<Problem>() {
            Some(problem) => problem.leaves_open(),
            None => status.is_server_error(),
        };
        if is_open {
            Self::Unknown
        } else {
            Self::Untouched
        }
    }
}

/// It is done, and must not be acknowledged.
fn not_recorded(response: &Response) -> Problem {
    let problem = Problem::new(
        Kind::BrokerUnavailable,
        "it is done, but the record of it is not known to be stored; send the same request again",
    );
    let about = response.extensions().get::<About>();
    let mut names = about.into_iter().flat_map(|About(it)| it);
    match names.find(|(kind, _)| *kind == "id") {
        Some((_, id)) => problem.with("id", id.as_str()),
        None => problem,
    }
}

/// The place where records are taken, if they are to be, and what stores them: it ends when nobody can
/// hand one over any more, which is after the last answer.
pub(crate) fn keep(
    is_wanted: bool,
    broker: &Broker,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> (Option<Audit>, impl Future<Output = ()> + use<>) {
    let (audit, writer) = is_wanted.then(|| Audit::new(metrics.clone())).unzip();
    let (broker, stop) = (broker.clone(), stop.clone());
    let kept = async move {
        if let Some(writer) = writer {
            writer.run(broker, stop).await;
        }
    };
    (audit, kept)
}

/// Keeps a record of every request that changed something, or may have.
pub(crate) async fn record(State(audit): State<Audit>, request: Request, next: Next) -> Response {
    if *request.method() == Method::GET {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let asked = audit.asked(&mut parts).await;
    let request = Request::from_parts(parts, body);
    let Some(record) = asked else {
        return next.run(request).await;
    };
    if audit.0.is_failing.now() {
        let detail = "what is changed cannot be recorded at the moment; nothing was stored";
        return Problem::new(Kind::BrokerUnavailable, detail).into_response();
    }
    let under_way = UnderWay {
        audit,
        record: Some(record),
    };
    let response = next.run(request).await;
    under_way.answered(response).await
}

#[cfg(test)]
mod tests;
