//! Tells what one of us published from what somebody made the server store under a subject of ours.
//!
//! The server checks what a client publishes to, and neither where it has the answer sent nor what
//! a schedule is for. An answer to a direct get has a body and headers that its sender chose, but
//! it carries the names of the stream and the subject that it was read from, and no publish of ours
//! does. All other answers are JSON of the server's, which is none of our shapes.

use async_nats::HeaderMap;

use crate::request::header;

/// True for an answer that was stored.
pub(crate) fn is_answer(headers: &HeaderMap) -> bool {
    headers.get(header::STREAM).is_some() || headers.get(header::SUBJECT).is_some()
}

/// The subject of the schedule that stored a message, if one did.
pub(crate) fn scheduler(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::SCHEDULER)
        .map(async_nats::HeaderValue::as_str)
}

/// True for a receipt that was appended by [`crate::receipts::ReceiptChain`], which gives each an
/// id that begins with its subject.
pub(crate) fn is_receipt(subject: &str, headers: &HeaderMap) -> bool {
    let id = headers.get(header::MSG_ID);
    !is_answer(headers) && id.is_some_and(|it| it.as_str().starts_with(subject))
}
