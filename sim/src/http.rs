//! The plain HTTP/1.1 listener: control, the token endpoint, the feeds.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use crate::clock;
use crate::control;
use crate::provider::reply::Reply;
use crate::sim::Inside;
use crate::upstream::faults::FeedFault;
use crate::upstream::rest::{self, Cut, spoilt};
use crate::upstream::{Opening, handshake, serve_socket};

/// No request of ours is larger.
const MAX_BODY: usize = 1 << 20;

/// A body of any kind; an error in it cuts the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The HTTP listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen for HTTP")]
pub struct HttpError(#[source] io::Error);

/// A bound listener: its port must be known before what it serves is made.
pub(crate) struct Bound {
    pub(crate) address: SocketAddr,
    listener: std::net::TcpListener,
}

pub(crate) fn bind(at: SocketAddr) -> Result<Bound, HttpError> {
    let listener = std::net::TcpListener::bind(at).map_err(HttpError)?;
    listener.set_nonblocking(true).map_err(HttpError)?;
    Ok(Bound {
        address: listener.local_addr().map_err(HttpError)?,
        listener,
    })
}

pub(crate) fn serve(bound: Bound, inside: &Arc<Inside>) -> Result<(), HttpError> {
    let listener = TcpListener::from_std(bound.listener).map_err(HttpError)?;
    inside
        .world
        .tasks
        .spawn(accept(listener, Arc::clone(inside)));
    Ok(())
}

async fn accept(listener: TcpListener, inside: Arc<Inside>) {
    loop {
        let accepted = tokio::select! {
            () = inside.world.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                inside
                    .world
                    .tasks
                    .spawn(connection(socket, Arc::clone(&inside)));
            }
            Err(error) => {
                tracing::warn!(%error, "sim cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, inside: Arc<Inside>) {
    let stop = inside.world.stop.clone();
    let service = service_fn(move |request| {
        let inside = Arc::clone(&inside);
        async move { answer(request, &inside).await }
    });
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no nodelay");
    }
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::select! {
        () = stop.cancelled() => {}
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "HTTP connection ended");
        }
    }
}

async fn answer(request: Request<Incoming>, inside: &Arc<Inside>) -> Result<Response<Body>, Cut> {
    let path = request.uri().path();
    let is_ours = path == "/token" || path == "/stats" || path.starts_with("/control/");
    if !is_ours {
        return feed(request, inside).await;
    }
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return Ok(text(400, "unreadable or too large\n"));
    };
    let body = body.to_bytes();
    Ok(match (&inside.oauth, head.uri.path()) {
        (Some(fcm), "/token") if head.method == Method::POST => {
            let now_ms = clock::now().as_millisecond();
            of_reply(fcm.oauth.grant(&body, now_ms))
        }
        _ => control::answer(&head, &body, inside),
    })
}

async fn feed(mut request: Request<Incoming>, inside: &Arc<Inside>) -> Result<Response<Body>, Cut> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let path = head.uri.path();
    let upstream = &inside.upstream;
    let now_ms = clock::now().as_millisecond();
    if let Some(frames) = upstream.frames(path) {
        let fault = upstream.fault(path, true, now_ms);
        let lives = matches!(
            fault,
            None | Some(FeedFault::Close { .. } | FeedFault::Drop { .. } | FeedFault::Mute { .. })
        );
        let Some(response) = handshake(&head) else {
            return Ok(text(426, "a WebSocket is served here\n"));
        };
        if let Some(fault) = fault.clone().filter(|_| !lives) {
            return spoilt(fault, None, now_ms).await;
        }
        let opening = Opening::new(&head, frames, fault, upgrade);
        let serving = serve_socket(Arc::clone(upstream), opening);
        let stop = inside.world.stop.clone();
        inside
            .world
            .tasks
            .spawn(async move { stop.run_until_cancelled(serving).await });
        return Ok(response);
    }
    let fault = upstream.fault(path, false, now_ms);
    // A document that was never served whole is not past: a folder moves on with answers only.
    let is_lost = matches!(
        fault,
        Some(
            FeedFault::Status { .. }
                | FeedFault::Html { .. }
                | FeedFault::Hang { .. }
                | FeedFault::Reset
        )
    );
    let document = if is_lost {
        None
    } else {
        upstream.document(&head, now_ms)
    };
    match (fault, document) {
        (Some(fault), document) => spoilt(fault, document, now_ms).await,
        (None, Some(document)) => {
            let (response, is_known) = rest::answer(&head, &document);
            upstream.count(path, |it| it.not_modified += u64::from(is_known));
            Ok(response)
        }
        (None, None) => Ok(text(404, "nothing here\n")),
    }
}

pub(crate) fn of_reply(reply: Reply) -> Response<Body> {
    let mut response = Response::new(full(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    response.headers_mut().extend(reply.headers);
    response
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn text(status: u16, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// JSON with a line end, for people with curl.
pub(crate) fn json(status: u16, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(full(format!("{value:#}\n")));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
