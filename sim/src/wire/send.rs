//! An answer on its way out, in one of the manners a script asks for.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use tokio::time::sleep;

use super::decide::Manner;
use crate::provider::reply::Reply;

/// A piece of the body that never ends.
const ENDLESS_PIECE: usize = 1024;

/// Whether the answer was handed to a living connection, whole.
pub(super) async fn send(respond: &mut SendResponse<Bytes>, reply: Reply, manner: Manner) -> bool {
    if let Manner::ResetStream(reason) = manner {
        respond.send_reset(reason);
        return false;
    }
    let mut body = reply.body;
    let mut pause = Duration::ZERO;
    if let Manner::Slow {
        head,
        body: between,
    } = manner
    {
        sleep(head).await;
        pause = between;
        if body.is_empty() && !pause.is_zero() {
            body = Bytes::from_static(b"{}");
        }
    }
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or_default();
    response.headers_mut().extend(reply.headers);
    let ends = body.is_empty() && manner != Manner::Endless;
    let Ok(mut stream) = respond.send_response(response, ends) else {
        return false;
    };
    if ends {
        return true;
    }
    if manner == Manner::Endless {
        let piece = Bytes::from_static(&[b' '; ENDLESS_PIECE]);
        while send_piece(&mut stream, piece.clone(), false).await {}
        return false;
    }
    if pause.is_zero() {
        return stream.send_data(body, true).is_ok();
    }
    while !body.is_empty() {
        sleep(pause).await;
        let piece = body.split_to(1);
        if !send_piece(&mut stream, piece, body.is_empty()).await {
            return false;
        }
    }
    true
}

/// Waits for the peer's window, so that an endless body stays out of our memory.
async fn send_piece(stream: &mut h2::SendStream<Bytes>, piece: Bytes, ends: bool) -> bool {
    stream.reserve_capacity(piece.len());
    while stream.capacity() < piece.len() {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return false,
        }
    }
    stream.send_data(piece, ends).is_ok()
}
