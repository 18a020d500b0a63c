//! FCM's error bodies: `google.rpc.Status` with typed details.

use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::provider::Push;
use crate::provider::reply::Reply;
use crate::script::{Answer, Scope};

/// What FCM says of a token it cannot have given out.
pub(super) const NOT_A_TOKEN: &str = "The registration token is not a valid FCM registration token";

/// A status with an `FcmError` (where `code` is given) and further details.
pub(super) fn fcm_error(
    http: u16,
    status: &str,
    code: Option<&str>,
    message: &str,
    more: &[Value],
) -> Reply {
    let fcm = code.map(|code| {
        json!({ "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code })
    });
    let details: Vec<Value> = fcm.into_iter().chain(more.iter().cloned()).collect();
    let mut error = json!({ "code": http, "message": message, "status": status });
    if let Some(error) = error.as_object_mut()
        && !details.is_empty()
    {
        error.insert("details".to_owned(), details.into());
    }
    let body = json!({ "error": error }).to_string().into_bytes();
    let json = HeaderValue::from_static("application/json; charset=UTF-8");
    Reply::failed(http, code.unwrap_or(status), body).with(header::CONTENT_TYPE, json)
}

/// An error of Google's front, which knows nothing of FCM.
pub(super) fn rpc_error(http: u16, status: &str, message: &str) -> Reply {
    fcm_error(http, status, None, message, &[])
}

/// 400 with the field at fault.
pub(super) fn violation(field: &str, description: &str) -> Reply {
    let bad_request = json!({
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{ "field": field, "description": description }],
    });
    fcm_error(
        400,
        "INVALID_ARGUMENT",
        Some("INVALID_ARGUMENT"),
        description,
        &[bad_request],
    )
}

/// FCM's words for a scripted fault; `None` if the message is accepted all the same.
pub(crate) fn scripted(answer: &Answer, push: &Push, now_ms: i64) -> Option<Reply> {
    Some(match answer {
        Answer::Unregistered { .. } => fcm_error(
            404,
            "NOT_FOUND",
            Some("UNREGISTERED"),
            "Requested entity was not found.",
            &[],
        ),
        Answer::BadToken => violation("message.token", NOT_A_TOKEN),
        Answer::WrongSender => {
            let code = Some("SENDER_ID_MISMATCH");
            fcm_error(403, "PERMISSION_DENIED", code, "SenderId mismatch", &[])
        }
        Answer::TooMany { scope, retry_after } => {
            quota(*scope, push).retry_after(*retry_after, now_ms)
        }
        Answer::Unavailable { retry_after } => {
            let why = "The service is currently unavailable.";
            fcm_error(503, "UNAVAILABLE", Some("UNAVAILABLE"), why, &[])
                .retry_after(*retry_after, now_ms)
        }
        Answer::Shutdown => rpc_error(503, "UNAVAILABLE", "The service is currently unavailable."),
        Answer::Internal | Answer::AcceptedInternal | Answer::EndlessBody => {
            let why = "Internal error encountered.";
            fcm_error(500, "INTERNAL", Some("INTERNAL"), why, &[])
        }
        Answer::Html { status } => Reply::html(*status),
        Answer::Credentials { .. } => super::unauthenticated(),
        Answer::Reason {
            status,
            reason,
            retry_after,
        } => fcm_error(*status, canonical(*status), Some(reason), reason, &[])
            .retry_after(*retry_after, now_ms),
        Answer::Slow { .. }
        | Answer::ResetStream { .. }
        | Answer::ResetConnection
        | Answer::RefuseStream
        | Answer::Goaway
        | Answer::GoawayBelow
        | Answer::SilentDrop
        | Answer::MaxStreams { .. } => return None,
    })
}

fn quota(scope: Scope, push: &Push) -> Reply {
    let (subject, description) = match scope {
        Scope::Device => (
            format!("device:{}", push.token),
            "Device message rate exceeded",
        ),
        Scope::App => (
            format!("project:{}", push.app),
            "Message send rate exceeded",
        ),
    };
    let failure = json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{ "subject": subject, "description": description }],
    });
    fcm_error(
        429,
        "RESOURCE_EXHAUSTED",
        Some("QUOTA_EXCEEDED"),
        description,
        &[failure],
    )
}

/// `google.rpc.Code` of an HTTP status.
fn canonical(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INVALID_ARGUMENT",
    }
}
