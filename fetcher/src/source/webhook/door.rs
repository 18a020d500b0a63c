//! The HTTP side of a source that is posted to.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{Fate, Posted, Proof};
use crate::clock;

/// Connections at once; more wait in the system's queue.
const CONNECTIONS: usize = 256;
/// How long a head, or a body, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a sender waits for its document's fate. Senders give up after 15 to 30 s themselves
/// (Standard Webhooks, "Deliverability").
const ANSWER: Duration = Duration::from_secs(14);
/// The pause after an accept that failed: out of descriptors, the next fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes documents in.
#[derive(Debug)]
pub(super) struct Door {
    path: String,
    proof: Proof,
    max_bytes: usize,
    posted: mpsc::Sender<Posted>,
}

impl Door {
    pub(super) fn new(
        source: &str,
        proof: Proof,
        max_bytes: usize,
        posted: mpsc::Sender<Posted>,
    ) -> Self {
        Self {
            path: format!("/v1/sources/{source}/items"),
            proof,
            max_bytes,
            posted,
        }
    }

    /// Serves until it is dropped, which ends its connections.
    pub(super) async fn serve(self, listener: TcpListener) {
        let door = Arc::new(self);
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            // The semaphore is never closed; were it, nobody would be served.
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let stream = tokio::select! {
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let door = Arc::clone(&door);
            connections.spawn(async move {
                door.converse(stream).await;
                drop(place);
            });
        }
    }

    async fn converse(&self, stream: TcpStream) {
        let answer = service_fn(async |request| Ok::<_, Infallible>(self.answer(request).await));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let status = self
            .judge(request)
            .await
            .err()
            .unwrap_or(StatusCode::ACCEPTED);
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = status;
        let told = match status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "POST")),
            _ => None,
        };
        if let Some((name, value)) = told {
            answer
                .headers_mut()
                .insert(name, http::HeaderValue::from_static(value));
        }
        answer
    }

    /// Takes a document in and waits for its fate.
    async fn judge(&self, request: Request<Incoming>) -> Result<(), StatusCode> {
        if request.uri().path() != self.path {
            return Err(StatusCode::NOT_FOUND);
        }
        if request.method() != Method::POST {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let (head, body) = request.into_parts();
        let body = timeout(PATIENCE, Limited::new(body, self.max_bytes).collect()).await;
        let body = body.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let document = body.map_err(|error| {
            let is_long = error.is::<http_body_util::LengthLimitError>();
            if is_long {
                StatusCode::PAYLOAD_TOO_LARGE
            } else {
                StatusCode::BAD_REQUEST
            }
        })?;
        let document = document.to_bytes();
        if !self.proof.holds(&head.headers, &document, clock::now()) {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let (send, fate) = oneshot::channel();
        let posted = Posted {
            document,
            fate: send,
        };
        // Full: the broker is away, or more comes than can be stored.
        let taken = self.posted.try_send(posted);
        taken.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        told(fate).await
    }
}

/// What the sender is told when the fate of its document is known, or has not come in time.
async fn told(fate: oneshot::Receiver<Fate>) -> Result<(), StatusCode> {
    match timeout(ANSWER, fate).await {
        Ok(Ok(Fate::Stored)) => Ok(()),
        Ok(Ok(Fate::Unreadable)) => Err(StatusCode::UNPROCESSABLE_ENTITY),
        // It may be stored yet; the same again is recognised.
        Ok(Err(_)) | Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_who_is_known_to_be_stored_is_told_so() {
        let check = async |fate: Option<Fate>, expected| {
            let (send, waiting) = oneshot::channel();
            if let Some(fate) = fate {
                send.send(fate).unwrap();
                assert_eq!(told(waiting).await, expected);
                return;
            }
            // Nobody says anything; then whoever should have is gone.
            assert_eq!(told(waiting).await, expected);
            let (send, waiting) = oneshot::channel();
            drop(send);
            assert_eq!(told(waiting).await, expected);
        };
        check(Some(Fate::Stored), Ok(())).await;
        check(
            Some(Fate::Unreadable),
            Err(StatusCode::UNPROCESSABLE_ENTITY),
        )
        .await;
        check(None, Err(StatusCode::SERVICE_UNAVAILABLE)).await;
    }
}
