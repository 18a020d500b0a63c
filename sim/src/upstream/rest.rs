//! A document over HTTP: conditional requests, gzip, and its faults.

use std::io::{self, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::faults::FeedFault;
use crate::fingerprint::fingerprint;
use crate::http::{Body, full, of_reply};
use crate::provider::reply::{Reply, http_date};

/// Between the last byte sent and the break of a cut connection.
const FLUSH_FIRST: Duration = Duration::from_millis(20);

/// What is at a path now.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) body: Bytes,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified_ms: Option<i64>,
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: Option<String>,
    /// The `Link` header of a paged list.
    pub(crate) link: Option<String>,
    pub(crate) may_gzip: bool,
}

/// A strong validator from the bytes: the same bytes again have the same one.
pub(crate) fn etag(body: &[u8]) -> String {
    format!("\"{}\"", fingerprint(body, 10))
}

/// Why no answer can be made: the connection ends.
#[derive(Debug, thiserror::Error)]
#[error("scripted end of a connection")]
pub(crate) struct Cut;

/// The honest answer, and whether it is a 304.
pub(crate) fn answer(head: &Parts, document: &Document) -> (Response<Body>, bool) {
    let is_known = is_known(&head.headers, document);
    let gzips = document.may_gzip
        && head
            .headers
            .get(header::ACCEPT_ENCODING)
            .is_some_and(|it| it.to_str().is_ok_and(|it| it.contains("gzip")));
    let mut response = match (is_known, gzips.then(|| gzip(&document.body))) {
        (true, _) => Response::new(full(Bytes::new())),
        (false, Some(Ok(packed))) => {
            let mut response = Response::new(full(packed));
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            response
        }
        (false, _) => Response::new(full(document.body.clone())),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    describe(response.headers_mut(), document);
    (response, is_known)
}

/// RFC 9110 section 13.1: `If-None-Match` first, `If-Modified-Since` only without it.
fn is_known(headers: &HeaderMap, document: &Document) -> bool {
    if let Some(known) = headers.get(header::IF_NONE_MATCH) {
        let Some(etag) = &document.etag else {
            return false;
        };
        let known = known.to_str().unwrap_or_default();
        return known
            .split(',')
            .any(|it| it.trim().trim_start_matches("W/") == etag);
    }
    let since = headers
        .get(header::IF_MODIFIED_SINCE)
        .and_then(|it| it.to_str().ok());
    // We only know our own dates, and only they are sent back to us.
    since.is_some() && since == document.last_modified_ms.map(http_date).as_deref()
}

fn describe(headers: &mut HeaderMap, document: &Document) {
    let mut insert = |name, text: Option<String>| {
        if let Some(value) = text.and_then(|it| HeaderValue::try_from(it).ok()) {
            headers.insert(name, value);
        }
    };
    insert(header::CONTENT_TYPE, Some(document.content_type.to_owned()));
    insert(header::ETAG, document.etag.clone());
    insert(
        header::LAST_MODIFIED,
        document.last_modified_ms.map(http_date),
    );
    insert(header::CACHE_CONTROL, document.cache_control.clone());
    insert(header::LINK, document.link.clone());
    insert(
        header::VARY,
        document.may_gzip.then(|| "accept-encoding".to_owned()),
    );
}

/// The answer that a fault makes of `document`.
pub(crate) async fn spoilt(
    fault: FeedFault,
    document: Option<Document>,
    now_ms: i64,
) -> Result<Response<Body>, Cut> {
    let document = document.map(|it| it.body).unwrap_or_default();
    match fault {
        FeedFault::Status {
            status,
            retry_after,
        } => Ok(of_reply(
            Reply::failed(status, "scripted", b"scripted\n".to_vec())
                .retry_after(retry_after, now_ms),
        )),
        FeedFault::Html { status } => Ok(of_reply(Reply::html(status))),
        FeedFault::Truncate { share } => Ok(Response::new(full(
            document.slice(..part(document.len(), share)),
        ))),
        FeedFault::Cut { share } => {
            let n_sent = part(document.len(), share);
            let sent = document.slice(..n_sent);
            let end = async {
                // The server drops what it has not flushed when a body fails.
                tokio::time::sleep(FLUSH_FIRST).await;
                Err(io::Error::other(Cut))
            };
            let pieces = stream::iter([Ok(Frame::data(sent))]).chain(stream::once(end));
            let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, document.len().into());
            Ok(response)
        }
        FeedFault::Slow { piece, pause_ms } => {
            let pieces = stream::unfold(document, move |mut left| async move {
                if left.is_empty() {
                    return None;
                }
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                let sent = left.split_to(piece.clamp(1, left.len()));
                Some((Ok(Frame::data(sent)), left))
            });
            Ok(Response::new(StreamBody::new(pieces).boxed_unsync()))
        }
        FeedFault::Hang { ms: Some(ms) } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Err(Cut)
        }
        FeedFault::Hang { ms: None } => std::future::pending().await,
        FeedFault::Reset
        | FeedFault::Close { .. }
        | FeedFault::Drop { .. }
        | FeedFault::Mute { .. } => Err(Cut),
    }
}

/// `share` of `n_bytes`.
fn part(n_bytes: usize, share: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a document's length, clamped on the next line"
    )]
    let part = (n_bytes as f64 * share) as usize;
    part.min(n_bytes)
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes)?;
    packed.finish()
}
