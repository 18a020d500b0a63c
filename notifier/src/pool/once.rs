//! One request on a connection of its own, HTTP/2 or HTTP/1.1: Google's token endpoint, once an
//! hour. Endpoints that stand in for it often speak HTTP/1.1 only, so ALPN decides; clear text
//! towards loopback is HTTP/1.1.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::connect::{self, Wire};
use super::{ConnectionId, Fault, MAX_ANSWER_BYTES, Way, read};

/// Posts a form and reads the answer before `deadline`. Dropping this future closes the
/// connection.
///
/// # Errors
///
/// [`Fault`]: no answer was read. A token that was granted unread does no harm.
pub(crate) async fn post_form(
    way: &Way,
    path: &PathAndQuery,
    form: Bytes,
    deadline: Instant,
) -> Result<(StatusCode, Bytes), Fault> {
    let posted = async {
        let wire = connect::wire(way, 0)
            .await
            .map_err(|it| Fault::not_sent(it.reason()))?;
        if wire.is_http2() {
            over_http2(way, path, form, wire).await
        } else {
            over_http1(way, path, form, wire).await
        }
    };
    match tokio::time::timeout_at(deadline, posted).await {
        Ok(ended) => ended,
        Err(_) => Err(Fault::ambiguous("no answer in time")),
    }
}

fn head<B>(body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    request
}

fn lost<E>(_: E) -> Fault {
    Fault::ambiguous("connection lost")
}

async fn over_http2(
    way: &Way,
    path: &PathAndQuery,
    form: Bytes,
    wire: Wire,
) -> Result<(StatusCode, Bytes), Fault> {
    let (mut send, connection) = connect::handshake(wire)
        .await
        .map_err(|it| Fault::not_sent(it.reason()))?;
    let mut request = head(());
    *request.uri_mut() = way.endpoint.uri(path.clone());
    let answered = async {
        let (response, mut body) = send.send_request(request, false).map_err(lost)?;
        body.send_data(form, true).map_err(lost)?;
        let reply = read(response.await.map_err(lost)?, ConnectionId(0)).await;
        Ok((reply.status, reply.body))
    };
    tokio::select! {
        biased;
        answered = answered => answered,
        _ = connection => Err(Fault::ambiguous("connection lost")),
    }
}

async fn over_http1(
    way: &Way,
    path: &PathAndQuery,
    form: Bytes,
    wire: Wire,
) -> Result<(StatusCode, Bytes), Fault> {
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(wire))
        .await
        .map_err(lost)?;
    let mut request = head(Full::new(form));
    *request.uri_mut() = path.clone().into();
    let host = HeaderValue::from_str(way.endpoint.authority()).map_err(lost)?;
    request.headers_mut().insert(header::HOST, host);
    let answered = async {
        let (parts, body) = send.send_request(request).await.map_err(lost)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(lost)?;
        Ok((parts.status, body.to_bytes()))
    };
    // The connection may end before the body was read from it; only its error ends the request.
    let driven = async {
        match connection.await {
            Ok(()) => std::future::pending().await,
            Err(error) => Err(lost(error)),
        }
    };
    tokio::select! {
        biased;
        answered = answered => answered,
        ended = driven => ended,
    }
}
