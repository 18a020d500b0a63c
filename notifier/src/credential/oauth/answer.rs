//! What the token address says: a token, or why there is none. Pure.

use std::time::Duration;

use http::HeaderValue;
use serde::Deserialize;

use crate::credential::secret::Secret;
use crate::outcome::{Outcome, Reason, Scope};

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The account is refused: an operator must look.
    Refused(Reason),
    /// Try again.
    Unavailable(Reason),
}

impl Denial {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Refused(reason) => Outcome::Credentials { reason },
            Self::Unavailable(reason) => Outcome::Unavailable {
                reason,
                retry_after: None,
                scope: Scope::App,
                maybe_delivered: false,
            },
        }
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Denied {
    error: Box<str>,
}

/// Reads the answer of the token address: the `authorization` value and its lifetime.
pub(super) fn judge(status: u16, body: &[u8]) -> Result<(HeaderValue, Duration), Denial> {
    if status == 200 {
        return serde_json::from_slice::<Granted>(body)
            .ok()
            .and_then(|it| {
                let value = format!("Bearer {}", it.access_token.reveal());
                let value = HeaderValue::try_from(value).ok()?;
                Some((value, Duration::from_secs(it.expires_in)))
            })
            .ok_or(Denial::Unavailable(Reason::Borrowed(
                "access token: answer not readable",
            )));
    }
    let word = serde_json::from_slice::<Denied>(body).ok();
    let word = word
        .as_ref()
        .map_or("unknown", |it| crate::provider::plain_word(&it.error));
    let reason = Reason::Owned(format!("access token: {status} {word}"));
    // RFC 6749, 5.2: 400 and 401 say that the assertion or the account is not accepted.
    Err(match status {
        400 | 401 | 403 => Denial::Refused(reason),
        _ => Denial::Unavailable(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_granted_token_becomes_a_header() {
        let body = br#"{"access_token":"ya29.abc","expires_in":3599,"token_type":"Bearer"}"#;
        let (header, lifetime) = judge(200, body).unwrap();
        assert_eq!(header, "Bearer ya29.abc");
        assert_eq!(lifetime, Duration::from_secs(3599));
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: Outcome) {
        assert_eq!(
            judge(status, body.as_bytes()).unwrap_err().outcome(),
            expected
        );
    }

    #[test]
    fn a_refused_account_is_a_matter_of_credentials_and_the_rest_passes() {
        check(
            400,
            r#"{"error":"invalid_grant","error_description":"secret text"}"#,
            Outcome::Credentials {
                reason: "access token: 400 invalid_grant".into(),
            },
        );
        check(
            401,
            "",
            Outcome::Credentials {
                reason: "access token: 401 unknown".into(),
            },
        );
        check(
            503,
            "<html>",
            unavailable_named("access token: 503 unknown"),
        );
        check(
            200,
            "<html>",
            unavailable_named("access token: answer not readable"),
        );
    }

    fn unavailable_named(reason: &'static str) -> Outcome {
        Denial::Unavailable(reason.into()).outcome()
    }
}
