//! FCM's answers as outcomes: one table. Pure.
//!
//! Source: Firebase, "FCM error codes" and the reference of `ErrorCode`; where a line is our
//! judgement, it says so.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;

use crate::outcome::{Outcome, Scope};
use crate::provider::answer;

/// FCM: with 429 and without Retry-After, wait a minute (Firebase, "Scale FCM").
const QUOTA_WAIT: Duration = Duration::from_mins(1);

/// FCM: with 500 and 503, the first retry no earlier than this (Firebase, "Scale FCM").
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// What to do besides reporting the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    None,
    /// A new access token if ours is old enough, and one free retry.
    RenewToken,
}

#[derive(Deserialize)]
struct Accepted {
    name: Box<str>,
}

#[derive(Deserialize, Default)]
struct Body {
    #[serde(default)]
    error: Status,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    #[serde(rename = "status")]
    word: String,
    message: String,
    details: Vec<Detail>,
}

/// One of several kinds of detail; each has some of the fields.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: Option<String>,
    field_violations: Vec<FieldViolation>,
    violations: Vec<QuotaViolation>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FieldViolation {
    field: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct QuotaViolation {
    subject: String,
    description: String,
}

impl Status {
    fn fcm_error(&self) -> Option<&str> {
        self.details.iter().find_map(|it| it.error_code.as_deref())
    }

    /// A violation of the field `message.token`, or FCM's own error that says in words that the
    /// registration token is not valid.
    fn blames_token(&self) -> bool {
        let mut fields = self.details.iter().flat_map(|it| &it.field_violations);
        let message = self.message.to_ascii_lowercase();
        fields.any(|it| it.field == "message.token")
            || (self.fcm_error().is_some()
                && message.contains("registration token")
                && (message.contains("not a valid") || message.contains("not valid")))
    }

    fn quota_scope(&self) -> Scope {
        let mut violations = self.details.iter().flat_map(|it| &it.violations);
        let names_device = |text: &str| text.to_ascii_lowercase().contains("device");
        if violations.any(|it| names_device(&it.subject) || names_device(&it.description)) {
            Scope::Device
        } else {
            Scope::Quota
        }
    }
}

/// Judges an answer whose body was read to its end.
pub fn classify(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> (Outcome, Remedy) {
    if (200..300).contains(&status) {
        let accepted = serde_json::from_slice::<Accepted>(body).ok();
        return (
            Outcome::Accepted {
                provider_id: accepted.map(|it| it.name),
            },
            Remedy::None,
        );
    }
    let Body { error } = serde_json::from_slice(body).unwrap_or_default();
    let fcm_error = error.fcm_error();
    let reason: Cow<'static, str> = answer::reason(fcm_error.unwrap_or(&error.word), status);
    let unregistered = |reason| Outcome::Unregistered {
        since: None,
        reason,
    };
    let unavailable = |reason, scope, wait| Outcome::Unavailable {
        reason,
        retry_after: Some(answer::retry_after(headers, now).unwrap_or(wait)),
        scope,
        // A server that failed may have done so after it had taken the push.
        maybe_delivered: status >= 500,
    };
    let outcome = match (status, fcm_error) {
        (404, Some("UNREGISTERED")) | (403, Some("SENDER_ID_MISMATCH")) => unregistered(reason),
        (400, _) if error.blames_token() => unregistered(reason),
        // A project that is not there, or not ours, is never a dead token: our judgement.
        (401, Some("THIRD_PARTY_AUTH_ERROR")) | (403 | 404, _) => Outcome::Credentials { reason },
        (401, _) => return (Outcome::Credentials { reason }, Remedy::RenewToken),
        (429, _) => unavailable(reason, error.quota_scope(), QUOTA_WAIT),
        (500.., _) => unavailable(reason, Scope::App, FIRST_WAIT),
        _ => Outcome::Refused { reason },
    };
    (outcome, Remedy::None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NO_FCM_ERROR: &str = "";
    const FCM_ERROR: &str = "type.googleapis.com/google.firebase.fcm.v1.FcmError";

    fn body(status: &str, code: &str, message: &str, more: Option<Value>) -> String {
        let mut details = vec![];
        if code != NO_FCM_ERROR {
            details.push(json!({"@type": FCM_ERROR, "errorCode": code}));
        }
        details.extend(more);
        json!({"error": {"code": 1, "message": message, "status": status, "details": details}})
            .to_string()
    }

    fn judged(status: u16, body: &str) -> (Outcome, Remedy) {
        classify(
            status,
            &HeaderMap::new(),
            body.as_bytes(),
            Timestamp::UNIX_EPOCH,
        )
    }

    /// HTTP status, `error.status`, `errorCode`, outcome, remedy.
    const TABLE: &[(u16, &str, &str, &str, Remedy)] = &[
        (
            404,
            "NOT_FOUND",
            "UNREGISTERED",
            "unregistered",
            Remedy::None,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            "INVALID_ARGUMENT",
            "refused",
            Remedy::None,
        ),
        (
            400,
            "INVALID_ARGUMENT",
            NO_FCM_ERROR,
            "refused",
            Remedy::None,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "SENDER_ID_MISMATCH",
            "unregistered",
            Remedy::None,
        ),
        (
            401,
            "UNAUTHENTICATED",
            "THIRD_PARTY_AUTH_ERROR",
            "credentials",
            Remedy::None,
        ),
        (
            401,
            "UNAUTHENTICATED",
            NO_FCM_ERROR,
            "credentials",
            Remedy::RenewToken,
        ),
        (
            403,
            "PERMISSION_DENIED",
            NO_FCM_ERROR,
            "credentials",
            Remedy::None,
        ),
        (404, "NOT_FOUND", NO_FCM_ERROR, "credentials", Remedy::None),
        (
            429,
            "RESOURCE_EXHAUSTED",
            "QUOTA_EXCEEDED",
            "unavailable",
            Remedy::None,
        ),
        (500, "INTERNAL", "INTERNAL", "unavailable", Remedy::None),
        (
            503,
            "UNAVAILABLE",
            "UNAVAILABLE",
            "unavailable",
            Remedy::None,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            NO_FCM_ERROR,
            "refused",
            Remedy::None,
        ),
        (418, "BRAND_NEW", "BRAND_NEW", "refused", Remedy::None),
        (504, "BRAND_NEW", NO_FCM_ERROR, "unavailable", Remedy::None),
    ];

    #[test]
    fn every_code_of_googles_table_has_its_outcome() {
        for (status, word, code, outcome, remedy) in TABLE {
            let (judged, advised) = judged(*status, &body(word, code, "", None));
            assert_eq!(
                (judged.name(), advised),
                (*outcome, *remedy),
                "{status} {word} {code}"
            );
            let reason = if *code == NO_FCM_ERROR { word } else { code };
            assert_eq!(judged.reason(), Some(*reason));
        }
    }

    #[test]
    fn an_invalid_argument_is_a_dead_token_only_if_the_token_is_the_argument() {
        let violation = |field: &str| {
            Some(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": "x"}],
            }))
        };
        let check = |body: String, expected: &str| {
            assert_eq!(judged(400, &body).0.name(), expected, "{body}");
        };
        let word = "INVALID_ARGUMENT";
        let said = "The registration token is not a valid FCM registration token";
        check(
            body(word, word, "x", violation("message.token")),
            "unregistered",
        );
        check(
            body(word, word, "x", violation("message.data[0].value")),
            "refused",
        );
        check(body(word, word, said, None), "unregistered");
        check(body(word, NO_FCM_ERROR, said, None), "refused");
        check(body(word, word, "Message too big", None), "refused");
    }

    #[test]
    fn a_quota_says_who_waits_and_how_long() {
        let quota = |subject: &str| {
            Some(json!({
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"subject": subject, "description": "x"}],
            }))
        };
        let check = |more, expected| {
            let (outcome, _) = judged(429, &body("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "", more));
            assert!(
                matches!(outcome, Outcome::Unavailable { scope, retry_after: Some(QUOTA_WAIT), .. }
                    if scope == expected),
                "{outcome:?}"
            );
        };
        check(quota("device:abc"), Scope::Device);
        check(quota("project:p"), Scope::Quota);
        check(None, Scope::Quota);
    }

    #[test]
    fn retry_after_wins_over_the_defaults() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "33".parse().unwrap());
        for status in [429, 500, 503] {
            let (outcome, _) = classify(status, &headers, b"", Timestamp::UNIX_EPOCH);
            let wait = Some(Duration::from_secs(33));
            assert!(
                matches!(outcome, Outcome::Unavailable { retry_after, .. } if retry_after == wait)
            );
        }
    }

    #[test]
    fn a_page_of_html_is_an_outage() {
        let (outcome, _) = judged(502, "<html><body>502</body></html>");
        assert_eq!(
            outcome,
            Outcome::Unavailable {
                reason: "status 502".into(),
                retry_after: Some(FIRST_WAIT),
                scope: Scope::App,
                maybe_delivered: true,
            }
        );
    }

    #[test]
    fn an_accepted_push_is_known_by_its_name() {
        let (outcome, _) = judged(200, r#"{"name":"projects/p/messages/1"}"#);
        let provider_id = Some("projects/p/messages/1".into());
        assert_eq!(outcome, Outcome::Accepted { provider_id });
        let (outcome, _) = judged(200, "garbled");
        assert_eq!(outcome, Outcome::Accepted { provider_id: None });
    }
}
