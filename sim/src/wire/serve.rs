//! One request: read, judge, play the fault, record, wait, answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::Request;
use http::request::Parts;
use tokio::time::{Instant, sleep_until};

use super::Disturbance;
use super::connection::{After, Connection};
use super::decide::{Decided, Manner, decide, unprocessed};
use super::send::send;
use crate::clock;
use crate::fingerprint::fingerprint;
use crate::ledger::{self, InFlight, ProviderKind, Verdict};
use crate::provider::{Judged, Judgement, Push, apns, verdict};
use crate::script::{Answer, Asked};

/// More than any provider reads.
const MAX_BODY: usize = 64 * 1024;

/// Counts a stream as active on its connection while it lives.
struct Active(Arc<Connection>);

impl Active {
    fn new(connection: &Arc<Connection>) -> Self {
        connection.n_active.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.n_active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a request is on its way, counted from its arrival.
struct Way {
    begun: Instant,
    there: Duration,
    whole: Duration,
}

impl Way {
    fn begin((there, whole): (Duration, Duration)) -> Self {
        Self {
            begun: Instant::now(),
            there,
            whole,
        }
    }

    async fn there(&self) {
        self.wait(self.there).await;
    }

    async fn back(&self) {
        self.wait(self.whole).await;
    }

    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            sleep_until(self.begun + time).await;
        }
    }
}

/// Dropping this future, as the end of the connection does, records the answer as lost if the
/// decision was recorded, and otherwise leaves no trace: the request was not processed.
pub(super) async fn serve(
    connection: Arc<Connection>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> After {
    let listener = &connection.listener;
    let mut flight = listener.world.ledger.enter();
    let _active = Active::new(&connection);
    let way = Way::begin(listener.latency.get().next());
    let stream = respond.stream_id().as_u32();
    let refuses = connection.refuses_more();

    let (head, body) = request.into_parts();
    let Ok(body) = read(body).await else {
        return After::Nothing;
    };
    way.there().await;
    if connection.last_stream.load(Ordering::Relaxed) < stream {
        return After::GoawayBelow(Some(respond));
    }
    let now_ms = clock::now().as_millisecond();
    let judged = match listener
        .double
        .judge(&head, &body, &connection.line, now_ms)
    {
        Judgement::Push(judged) => *judged,
        Judgement::Other(reply) => {
            send(&mut respond, reply, Manner::Plain).await;
            return After::Nothing;
        }
    };
    let credential = judged.credential.fingerprint;
    let Some((push, mut decided)) = decided(&connection, judged, refuses, now_ms) else {
        return After::Disturb(Disturbance::SilentDrop);
    };
    let received = Received {
        head: &head,
        body: &body,
        push: &push,
        stream,
        credential,
    };
    if let Err(error) = record(&connection, &mut flight, received, &decided) {
        tracing::error!(%error, "the ledger cannot be written, so nothing is accepted");
        decided = unprocessed(decided.reply, Manner::RefuseStream);
    }
    let is_last = connection.last_decided.fetch_max(stream, Ordering::Relaxed) < stream;
    if decided.manner.leaves_unprocessed() {
        flight.answered();
        if decided.manner == Manner::GoawayBelow {
            return below(&connection, respond, is_last.then_some(stream));
        }
        respond.send_reset(Reason::REFUSED_STREAM);
        return After::Nothing;
    }
    way.back().await;
    let is_cut = decided.manner == Manner::Then(Disturbance::Reset);
    if !is_cut && send(&mut respond, decided.reply, decided.manner).await {
        flight.answered();
    }
    decided.manner.after()
}

/// `None`: the connection falls silent.
fn decided(
    connection: &Connection,
    judged: Judged,
    refuses: bool,
    now_ms: i64,
) -> Option<(Push, Decided)> {
    if refuses {
        return Some((judged.push, unprocessed(judged.reply, Manner::RefuseStream)));
    }
    if judged.is_trusted {
        connection.trust();
    }
    let double = &connection.listener.double;
    let answer = scripted(connection, &judged, now_ms);
    let decided = decide(double, judged.reply, answer, &judged.push, now_ms)?;
    Some((judged.push, decided))
}

/// GOAWAY below `stream`. If a stream above it was processed already, GOAWAY cannot speak for this
/// one, and a reset does.
fn below(connection: &Connection, mut respond: SendResponse<Bytes>, stream: Option<u32>) -> After {
    if let Some(stream) = stream {
        // Client streams are odd: the one before.
        connection
            .last_stream
            .store(stream.saturating_sub(2), Ordering::Relaxed);
        return After::GoawayBelow(Some(respond));
    }
    let last = connection.last_decided.load(Ordering::Relaxed);
    connection.last_stream.store(last, Ordering::Relaxed);
    respond.send_reset(Reason::REFUSED_STREAM);
    After::GoawayBelow(None)
}

fn scripted(connection: &Connection, judged: &Judged, now_ms: i64) -> Option<Answer> {
    let world = &connection.listener.world;
    let number = world.n_requests.fetch_add(1, Ordering::Relaxed) + 1;
    if verdict(judged.reply.status) != Verdict::Accepted {
        return None;
    }
    world.script.take(&Asked {
        provider: connection.listener.double.kind(),
        app: &judged.push.app,
        token: &judged.push.token,
        event: judged.push.event.as_deref(),
        connection: connection.id,
        number,
        credential: judged.credential,
        now_ms,
    })
}

/// A request as the ledger wants it.
#[derive(Clone, Copy)]
struct Received<'a> {
    head: &'a Parts,
    body: &'a Bytes,
    push: &'a Push,
    stream: u32,
    credential: u64,
}

fn record(
    connection: &Connection,
    flight: &mut InFlight,
    received: Received<'_>,
    decided: &Decided,
) -> std::io::Result<()> {
    let push = received.push;
    let delivery = (push.token.as_str(), push.event.as_deref());
    let ledger = &connection.listener.world.ledger;
    let seq = ledger.record(decided.verdict, delivery, || {
        entry(connection, received, decided)
    })?;
    flight.recorded(seq);
    Ok(())
}

fn entry(connection: &Connection, received: Received<'_>, decided: &Decided) -> ledger::Request {
    let Received {
        head,
        body,
        push,
        stream,
        credential,
    } = received;
    let provider = connection.listener.double.kind();
    let kept = match provider {
        ProviderKind::Apns => apns::KEPT.as_slice(),
        ProviderKind::Fcm => &[],
    };
    let headers = kept.iter().filter_map(|name| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let path = head.uri.path();
    ledger::Request {
        seq: 0,
        at_us: 0,
        provider,
        app: push.app.clone(),
        conn: connection.id,
        stream,
        credential: (credential != 0).then(|| format!("{credential:016x}")),
        path: path
            .strip_suffix(push.token.as_str())
            .unwrap_or(path)
            .to_owned(),
        token: push.token.clone(),
        event: push.event.clone(),
        screen: push.screen.clone(),
        level: push.level.clone(),
        challenge: push.challenge.clone(),
        title: push.title.clone(),
        headers: headers.collect::<BTreeMap<_, _>>(),
        body_sha256: fingerprint(body, 8),
        body_bytes: body.len() as u64,
        status: decided.reply.status,
        reason: decided.reply.reason.clone(),
        verdict: decided.verdict,
        in_flight: 0,
        conn_in_flight: connection.n_active.load(Ordering::Relaxed),
    }
}

/// The body, whole or as far as it is allowed to go.
async fn read(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut whole = Bytes::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if whole.is_empty() {
            // Nearly always the only one: no copy.
            whole = piece;
        } else if whole.len() <= MAX_BODY {
            let mut both = BytesMut::from(whole);
            both.extend_from_slice(&piece);
            whole = both.freeze();
        }
    }
    Ok(whole)
}
