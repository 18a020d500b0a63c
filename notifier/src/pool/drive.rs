//! The driver of one connection: moves its frames, follows the peer's limit, hears GOAWAY, asks
//! with PING whether the peer is still there.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, Sleep};

use super::connect::Wire;
use super::{ConnectionId, Inner, Keepalive};

/// A connection out of use is dropped after this at the latest: longer than any attempt.
const DRAIN: Duration = Duration::from_secs(15);

enum Step {
    /// The connection is over.
    Ended(Result<(), h2::Error>),
    /// The peer wants no new streams.
    GoingAway,
    /// A request had no answer, or the pool took the connection out of use.
    Suspected,
    /// Time for a PING, or its answer is overdue.
    Due,
    /// The peer answered a PING.
    Pong,
    /// The pool is being stopped.
    Stopped,
}

/// Drives one connection to its end. Says through `ended` when it went out of use, and whether it
/// was carrying streams then.
pub(super) async fn drive(
    mut connection: Connection<Wire, Bytes>,
    send: SendRequest<Bytes>,
    id: ConnectionId,
    limit: usize,
    suspicion: &Notify,
    pool: &Inner,
    ended: oneshot::Sender<bool>,
) {
    let mut heart = Heart::new(connection.ping_pong(), pool.way.keepalive);
    let mut watch = Watch {
        send: Some(send),
        id,
        limit,
    };
    let outcome = loop {
        let step = tokio::select! {
            biased;
            step = poll_fn(|cx| watch.poll(&mut connection, pool, cx)) => step,
            () = suspicion.notified() => Step::Suspected,
            step = heart.beat() => step,
            () = pool.stop.cancelled() => Step::Stopped,
        };
        match step {
            Step::Ended(outcome) => {
                let was_busy = pool.places.n_in_flight(id).is_some_and(|n| n > 0);
                let _ = ended.send(was_busy);
                break outcome;
            }
            Step::GoingAway | Step::Stopped => {
                let was_busy = pool.places.n_in_flight(id).is_some_and(|n| n > 0);
                let _ = ended.send(was_busy);
                break drain(&mut connection, &mut watch, pool).await;
            }
            Step::Suspected if pool.places.n_in_flight(id).is_none() => {
                let _ = ended.send(true);
                break drain(&mut connection, &mut watch, pool).await;
            }
            Step::Suspected => heart.ping(),
            Step::Due => {
                if heart.is_overdue() {
                    tracing::info!(endpoint = %pool.way.endpoint, "provider does not answer PING");
                    let _ = ended.send(true);
                    break Ok(());
                }
                heart.tick(pool.places.n_in_flight(id).unwrap_or(0));
            }
            Step::Pong => heart.answered(),
        }
    };
    pool.places.close(id);
    if let Err(error) = outcome {
        // GOAWAY carries the provider's reason as debug data; no frame of ours is quoted in it.
        tracing::debug!(endpoint = %pool.way.endpoint, %error, "connection to provider ended");
    }
}

/// No new streams; what is in flight ends by its own deadline. h2 says goodbye after the last.
async fn drain(
    connection: &mut Connection<Wire, Bytes>,
    watch: &mut Watch,
    pool: &Inner,
) -> Result<(), h2::Error> {
    pool.places.close(watch.id);
    watch.send = None;
    match tokio::time::timeout(DRAIN, connection).await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

/// Looks at the connection after every poll.
struct Watch {
    /// Kept for its view of the connection's state; without it h2 closes an idle connection.
    send: Option<SendRequest<Bytes>>,
    id: ConnectionId,
    limit: usize,
}

impl Watch {
    fn poll(
        &mut self,
        connection: &mut Connection<Wire, Bytes>,
        pool: &Inner,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Step> {
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(Step::Ended(ended));
        }
        let limit = connection.max_concurrent_send_streams();
        if limit != self.limit {
            self.limit = limit;
            pool.places.set_limit(self.id, limit);
        }
        // h2 has no event for GOAWAY; a sender that may send nothing more is its only sign.
        match self.send.as_mut().map(|it| it.poll_ready(cx)) {
            Some(Poll::Ready(Err(_))) => Poll::Ready(Step::GoingAway),
            Some(Poll::Ready(Ok(())) | Poll::Pending) | None => Poll::Pending,
        }
    }
}

/// PING and its answers.
struct Heart {
    pings: Option<PingPong>,
    keepalive: Keepalive,
    timer: Pin<Box<Sleep>>,
    last_sign: Instant,
    overdue_at: Option<Instant>,
}

impl Heart {
    fn new(pings: Option<PingPong>, keepalive: Keepalive) -> Self {
        let timer = Box::pin(tokio::time::sleep(keepalive.busy));
        Self {
            pings,
            keepalive,
            timer,
            last_sign: Instant::now(),
            overdue_at: None,
        }
    }

    async fn beat(&mut self) -> Step {
        let is_waiting = self.overdue_at.is_some();
        let (pings, timer) = (&mut self.pings, &mut self.timer);
        poll_fn(|cx| {
            if let Some(pings) = pings.as_mut().filter(|_| is_waiting)
                && let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
            {
                return Poll::Ready(Step::Pong);
            }
            timer.as_mut().poll(cx).map(|()| Step::Due)
        })
        .await
    }

    fn ping(&mut self) {
        if self.overdue_at.is_some() {
            return;
        }
        let sent = self.pings.as_mut().map(|it| it.send_ping(Ping::opaque()));
        if let Some(Ok(())) = sent {
            let at = Instant::now() + self.keepalive.timeout;
            self.overdue_at = Some(at);
            self.timer.as_mut().reset(at);
        }
    }

    fn is_overdue(&self) -> bool {
        self.overdue_at.is_some_and(|at| at <= Instant::now())
    }

    fn tick(&mut self, n_in_flight: usize) {
        self.timer
            .as_mut()
            .reset(Instant::now() + self.keepalive.busy);
        if n_in_flight > 0 || self.last_sign.elapsed() >= self.keepalive.idle {
            self.ping();
        }
    }

    fn answered(&mut self) {
        self.overdue_at = None;
        self.last_sign = Instant::now();
        self.timer
            .as_mut()
            .reset(Instant::now() + self.keepalive.busy);
    }
}
