//! The double of FCM HTTP v1: `POST /v1/projects/<id>/messages:send`, and the token endpoint.
//!
//! Rules are those of Google's reference of `projects.messages` and "FCM error codes".

mod error;
mod message;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};

use super::oauth::OAuth;
use super::reply::Reply;
use super::{Judged, Judgement, Push};
pub(crate) use error::scripted;
use error::{fcm_error, rpc_error, violation};
use message::Envelope;

/// The double.
#[derive(Debug)]
pub(crate) struct Fcm {
    pub(crate) oauth: OAuth,
    pub(crate) projects: Vec<String>,
}

impl Fcm {
    pub(crate) fn judge(&self, head: &Parts, body: &Bytes, now_ms: i64) -> Judgement {
        let path = head.uri.path();
        if path == "/token" && head.method == Method::POST {
            return Judgement::Other(self.oauth.grant(body, now_ms));
        }
        let project = path
            .strip_prefix("/v1/projects/")
            .and_then(|rest| rest.strip_suffix("/messages:send"))
            .filter(|_| head.method == Method::POST);
        let Some(project) = project else {
            return Judgement::Other(Reply::html(404));
        };
        let mut push = Push {
            app: project.to_owned(),
            ..Push::default()
        };
        let credential = self
            .oauth
            .check_bearer(head.headers.get(header::AUTHORIZATION), now_ms);
        let reply = match credential {
            None => Err(unauthenticated()),
            Some(_) => self.accept(project, head, body, &mut push),
        };
        let reply = match reply {
            Ok(Sent::Validated) => return Judgement::Other(name(project, "fake_message_id")),
            Ok(Sent::Accepted) => name(project, &message_id()),
            Err(reply) => reply,
        };
        Judgement::Push(Box::new(Judged {
            push,
            reply,
            is_trusted: true,
            credential: credential.unwrap_or_default(),
        }))
    }

    fn accept(
        &self,
        project: &str,
        head: &Parts,
        body: &Bytes,
        push: &mut Push,
    ) -> Result<Sent, Reply> {
        let content_type = head.headers.get(header::CONTENT_TYPE);
        if !content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json")) {
            return Err(rpc_error(
                400,
                "INVALID_ARGUMENT",
                "Content-Type must be application/json",
            ));
        }
        let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|cause| {
            violation(
                "message",
                &format!("Invalid JSON payload received. {cause}"),
            )
        })?;
        envelope.message.name(push);
        if !self.projects.iter().any(|it| it == project) {
            return Err(rpc_error(
                403,
                "PERMISSION_DENIED",
                "The caller does not have permission",
            ));
        }
        envelope
            .message
            .check()
            .map_err(|(field, why)| violation(&field, &why))?;
        Ok(if envelope.validate_only {
            Sent::Validated
        } else {
            Sent::Accepted
        })
    }
}

enum Sent {
    Accepted,
    Validated,
}

fn name(project: &str, id: &str) -> Reply {
    let body = format!("{{\n  \"name\": \"projects/{project}/messages/{id}\"\n}}\n");
    Reply::ok(body.into()).with(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=UTF-8"),
    )
}

fn message_id() -> String {
    let bits: u128 = rand::random();
    format!("0:{bits:032x}")
}

fn unauthenticated() -> Reply {
    fcm_error(
        401,
        "UNAUTHENTICATED",
        None,
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        &[serde_json::json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_EXPIRED",
            "domain": "googleapis.com",
        })],
    )
}
