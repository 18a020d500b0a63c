//! RFC 9457 problem documents: the only form in which this API says no.
//!
//! A handler returns a [`Problem`]; it travels as an extension of the response, and the outermost
//! layer writes it, because only that layer knows the request's id. An error response of the
//! framework that carries none gets one by its status, so none can escape. Only what is
//! not HTTP at all never comes here: hyper answers a garbled head with a bare 400 or 431.

use std::borrow::Cow;
use std::num::NonZeroU16;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use rand::Rng;
use serde_json::{Map, Value, json};

use crate::fields::Flaw;
use crate::quota::{RATE_LIMIT, RATE_LIMIT_POLICY, end_with_retry};

/// The media type of RFC 9457.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Headers that explain a refusal, beside its document.
const KEPT: [HeaderName; 5] = [
    ALLOW,
    RETRY_AFTER,
    WWW_AUTHENTICATE,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
];

/// What went wrong, from a closed set; `code` and `type` never change once published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is not JSON.
    InvalidJson,
    /// The path, a header or the head itself.
    InvalidRequest,
    /// No key, or none that is good.
    Unauthenticated,
    /// The key is good, but not for this.
    Forbidden,
    /// The path leads nowhere.
    NoSuchRoute,
    /// No device with this id.
    NoSuchDevice,
    /// Nobody has a device by this name.
    NoSuchUser,
    /// No app by this name is configured.
    NoSuchApp,
    /// No event with this id, or none that the asker may see.
    NoSuchEvent,
    /// No such event, no such device, or none that the asker may see.
    NoSuchDelivery,
    /// No notifier with its app was ever started.
    NoSuchLane,
    /// No fetcher ever began to read it.
    NoSuchSource,
    /// No dead letter has this number, or it is too old.
    NoSuchDeadLetter,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The client was too slow with its body.
    RequestTimeout,
    /// The id stands for an event with other content.
    EventExists,
    /// The answer is not the nonce of the challenge, or comes too late.
    ChallengeFailed,
    /// The user has as many devices as one may have.
    TooManyDevices,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// A write that says no revision, where it has to.
    PreconditionRequired,
    /// A quota is used up.
    TooManyRequests,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The request's `Host` is not one this server answers for.
    Misdirected,
    /// JSON, but not a valid document; `errors` names each field.
    InvalidFields,
    /// A fault of ours.
    Internal,
    /// This process was not given what the route needs.
    NotConfigured,
    /// No final answer from the broker.
    BrokerUnavailable,
    /// More requests at once than allowed.
    Overloaded,
    /// The devices are being read into memory.
    IndexLoading,
    /// This process does not hold the devices in memory.
    IndexOff,
    /// A condition of readiness is not met.
    NotReady,
    /// The request took longer than allowed.
    Timeout,
}

impl Kind {
    /// Everything that can go wrong.
    pub(crate) const ALL: &[Self] = &[
        Self::InvalidJson,
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NoSuchRoute,
        Self::NoSuchDevice,
        Self::NoSuchUser,
        Self::NoSuchApp,
        Self::NoSuchEvent,
        Self::NoSuchDelivery,
        Self::NoSuchLane,
        Self::NoSuchSource,
        Self::NoSuchDeadLetter,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::EventExists,
        Self::ChallengeFailed,
        Self::TooManyDevices,
        Self::PreconditionFailed,
        Self::PreconditionRequired,
        Self::TooManyRequests,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Misdirected,
        Self::InvalidFields,
        Self::Internal,
        Self::NotConfigured,
        Self::BrokerUnavailable,
        Self::Overloaded,
        Self::IndexLoading,
        Self::IndexOff,
        Self::NotReady,
        Self::Timeout,
    ];

    /// Status, code and title.
    pub(crate) const fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidJson => (400, "invalid_json", "The body is not JSON"),
            Self::InvalidRequest => (400, "invalid_request", "The request is not valid"),
            Self::Unauthenticated => (401, "unauthenticated", "A good key is needed"),
            Self::Forbidden => (403, "forbidden", "The key may not do this"),
            Self::NoSuchRoute => (404, "no_such_route", "There is nothing at this path"),
            Self::NoSuchDevice => (404, "no_such_device", "There is no such device"),
            Self::NoSuchUser => (404, "no_such_user", "There is no such user"),
            Self::NoSuchApp => (404, "no_such_app", "There is no such app"),
            Self::NoSuchEvent => (404, "no_such_event", "There is no such event"),
            Self::NoSuchDelivery => (404, "no_such_delivery", "There is no such delivery"),
            Self::NoSuchLane => (404, "no_such_lane", "There is no such lane"),
            Self::NoSuchSource => (404, "no_such_source", "There is no such source"),
            Self::NoSuchDeadLetter => (404, "no_such_dead_letter", "There is no such dead letter"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "The method is not allowed here"),
            Self::RequestTimeout => (408, "request_timeout", "The body took too long to arrive"),
            Self::EventExists => (409, "event_exists", "The id stands for another event"),
            Self::ChallengeFailed => (409, "challenge_failed", "The challenge was not answered"),
            Self::TooManyDevices => (409, "too_many_devices", "The user has too many devices"),
            Self::PreconditionFailed => (412, "precondition_failed", "A precondition failed"),
            Self::PreconditionRequired => (
                428,
                "precondition_required",
                "The write must say a revision",
            ),
            Self::TooManyRequests => (429, "too_many_requests", "A quota is used up"),
            Self::BodyTooLarge => (413, "body_too_large", "The body is too large"),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", "The body must be JSON"),
            Self::Misdirected => (421, "misdirected", "The request is meant for another host"),
            Self::InvalidFields => (
                422,
                "invalid_fields",
                "Fields of the document are not valid",
            ),
            Self::Internal => (500, "internal", "The server failed"),
            Self::NotConfigured => (501, "not_configured", "This process may not do it"),
            Self::BrokerUnavailable => (503, "broker_unavailable", "The broker does not answer"),
            Self::Overloaded => (503, "overloaded", "Too many requests at once"),
            Self::IndexLoading => (503, "index_loading", "The devices are being loaded"),
            Self::IndexOff => (501, "index_off", "This server holds no index of devices"),
            Self::NotReady => (503, "not_ready", "The server is not ready"),
            Self::Timeout => (504, "timeout", "The request took too long"),
        }
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a bare error status of the framework means.
    fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            ..400 => return None,
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NoSuchRoute,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            412 => Self::PreconditionFailed,
            413 => Self::BodyTooLarge,
            415 => Self::UnsupportedMediaType,
            428 => Self::PreconditionRequired,
            429 => Self::TooManyRequests,
            400..500 => Self::InvalidRequest,
            501 => Self::NotConfigured,
            503 => Self::Overloaded,
            504 => Self::Timeout,
            500.. => Self::Internal,
        })
    }

    /// The client may simply come again.
    pub(crate) const fn is_passing(self) -> bool {
        matches!(
            self,
            Self::BrokerUnavailable | Self::Overloaded | Self::IndexLoading | Self::NotReady
        )
    }
}

/// One refusal, before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    flaws: Vec<Flaw>,
    extra: Map<String, Value>,
    challenge: Option<HeaderValue>,
    retry_after_s: Option<NonZeroU16>,
    /// What was asked for was surely not done, also not in part.
    is_void: bool,
}

impl Problem {
    /// A problem in words for the developer of the client; never with what the client sent.
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            flaws: Vec::new(),
            extra: Map::new(),
            challenge: None,
            retry_after_s: None,
            is_void: false,
        }
    }

    /// All fields that are not valid, at once.
    pub(crate) fn fields(flaws: Vec<Flaw>) -> Self {
        Self {
            flaws,
            ..Self::new(Kind::InvalidFields, "`errors` names each field")
        }
    }

    /// The client may simply come again.
    pub(crate) fn is_passing(&self) -> bool {
        self.kind.is_passing()
    }

    /// What it says in a line of an answer that goes on.
    pub(crate) fn brief(&self) -> Map<String, Value> {
        let mut brief = Map::new();
        brief.insert("code".to_owned(), self.kind.facts().1.into());
        brief.insert("detail".to_owned(), self.detail.clone().into());
        if !self.flaws.is_empty() {
            brief.insert("errors".to_owned(), json!(self.flaws));
        }
        brief
    }

    /// The same with one more member.
    #[must_use]
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(member.to_owned(), value.into());
        self
    }

    /// The same with what the client has to show (RFC 9110 section 11.6.1).
    #[must_use]
    pub(crate) fn challenging(mut self, challenge: &str) -> Self {
        self.challenge = HeaderValue::try_from(challenge).ok();
        self
    }

    /// The same with the seconds to wait.
    #[must_use]
    pub(crate) fn after(self, wait_s: u64) -> Self {
        Self {
            retry_after_s: NonZeroU16::new(u16::try_from(wait_s).unwrap_or(u16::MAX)),
            ..self
        }
    }

    /// The same where nothing was even tried.
    #[must_use]
    pub(crate) fn having_done_nothing(self) -> Self {
        Self {
            is_void: true,
            ..self
        }
    }

    /// Whether what was asked for may have been done all the same.
    pub(crate) fn leaves_open(&self) -> bool {
        let is_open = matches!(
            self.kind,
            Kind::BrokerUnavailable | Kind::Internal | Kind::Timeout
        );
        is_open && !self.is_void
    }

    /// What a bare error status of the framework means, `None` for a success.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        Kind::of_status(status).map(|kind| Self::new(kind, kind.facts().2))
    }

    /// The document.
    fn document(&self, request_id: &str) -> Value {
        let (status, code, title) = self.kind.facts();
        let mut document = json!({
            "type": format!("urn:fanfare:problem:{code}"),
            "title": title,
            "status": status,
            "code": code,
            "detail": self.detail,
            "request_id": request_id,
        });
        if let Some(members) = document.as_object_mut() {
            if !self.flaws.is_empty() {
                members.insert("errors".to_owned(), json!(self.flaws));
            }
            members.extend(self.extra.clone());
        }
        document
    }

    /// Writes the answer; of the headers that the refusing place had set, those that explain it
    /// stay.
    pub(crate) fn write(&self, refusal: &http::HeaderMap, request_id: &str) -> Response {
        let mut response = Response::new(self.document(request_id).to_string().into());
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        for name in KEPT {
            if let Some(value) = refusal.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(challenge) = &self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(wait_s) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s.get()));
        }
        if matches!(self.kind, Kind::BodyTooLarge | Kind::RequestTimeout) {
            // What is left of the body is not read: the client must not ask again on this connection.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if self.kind.is_passing() {
            // Elections take 4 to 11 s; clients that were refused together shall not come together.
            let wait_s: u16 = rand::rng().random_range(2..=6);
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        end_with_retry(headers);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_status_has_a_problem_and_no_success_has() {
        for status in 100..400 {
            assert!(Problem::of_status(StatusCode::from_u16(status).unwrap()).is_none());
        }
        for status in 400..600 {
            assert!(Problem::of_status(StatusCode::from_u16(status).unwrap()).is_some());
        }
    }
}
