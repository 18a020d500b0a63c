//! `POST /v1/devices/{id}/secret`: another secret for a device, told this once; the one before ends.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::Device;
use fanfare_nats::key::NewSecret;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, ETAG};
use serde::Serialize;
use utoipa::ToSchema;

use super::topic::{Change, changed};
use super::{preconditions, unknown_write};
use crate::access::Caller;
use crate::body::DevicePath;
use crate::call::bounded;
use crate::precondition::etag;
use crate::problem::Problem;
use crate::router::Api;

/// What is told once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceSecret)]
struct Issued<'a> {
    /// The device.
    id: &'a str,
    /// What proves the device from now on.
    secret: &'a str,
}

/// Give a device another secret.
///
/// Dropping the future leaves it unknown which secret is good: the same request again gives one
/// more, to whoever may still ask.
#[utoipa::path(
    post,
    path = "/v1/devices/{id}/secret",
    operation_id = "renewSecret",
    description = "The one before ends at once. A device whose answer got lost registers again, with the key of its app and its token.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        crate::precondition::Params,
    ),
    responses((
        status = 200, description = "The new secret, this once",
        body = Issued, headers(("ETag" = String, description = "The revision of the document")),
    )),
)]
pub(crate) async fn renew(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preconditions = preconditions(&headers)?;
    let secret = NewSecret::of_device(&caller.tenant());
    let change = |device: &mut Device| {
        device.secret = Some(secret.hash());
        Ok(Change::Replaced)
    };
    let unknown = || unknown_write(&preconditions);
    let changing = changed(&api.broker, &id, &caller, &preconditions, change);
    let changed = bounded(&api.broker, changing, unknown).await?;
    let issued = Issued {
        id: id.written(),
        secret: secret.reveal(),
    };
    let tag = [(ETAG, etag(changed.revision))];
    let once = [(CACHE_CONTROL, "no-store")];
    Ok((tag, once, axum::Json(issued)).into_response())
}
