//! `/v1/devices/{id}`: register, read and remove a device.
//!
//! A removal reads the document, judges the preconditions and removes exactly the revision it read, as a
//! registration writes it (`write`).

pub(crate) mod challenge;
pub(crate) mod confirm;
pub(crate) mod document;
pub(crate) mod missed;
pub(crate) mod places;
pub(crate) mod secret;
pub(crate) mod topic;
pub(crate) mod write;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fanfare_nats::bucket::{Expect, ReadDeviceError, Stored, WriteDeviceError};
use fanfare_nats::key::NewSecret;
use fanfare_nats::{Broker, Device, DeviceId};
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::access::{Caller, Unreadable};
use crate::body::{DevicePath, Json};
use crate::call::{bounded, no_answer, refused, unavailable};
use crate::clock;
use crate::device::challenge::Sent;
use crate::device::write::{Writer, write};
use crate::precondition::{Failed, Preconditions, etag};
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// A stored document that cannot be read stands in nobody's way: it is replaced as a whole.
pub(crate) enum Found {
    Nothing,
    Device(Box<Stored>),
    Unreadable,
}

impl Found {
    /// As access is judged: what cannot be read is nobody's.
    pub(crate) fn device(&self) -> Result<Option<&Device>, Unreadable> {
        match self {
            Self::Nothing => Ok(None),
            Self::Device(stored) => Ok(Some(&stored.device)),
            Self::Unreadable => Err(Unreadable),
        }
    }
}

/// A device, without its token.
///
/// Dropping the future changes nothing.
#[utoipa::path(
    get,
    path = "/v1/devices/{id}",
    operation_id = "showDevice",
    description = "Its tag is the revision of the document.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        crate::precondition::Params,
    ),
    responses(
        (
            status = 200, description = "The document, without its token",
            body = document::Shown, headers(("ETag" = String, description = "The revision")),
        ),
        (
            status = 304, description = "It is at the revision of `If-None-Match`",
            headers(("ETag" = String, description = "The revision")),
        ),
    ),
)]
pub(crate) async fn show(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let preconditions = preconditions(&headers)?;
    let found = bounded(&api.broker, find(&api.broker, &id), no_answer).await?;
    caller.may_touch(found.device())?;
    let stored = match found {
        Found::Device(stored) => stored,
        Found::Nothing => {
            preconditions.judge(None).map_err(failed)?;
            return Err(Problem::new(
                Kind::NoSuchDevice,
                "no device is registered by this id",
            ));
        }
        Found::Unreadable => {
            return Err(Problem::new(
                Kind::Internal,
                "the stored document is not readable",
            ));
        }
    };
    let tag = [(ETAG, etag(stored.revision))];
    match preconditions.judge(Some(stored.revision)) {
        Err(Failed::NoneMatch) => Ok((StatusCode::NOT_MODIFIED, tag).into_response()),
        Err(it @ (Failed::Match | Failed::Missing)) => Err(failed(it)),
        Ok(()) => {
            let private = [(CACHE_CONTROL, "private, no-cache")];
            let shown = document::shown(&id, &stored.device);
            Ok((tag, private, axum::Json(shown)).into_response())
        }
    }
}

/// Register a device, or replace its whole document. Who registers is told the device's secret, this
/// once.
///
/// Dropping the future leaves it unknown whether the document is stored; the same request again
/// leads to the same document, and, of who registers with its own token, to a secret.
#[utoipa::path(
    put,
    path = "/v1/devices/{id}",
    operation_id = "putDevice",
    description = "The document replaces the one before as a whole. A token keeps the time it was first registered. The same request again leads to the same document. A token that another user's device has, or one of another tenant, is answered 202: nothing is sent there but a challenge until it is confirmed, and the other device keeps its pushes. A user has at most so many devices as the server is configured to let him have (409); the devices that are his already may be written all the same.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        crate::precondition::Params,
    ),
    request_body(content = document::schema::Document),
    responses(
        (
            status = 200, description = "Replaced",
            body = document::Shown, headers(("ETag" = String, description = "The revision")),
        ),
        (
            status = 201, description = "Registered",
            body = document::Shown, headers(("ETag" = String, description = "The revision")),
        ),
        (
            status = 202,
            description = "Stored, and it waits: the token is another user's or another tenant's. A push to the token carries a nonce, see `/v1/devices/{id}/confirm`",
            body = document::Shown,
            headers(
                ("ETag" = String, description = "The revision"),
                ("Retry-After" = Option<u64>, description = "Only if no push was sent, because the token was challenged a moment ago: after so many seconds the same request sends one"),
            ),
        ),
    ),
)]
pub(crate) async fn put(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    headers: HeaderMap,
    Json(body): Json,
) -> Result<Response, Problem> {
    let preconditions = preconditions(&headers)?.required(api.must_say_revisions());
    let wanted =
        document::read(body, &caller.tenant(), api.apps.as_deref()).map_err(Problem::fields)?;
    wanted.count(&api.quotas, &caller.tenant())?;
    let unknown = || unknown_write(&preconditions);
    let secret = NewSecret::of_device(&caller.tenant());
    let writer = Writer {
        caller: &caller,
        preconditions: &preconditions,
        secret: Some(&secret),
        seems_new: !api.known.seems_to_have(&id),
        now: clock::now(),
    };
    let write = write(&api, &id, wanted, &writer);
    let written = bounded(&api.broker, write, unknown).await?;
    let status = match (&written.device.pending, written.is_new) {
        (Some(_), _) => StatusCode::ACCEPTED,
        (None, true) => StatusCode::CREATED,
        (None, false) => StatusCode::OK,
    };
    let issued = written.device.secret == Some(secret.hash());
    let shown = document::shown(&id, &written.device).with(issued.then_some(&secret));
    let tag = [(ETAG, etag(written.revision))];
    let mut response = (status, tag, axum::Json(shown)).into_response();
    if issued {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Sent::NotBefore(seconds) = written.challenge {
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

/// Remove a device; also if there is none.
///
/// Dropping the future leaves it unknown whether the device is removed; the same request again
/// settles it.
#[utoipa::path(
    delete,
    path = "/v1/devices/{id}",
    operation_id = "removeDevice",
    description = "From then on it gets nothing. The same request again is answered the same.",
    tag = "devices",
    params(
        ("id" = String, Path, pattern = "^[A-Za-z0-9_-]{1,64}$", description = "The device's id"),
        crate::precondition::Params,
    ),
    responses((status = 204, description = "There is none now")),
)]
pub(crate) async fn remove(
    State(api): State<Api>,
    caller: Caller,
    DevicePath(id): DevicePath,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let preconditions = preconditions(&headers)?.required(api.must_say_revisions());
    let unknown = || unknown_write(&preconditions);
    let erase = erase(&api.broker, &id, &caller, &preconditions);
    bounded(&api.broker, erase, unknown).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn erase(
    broker: &Broker,
    id: &DeviceId,
    caller: &Caller,
    preconditions: &Preconditions,
) -> Result<(), Problem> {
    loop {
        let found = find(broker, id).await?;
        caller.may_touch(found.device())?;
        judge(preconditions, &found)?;
        let expect = match found {
            Found::Nothing => return Ok(()),
            Found::Device(stored) => Expect::Revision(stored.revision),
            Found::Unreadable => Expect::Any,
        };
        match broker.delete_device(id, expect).await {
            Ok(_) => return Ok(()),
            Err(error) => again_or(error, preconditions)?,
        }
    }
}

pub(crate) async fn find(broker: &Broker, id: &DeviceId) -> Result<Found, Problem> {
    match broker.device(id).await {
        Ok(Some(stored)) => Ok(Found::Device(Box::new(stored))),
        Ok(None) => Ok(Found::Nothing),
        Err(error @ ReadDeviceError::Unavailable(_)) => Err(unavailable(&error)),
        Err(error @ ReadDeviceError::Decode(_)) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                device.id = %id,
                "a stored device is not readable"
            );
            Ok(Found::Unreadable)
        }
    }
}

/// `Ok` means that another write came first: look again.
fn again_or(error: WriteDeviceError, preconditions: &Preconditions) -> Result<(), Problem> {
    match error {
        WriteDeviceError::Conflict => Ok(()),
        WriteDeviceError::Unavailable | WriteDeviceError::Read(_) => {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "write of a device with unknown fate");
            Err(unknown_write(preconditions))
        }
        WriteDeviceError::Refused(_) => Err(refused(&error)),
    }
}

/// What became of the write is not known. A guard that it met may not hold a second time because of
/// the write itself, so the same request again does not settle it then.
fn unknown_write(preconditions: &Preconditions) -> Problem {
    if preconditions.are_none() {
        return no_answer();
    }
    Problem::new(
        Kind::BrokerUnavailable,
        "the broker gave no final answer: the write may be stored. Read the device before you send \
         it again, its own success would make the precondition fail",
    )
}

fn judge(preconditions: &Preconditions, found: &Found) -> Result<(), Problem> {
    let judged = match found {
        Found::Nothing => preconditions.judge(None),
        Found::Device(stored) => preconditions.judge(Some(stored.revision)),
        // Its revision is not told, so no guard on it can hold.
        Found::Unreadable if preconditions.are_none() => Ok(()),
        Found::Unreadable => Err(Failed::Match),
    };
    judged.map_err(failed)
}

fn preconditions(headers: &HeaderMap) -> Result<Preconditions, Problem> {
    Preconditions::read(headers).map_err(|unreadable| {
        let name = unreadable.0;
        Problem::new(
            Kind::InvalidRequest,
            format!("`{name}` is `*` or a list of entity tags such as \"7\""),
        )
    })
}

fn failed(failed: Failed) -> Problem {
    let (kind, detail) = match failed {
        Failed::Match => (
            Kind::PreconditionFailed,
            "the device is not at the revision of `If-Match`: read it again",
        ),
        Failed::NoneMatch => (
            Kind::PreconditionFailed,
            "the device exists at a revision of `If-None-Match`",
        ),
        Failed::Missing => (
            Kind::PreconditionRequired,
            "the device exists: send `If-Match` with its `ETag`, or `*`",
        ),
    };
    Problem::new(kind, detail)
}
