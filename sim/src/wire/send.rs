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
async fn send(respond: &mut SendResponse<Bytes>, reply: Reply, manner: Manner) -> bool {
    let mut body = reply.body;
    match manner {
        Manner::ResetStream(reason) => {
            respond.send_reset(reason);
            return false;
        }
        Manner::Slow { head, body: pause } => {
            if body.is_empty() && !pause.is_zero() {
                body = Bytes::from_static(b"{}");
            }
            sleep(head).await;
        }
        Manner::Plain
        | Manner::Endless
        | Manner::Then(_)
        | Manner::RefuseStream
        | Manner::GoawayBelow => {}
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
    match manner {
        Manner::Endless => {
            let piece = Bytes::from_static(&[b' '; ENDLESS_PIECE]);
            while send_piece(&mut stream, piece.clone(), false).await {}
            false
        }
        Manner::Slow { body: pause, .. } if !pause.is_zero() => {
            while !body.is_empty() {
                sleep(pause).await;
                let piece = body.split_to(1);
                if !send_piece(&mut stream, piece, body.is_empty()).await {
                    return false;
                }
            }
            true
        }
        _ => stream.send_data(body, true).is_ok(),
    }
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
