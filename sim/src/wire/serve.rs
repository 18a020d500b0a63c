//! One request: read, judge, play the fault, record, wait, answer.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use ring::digest::{SHA256, digest};
use tokio::time::{Instant, sleep, sleep_until};

use super::Disturbance;
use super::connection::{After, Connection};
use crate::clock;
use crate::ledger::{self, InFlight, ProviderKind, Verdict};
use crate::provider::reply::Reply;
use crate::provider::{Judged, Judgement, Push, apns, verdict};
use crate::script::{Answer, Asked};

/// More than any provider reads.
const MAX_BODY: usize = 64 * 1024;
/// A piece of the body that never ends.
const ENDLESS_PIECE: usize = 1024;

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
    let delay = listener.latency.get().next();
    let answer_at = (!delay.is_zero()).then(|| Instant::now() + delay);
    let stream = respond.stream_id().as_u32();
    let refuses = connection.refuses_more();

    let (head, body) = request.into_parts();
    let Ok(body) = read(body).await else {
        return After::Nothing;
    };
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
    let mut decided = if refuses {
        unprocessed(judged.reply, Manner::RefuseStream)
    } else {
        if judged.is_trusted {
            connection.trust();
        }
        let answer = scripted(&connection, &judged, now_ms);
        match decide(&connection, judged.reply, answer, &judged.push, now_ms) {
            Some(decided) => decided,
            None => return After::Disturb(Disturbance::SilentDrop),
        }
    };
    let received = Received {
        head: &head,
        body: &body,
        push: &judged.push,
        stream,
    };
    if let Err(error) = record(&connection, &mut flight, received, &decided) {
        tracing::error!(%error, "the ledger cannot be written, so nothing is accepted");
        decided = unprocessed(decided.reply, Manner::RefuseStream);
    }
    let is_last = connection.last_decided.fetch_max(stream, Ordering::Relaxed) < stream;
    match decided.manner {
        Manner::RefuseStream => {
            respond.send_reset(Reason::REFUSED_STREAM);
            flight.answered();
            return After::Nothing;
        }
        Manner::GoawayBelow => {
            flight.answered();
            return below(&connection, respond, is_last.then_some(stream));
        }
        Manner::Plain
        | Manner::Slow { .. }
        | Manner::Endless
        | Manner::ResetStream(_)
        | Manner::Then(_) => {}
    }
    if let Some(answer_at) = answer_at {
        sleep_until(answer_at).await;
    }
    let manner = decided.manner;
    if manner == Manner::Then(Disturbance::Reset) {
        return After::Disturb(Disturbance::Reset);
    }
    if send(&mut respond, decided.reply, manner).await {
        flight.answered();
    }
    if let Manner::Then(disturbance) = manner {
        return After::Disturb(disturbance);
    }
    After::Nothing
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
    let sum = digest(&SHA256, body);
    ledger::Request {
        seq: 0,
        at_us: 0,
        provider,
        app: push.app.clone(),
        conn: connection.id,
        stream,
        path: path
            .strip_suffix(push.token.as_str())
            .unwrap_or(path)
            .to_owned(),
        token: push.token.clone(),
        event: push.event.clone(),
        screen: push.screen.clone(),
        level: push.level.clone(),
        title: push.title.clone(),
        headers: headers.collect::<BTreeMap<_, _>>(),
        body_sha256: sum
            .as_ref()
            .iter()
            .take(8)
            .map(|it| format!("{it:02x}"))
            .collect(),
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

