//! Many devices in one request: one JSON object a line (NDJSON), in and out, as a stream.

pub(crate) mod export;
pub(crate) mod import;
mod lines;

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Kind, Problem};

/// The media type of what goes in and comes out.
pub(crate) const NDJSON: &str = "application/x-ndjson";
/// Imports and exports that one process runs at once.
pub(crate) const PLACES: usize = 4;
/// Documents that one import or export has under way at the broker.
const AT_ONCE: usize = 64;
/// Lines are sent together until there are so many bytes of them.
const CHUNK: usize = 16 * 1024;

/// A place among those who move many devices, or a refusal.
fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let place = places.clone().try_acquire_owned();
    place.map_err(|_| {
        Problem::new(
            Kind::Overloaded,
            "others import or export: come again in a moment",
        )
    })
}

/// Lines, as they come.
fn answer<E>(lines: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Response
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
{
    let headers = [(CONTENT_TYPE, NDJSON), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}
