//! Connections to one provider endpoint: HTTP/2 over TLS, ours from the socket to the stream.
//!
//! Architecture invariant: nothing queues inside h2. A request is written only when its connection
//! has a free place below the peer's own limit, so "never sent" and "sent, no answer" stay
//! different answers.
//!
//! Architecture invariant: a request the peer did not process (failure before the write,
//! `REFUSED_STREAM`, `GOAWAY` with a lower last stream) cannot have been delivered, and is tried on
//! another connection at most [`MAX_UNPROCESSED`] times. Everything else after the write is
//! ambiguous, and never repeated here.
//!
//! Only HTTP/2 is spoken, over TLS with ALPN `h2`, or in clear text with prior knowledge towards
//! loopback. The one exception is [`once`], for the token endpoint.

mod connect;
mod drive;
pub(crate) mod endpoint;
mod fault;
mod keep;
pub(crate) mod once;
mod places;
pub(crate) mod tls;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Request, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use endpoint::{Endpoint, Proxy};
pub(crate) use fault::Fault;
use places::{Place, Places};

/// How often a request that was certainly not processed is written again.
pub const MAX_UNPROCESSED: u32 = 3;

/// Answers are read up to here; providers' are a few hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The pause before an unprocessed request is written again; it doubles. A peer that lowers its
/// limit refuses streams that crossed its SETTINGS on the way.
const UNPROCESSED_PAUSE: Duration = Duration::from_millis(5);

/// When connections are asked whether they still live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// A PING so often while streams are open. A silently dropped connection is not noticed
    /// otherwise: every push on it would time out.
    pub busy: Duration,
    /// A PING so often while none is (Apple asks for no more than hourly).
    pub idle: Duration,
    /// The connection is given up when its answer takes longer.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            busy: Duration::from_secs(30),
            idle: Duration::from_hours(1),
            timeout: Duration::from_secs(10),
        }
    }
}

/// How a pool reaches its endpoint.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) endpoint: Endpoint,
    pub(crate) proxy: Option<Proxy>,
    /// `None`: clear text.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// One connection attempt, from name to SETTINGS, ends here.
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: Keepalive,
}

/// Connections to one endpoint with one set of credentials.
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    way: Way,
    places: Places,
    /// Raised by whoever finds no free place; connections are opened for it.
    demand: watch::Sender<u64>,
    /// The last failure to connect while no connection was open or on its way.
    failed: watch::Sender<Cow<'static, str>>,
    stop: CancellationToken,
}

/// Which connection gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(u64);

/// A read answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// False when the body was cut off or too long; the status is certain all the same.
    pub(crate) is_complete: bool,
    pub(crate) connection: ConnectionId,
}

/// How far a request came.
enum Stage {
    Waiting,
    Written(ConnectionId),
    Answered(ConnectionId, StatusCode),
}

impl Pool {
    /// Starts `n_connections` keepers on `tasks`; they connect when the first request asks, and
    /// end when `stop` is cancelled and what is in flight has ended.
    pub(crate) fn open(
        way: Way,
        n_connections: usize,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let inner = Arc::new(Inner {
            way,
            places: Places::new(),
            demand: watch::Sender::new(0),
            failed: watch::Sender::new(Cow::Borrowed("")),
            stop,
        });
        for slot in 0..n_connections {
            tasks.spawn(keep::keep(slot, Arc::clone(&inner), tasks.clone()));
        }
        Self { inner }
    }

    /// The endpoint, for building requests.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.inner.way.endpoint
    }

    /// Takes a connection out of use: no new stream on it, a fresh one in its place.
    pub(crate) fn replace(&self, connection: ConnectionId) {
        self.inner.places.close(connection);
        self.inner.ask();
    }

    /// Writes a request and reads its answer before `deadline`, connecting first if need be.
    ///
    /// `head` is called once per write. Dropping this future resets the stream and leaves unknown
    /// whether the peer processed it.
    ///
    /// # Errors
    ///
    /// [`Fault`] says whether the request can have been processed.
    pub(crate) async fn exchange(
        &self,
        head: impl Fn() -> Request<()>,
        body: &Bytes,
        deadline: Instant,
    ) -> Result<Reply, Fault> {
        let mut stage = Stage::Waiting;
        let run = self.inner.run(&mut stage, head, body);
        if let Ok(ended) = tokio::time::timeout_at(deadline, run).await {
            return ended;
        }
        match stage {
            Stage::Waiting => Err(Fault::not_sent("no free stream in time")),
            Stage::Written(connection) => {
                self.inner.places.suspect(connection);
                Err(Fault::ambiguous("no answer in time"))
            }
            Stage::Answered(connection, status) => Ok(Reply {
                status,
                headers: HeaderMap::new(),
                body: Bytes::new(),
                is_complete: false,
                connection,
            }),
        }
    }
}

impl Inner {
    async fn run(
        &self,
        stage: &mut Stage,
        head: impl Fn() -> Request<()>,
        body: &Bytes,
    ) -> Result<Reply, Fault> {
        let mut refused_by = None;
        for n_refused in 0..=MAX_UNPROCESSED {
            if n_refused > 0 {
                tokio::time::sleep(UNPROCESSED_PAUSE * (1 << n_refused)).await;
            }
            let mut place = self.take(refused_by).await?;
            let connection = place.connection();
            let Ok((response, mut sending)) = place.send.send_request(head(), false) else {
                // The connection is over and its driver has not said so yet.
                self.places.close(connection);
                continue;
            };
            *stage = Stage::Written(connection);
            // An error here means that the stream has ended; the response tells how.
            let _ = sending.send_data(body.clone(), true);
            match response.await {
                Ok(answer) => {
                    *stage = Stage::Answered(connection, answer.status());
                    if answer.status().is_success() {
                        place.was_useful();
                    }
                    return Ok(read(answer, connection).await);
                }
                Err(error) if fault::is_unprocessed(&error) => {
                    *stage = Stage::Waiting;
                    refused_by = Some(connection);
                }
                Err(error) => return Err(fault::after_write(&error)),
            }
        }
        Err(Fault::not_sent("refused by the peer before processing"))
    }

    /// Takes a place below a connection's limit, waiting for one in order of arrival.
    async fn take(&self, avoid: Option<ConnectionId>) -> Result<Place<'_>, Fault> {
        loop {
            if self.places.try_reserve() {
                if let Some(place) = self.places.pick(avoid) {
                    return Ok(place);
                }
                continue;
            }
            let mut failed = self.failed.subscribe();
            self.ask();
            tokio::select! {
                biased;
                () = self.places.reserve() => {
                    if let Some(place) = self.places.pick(avoid) {
                        return Ok(place);
                    }
                }
                changed = failed.changed() => {
                    let why = failed.borrow().clone();
                    return Err(match changed {
                        Ok(()) => Fault::not_sent(why),
                        Err(_) => Fault::not_sent("pool closed"),
                    });
                }
                () = self.stop.cancelled() => return Err(Fault::not_sent("shutting down")),
            }
        }
    }

    fn ask(&self) {
        self.demand.send_modify(|n| *n = n.wrapping_add(1));
    }
}

async fn read(answer: http::Response<RecvStream>, connection: ConnectionId) -> Reply {
    let (parts, mut stream) = answer.into_parts();
    let (body, is_complete) = if stream.is_end_stream() {
        (Bytes::new(), true)
    } else {
        read_body(&mut stream).await
    };
    Reply {
        status: parts.status,
        headers: parts.headers,
        body,
        is_complete,
        connection,
    }
}

async fn read_body(stream: &mut RecvStream) -> (Bytes, bool) {
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let Ok(chunk) = chunk else {
            return (whole.freeze(), false);
        };
        // The window is given back at once; an error means that the stream has ended.
        let _ = stream.flow_control().release_capacity(chunk.len());
        if whole.len() + chunk.len() > MAX_ANSWER_BYTES {
            return (whole.freeze(), false);
        }
        if whole.is_empty() && stream.is_end_stream() {
            return (chunk, true);
        }
        whole.extend_from_slice(&chunk);
    }
    (whole.freeze(), true)
}
