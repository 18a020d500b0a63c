//! Request parts as this API reads them: refusals are problem documents, not the framework's text.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use fanfare_nats::DeviceId;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use crate::problem::{Kind, Problem};

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

/// The device that the path names.
#[derive(Debug)]
pub(crate) struct DevicePath(pub(crate) DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for DevicePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let refuse = |detail| Problem::new(Kind::InvalidRequest, detail);
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| refuse("the path is not UTF-8".to_owned()))?;
        let id = DeviceId::parse(&id).map_err(|error| refuse(error.to_string()))?;
        Ok(Self(id))
    }
}
