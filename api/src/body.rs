//! Request parts as this API reads them: refusals are problem documents, not the framework's text.

use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use fanfare_nats::event::SourceName;
use fanfare_nats::{AppName, DeviceId, Lane, Pattern, Tenant};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use crate::access::Caller;
use crate::device::document::{self, Wanted};
use crate::fields::{Flaw, Flaws, Read};
use crate::problem::{Kind, Problem};
use crate::text;

/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// A JSON body, not judged yet.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send the document with `Content-Type: application/json`",
            ));
        }
        let bytes = timeout(BODY_TIMEOUT, Bytes::from_request(request, state))
            .await
            .map_err(|_| Problem::new(Kind::RequestTimeout, "send the body within 5 s"))?
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => {
                    Problem::new(Kind::BodyTooLarge, "send less, or in several requests")
                }
                _ => Problem::new(Kind::InvalidRequest, "the body could not be read"),
            })?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Problem::new(
                Kind::InvalidJson,
                format!("it stops being JSON at line {line}, column {column}"),
            )
        })
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub(crate) struct OptionalJson(pub(crate) Option<Value>);

impl<S: Send + Sync> FromRequest<S> for OptionalJson {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        // Known to be empty: neither a length nor chunks were announced.
        let has_body = request.body().size_hint().exact() != Some(0);
        if !has_body {
            return Ok(Self(None));
        }
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self(Some(value).filter(|it| !it.is_null())))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(http::HeaderValue::to_str) else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The device that the path names, by the id under which it is stored.
#[derive(Debug)]
pub(crate) struct DevicePath(pub(crate) DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id: String = path(parts, state).await?;
        Ok(Self(device_id(&tenant(parts, state).await?, &id)?))
    }
}

/// The longest name of a user.
pub(crate) const MAX_USER: usize = 128;

/// One line of an import: a device and its document, as they are stored.
#[derive(Debug)]
pub(crate) struct DeviceLine {
    pub(crate) id: DeviceId,
    pub(crate) wanted: Wanted,
}

impl DeviceLine {
    /// Reads a document with its `id`.
    ///
    /// # Errors
    /// The id, if it is one, and all fields that are not valid.
    pub(crate) fn read(
        mut line: Value,
        tenant: &Tenant,
        apps: Option<&[AppName]>,
    ) -> Result<Self, (Option<DeviceId>, Vec<Flaw>)> {
        let mut flaws = Flaws::default();
        let id = line.as_object_mut().map(|it| it.remove("id"));
        let id = id.and_then(|id| flaws.keep("/id", id_of_line(id, tenant)));
        match (document::read(line, tenant, apps), id) {
            (Ok(wanted), Some(id)) => Ok(Self { id, wanted }),
            (Ok(_), None) => Err((None, flaws.all())),
            (Err(more), id) => Err((id, flaws.all().into_iter().chain(more).collect())),
        }
    }
}

fn id_of_line(id: Option<Value>, tenant: &Tenant) -> Read<DeviceId> {
    let id = text::string(id.ok_or("is missing")?)?;
    tenant.device_id(&id).map_err(|it| it.to_string().into())
}

/// The user that the path names, as he is stored.
#[derive(Debug)]
pub(crate) struct UserPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let user: String = path(parts, state).await?;
        let user = text::name(user.into(), MAX_USER);
        let user = user.map_err(|complaint| {
            Problem::new(Kind::InvalidRequest, format!("the user {complaint}"))
        })?;
        Ok(Self(tenant(parts, state).await?.text(&user)))
    }
}

async fn path<T, S>(parts: &mut Parts, state: &S) -> Result<T, Problem>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let path = Path::<T>::from_request_parts(parts, state).await;
    let path = path.map_err(|_| Problem::new(Kind::InvalidRequest, "the path is not UTF-8"));
    path.map(|Path(path)| path)
}

/// Whose things the request may name.
async fn tenant<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Tenant, Problem> {
    let caller = Caller::from_request_parts(parts, state).await?;
    Ok(caller.tenant())
}

/// The id under which the device is stored that the tenant calls so.
fn device_id(tenant: &Tenant, text: &str) -> Result<DeviceId, Problem> {
    let id = tenant.device_id(text);
    id.map_err(|error| Problem::new(Kind::InvalidRequest, error.to_string()))
}

/// The device and the pattern that the path names, as they are stored.
#[derive(Debug)]
pub(crate) struct TopicPath(pub(crate) DeviceId, pub(crate) Pattern);

impl<S: Send + Sync> FromRequestParts<S> for TopicPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (id, pattern): (String, String) = path(parts, state).await?;
        let pattern = Pattern::parse(&pattern).map_err(|error| {
            let complaint = text::topic_complaint(&error);
            Problem::new(Kind::InvalidRequest, format!("the pattern {complaint}"))
        })?;
        let tenant = tenant(parts, state).await?;
        Ok(Self(device_id(&tenant, &id)?, tenant.pattern(&pattern)))
    }
}

/// The lane that the path names. What is no lane's name is one that there is not.
#[derive(Debug)]
pub(crate) struct LanePath(pub(crate) Lane);

impl<S: Send + Sync> FromRequestParts<S> for LanePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let lane: String = path(parts, state).await?;
        let lane = Lane::parse(&lane).ok_or_else(crate::lane::no_such_lane)?;
        Ok(Self(lane))
    }
}

/// The source that the path names. What is no source's name is one that there is not.
#[derive(Debug)]
pub(crate) struct SourcePath(pub(crate) SourceName);

impl<S: Send + Sync> FromRequestParts<S> for SourcePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let source: String = path(parts, state).await?;
        let source = SourceName::parse(&source).map_err(|_| crate::source::no_such_source())?;
        Ok(Self(source))
    }
}

/// The dead letter that the path names. What is no number is one that there is not.
#[derive(Debug)]
pub(crate) struct LetterPath(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for LetterPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let number: String = path(parts, state).await?;
        let number = number.parse().ok().filter(|it| *it > 0);
        Ok(Self(number.ok_or_else(crate::dead_letter::no_such_letter)?))
    }
}

/// The event that the path names, by whatever name, as the caller's tenant writes it.
#[derive(Debug)]
pub(crate) struct EventPath(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for EventPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        path(parts, state).await.map(Self)
    }
}

/// The event, as the caller's tenant writes it, and the device, as it is stored, that the path names.
#[derive(Debug)]
pub(crate) struct DeliveryPath(pub(crate) String, pub(crate) DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let (event, device): (String, String) = path(parts, state).await?;
        let tenant = tenant(parts, state).await?;
        Ok(Self(event, device_id(&tenant, &device)?))
    }
}
