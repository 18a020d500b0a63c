//! `GET /v1/stream`: events as they are stored, and what became of them, as server-sent events.
//!
//! One task follows both streams for all readers of a process ([`follow`]), from the first reader to
//! the last, message by message as everything here is read, and keeps what was new in one [`Ring`]. A reader
//! is a position in it and no queue: it is asked for more when its socket takes more, so that a slow one
//! costs a position and holds nobody up. Whoever falls out of the ring is told so and ended; whoever
//! comes back with a position that the ring does not hold reads the streams until it does
//! ([`reader`]).
//!
//! An event comes before its receipts. A position is two sequences, of both streams, so that it means
//! the same to every process.

mod follow;
mod position;
mod reader;
mod ring;
mod tail;
mod told;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use fanfare_nats::{Broker, Tenant};
use futures::stream;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use self::position::Position;
use self::reader::{Asked, Reader};
use self::ring::Ring;
use self::tail::Topics;
use crate::access::{Access, Caller, Needs};
use crate::config::Config;
use crate::event::wanted::Wanted;
use crate::metric::Metrics;
use crate::problem::{Kind, Problem};
use crate::query::Pairs;
use crate::router::{Api, STREAM};

pub(crate) use self::follow::follow;

/// Readers that catch up from the streams at once; the others wait their turn.
const CATCHING_UP: usize = 4;

/// What all readers of a process share.
#[derive(Clone, Debug)]
pub(crate) struct Live(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    broker: Broker,
    access: Access,
    metrics: Metrics,
    stop: CancellationToken,
    /// Open while somebody reads.
    ring: Mutex<Option<Ring>>,
    /// Raised with each change of the ring.
    changed: watch::Sender<u64>,
    n_readers: watch::Sender<usize>,
    places: Arc<Semaphore>,
    catching_up: Semaphore,
    backlog: usize,
    /// Of which topics the latest events are, for their receipts.
    topics: Mutex<Topics>,
}

impl Live {
    /// Nobody reads yet.
    pub(crate) fn new(
        config: &Config,
        broker: Broker,
        access: Access,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> Self {
        Self(Arc::new(Shared {
            broker,
            access,
            metrics,
            stop,
            ring: Mutex::new(None),
            changed: watch::Sender::new(0),
            n_readers: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(config.max_streams)),
            catching_up: Semaphore::new(CATCHING_UP),
            backlog: config.stream_backlog,
            topics: Mutex::new(Topics::default()),
        }))
    }

    /// Looks at the ring, or changes it; never across an await.
    fn ring<T>(&self, look: impl FnOnce(&mut Option<Ring>) -> T) -> T {
        look(&mut self.0.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn topics<T>(&self, look: impl FnOnce(&mut Topics) -> T) -> T {
        look(&mut self.0.topics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self) {
        self.0.changed.send_modify(|it| *it = it.wrapping_add(1));
    }
}

/// Events and what becomes of them, as they happen.
#[utoipa::path(
    get,
    path = "/v1/stream",
    operation_id = "followStream",
    description = "Server-sent events. `event` is an event that was stored, as a list shows it; `receipt` is what \
        one receipt says of its devices, in numbers. A line of comment comes at least every 15 s. \
        Ends with `dropped` and a `reason` where the reader was too slow, its key ended, or its position is none \
        of these streams'; come back with the last `id` as `Last-Event-ID` and nothing is missed or repeated.",
    tag = "events",
    params(
        ("topic" = Option<String>, Query, max_length = 200, example = "news.>",
         description = "Only events with a topic that this pattern matches, and their receipts; may be given \
                        several times, any of them counts"),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,18})$",
         description = "The last `id` that was seen; without it the stream begins now"),
    ),
    responses((status = 200, description = "Until one side ends it", body = String, content_type = "text/event-stream")),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let asked = asked(parts, caller.tenant())?;
    let live = api.live.clone();
    let place = Arc::clone(&live.0.places).try_acquire_owned();
    let place = place.map_err(|_| {
        Problem::new(
            Kind::Overloaded,
            "as many streams are open as this process serves",
        )
    })?;
    let reader = Reader::new(live, asked, place);
    let frames = stream::unfold(reader, |mut reader| async {
        let frame = reader.next().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), reader))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        // Proxies of the kind of nginx gather answers otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// What the request asks for.
fn asked(mut parts: Parts, tenant: Tenant) -> Result<Asked, Problem> {
    let from = parts.headers.get("last-event-id").map(|it| {
        let position = it.to_str().ok().and_then(Position::parse);
        let detail = "`Last-Event-ID` is none of this API's";
        position.ok_or_else(|| Problem::new(Kind::InvalidRequest, detail))
    });
    let wanted = Wanted::read(tenant, &Pairs::of(&parts.uri)?)?;
    // What the layers know of the request is theirs; who asks is judged from its head again.
    parts.extensions = http::Extensions::new();
    Ok(Asked {
        from: from.transpose()?,
        wanted,
        needs: Needs::of_route(STREAM, &Method::GET),
        head: parts,
    })
}
