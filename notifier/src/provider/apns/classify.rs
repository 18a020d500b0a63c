//! APNs' answers as outcomes: one table. Pure.
//!
//! Source: Apple, "Handling notification responses from APNs", unless a line says otherwise.

use http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;

use crate::outcome::{Outcome, Scope};
use crate::provider::answer;

/// What to do besides reporting the outcome. The outcome beside it is what holds if it is not
/// possible, or was done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing.
    None,
    /// A new provider token if ours is old enough, and one free retry.
    RenewToken,
    /// Back to the previous provider token, and none new for 20 minutes.
    KeepToken,
    /// A new connection, and one free retry on it.
    RetryOnFreshConnection,
    /// A new connection for those that come after.
    ReplaceConnection,
}

#[derive(Deserialize, Default)]
struct Body<'a> {
    #[serde(borrow, default)]
    reason: std::borrow::Cow<'a, str>,
    timestamp: Option<i64>,
}

/// Judges an answer whose body was read to its end.
pub fn classify(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> (Outcome, Remedy) {
    if (200..300).contains(&status) {
        let id = headers
            .get(super::encode::ID)
            .and_then(|it| it.to_str().ok());
        return (
            Outcome::Accepted {
                provider_id: id.map(Into::into),
            },
            Remedy::None,
        );
    }
    let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
    let reason = answer::reason(&body.reason, status);
    let unavailable = |scope| Outcome::Unavailable {
        reason: reason.clone(),
        retry_after: answer::retry_after(headers, now),
        scope,
        // A server that failed may have done so after it had taken the push.
        maybe_delivered: status >= 500,
    };
    let credentials = || Outcome::Credentials {
        reason: reason.clone(),
    };
    match (status, &*body.reason) {
        // `timestamp` is in milliseconds: when APNs became sure.
        (410, _) => {
            let since = body
                .timestamp
                .and_then(|it| Timestamp::from_millisecond(it).ok());
            (Outcome::Unregistered { since, reason }, Remedy::None)
        }
        (400, "BadDeviceToken" | "DeviceTokenNotForTopic") => (
            Outcome::Unregistered {
                since: None,
                reason,
            },
            Remedy::None,
        ),
        (400, "IdleTimeout") => (unavailable(Scope::Connection), Remedy::ReplaceConnection),
        // A token is invalid too while its date lies ahead: our clock was wrong when we signed it.
        (403, "ExpiredProviderToken" | "InvalidProviderToken") => {
            (credentials(), Remedy::RenewToken)
        }
        (403, "UnrelatedKeyIdInToken") => (credentials(), Remedy::RetryOnFreshConnection),
        // 403 itself means certificate or provider token, whatever reasons may be added.
        (400, "BadTopic" | "MissingTopic" | "TopicDisallowed") | (401 | 403, _) => {
            (credentials(), Remedy::None)
        }
        (429, "TooManyProviderTokenUpdates") => (unavailable(Scope::App), Remedy::KeepToken),
        // The status itself means: too many requests for this device token.
        (429, _) => (unavailable(Scope::Device), Remedy::None),
        (_, "Shutdown") => (unavailable(Scope::App), Remedy::ReplaceConnection),
        (500.., _) => (unavailable(Scope::App), Remedy::None),
        _ => (Outcome::Refused { reason }, Remedy::None),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const REFUSED: &str = "refused";
    const UNREGISTERED: &str = "unregistered";
    const CREDENTIALS: &str = "credentials";
    const UNAVAILABLE: &str = "unavailable";

    fn judged(status: u16, body: &str) -> (Outcome, Remedy) {
        classify(
            status,
            &HeaderMap::new(),
            body.as_bytes(),
            Timestamp::UNIX_EPOCH,
        )
    }

    /// Every line of Apple's table.
    const TABLE: &[(u16, &str, &str, Remedy)] = &[
        (400, "BadCollapseId", REFUSED, Remedy::None),
        (400, "BadDeviceToken", UNREGISTERED, Remedy::None),
        (400, "BadExpirationDate", REFUSED, Remedy::None),
        (400, "BadMessageId", REFUSED, Remedy::None),
        (400, "BadPriority", REFUSED, Remedy::None),
        (400, "BadTopic", CREDENTIALS, Remedy::None),
        (400, "DeviceTokenNotForTopic", UNREGISTERED, Remedy::None),
        (400, "DuplicateHeaders", REFUSED, Remedy::None),
        (400, "IdleTimeout", UNAVAILABLE, Remedy::ReplaceConnection),
        (400, "InvalidPushType", REFUSED, Remedy::None),
        (400, "MissingDeviceToken", REFUSED, Remedy::None),
        (400, "MissingTopic", CREDENTIALS, Remedy::None),
        (400, "PayloadEmpty", REFUSED, Remedy::None),
        (400, "TopicDisallowed", CREDENTIALS, Remedy::None),
        (403, "BadCertificate", CREDENTIALS, Remedy::None),
        (403, "BadCertificateEnvironment", CREDENTIALS, Remedy::None),
        (403, "BadEnvironmentKeyIdInToken", CREDENTIALS, Remedy::None),
        (403, "ExpiredProviderToken", CREDENTIALS, Remedy::RenewToken),
        (403, "Forbidden", CREDENTIALS, Remedy::None),
        (403, "InvalidProviderToken", CREDENTIALS, Remedy::RenewToken),
        (403, "MissingProviderToken", CREDENTIALS, Remedy::None),
        (
            403,
            "UnrelatedKeyIdInToken",
            CREDENTIALS,
            Remedy::RetryOnFreshConnection,
        ),
        (404, "BadPath", REFUSED, Remedy::None),
        (405, "MethodNotAllowed", REFUSED, Remedy::None),
        (410, "ExpiredToken", UNREGISTERED, Remedy::None),
        (410, "Unregistered", UNREGISTERED, Remedy::None),
        (413, "PayloadTooLarge", REFUSED, Remedy::None),
        (
            429,
            "TooManyProviderTokenUpdates",
            UNAVAILABLE,
            Remedy::KeepToken,
        ),
        (429, "TooManyRequests", UNAVAILABLE, Remedy::None),
        (500, "InternalServerError", UNAVAILABLE, Remedy::None),
        (503, "ServiceUnavailable", UNAVAILABLE, Remedy::None),
        (503, "Shutdown", UNAVAILABLE, Remedy::ReplaceConnection),
        // What Apple may add: the status decides.
        (400, "BrandNewReason", REFUSED, Remedy::None),
        (403, "BrandNewReason", CREDENTIALS, Remedy::None),
        (410, "BrandNewReason", UNREGISTERED, Remedy::None),
        (418, "BrandNewReason", REFUSED, Remedy::None),
        (429, "BrandNewReason", UNAVAILABLE, Remedy::None),
        (502, "BrandNewReason", UNAVAILABLE, Remedy::None),
    ];

    #[test]
    fn every_reason_of_apples_table_has_its_outcome() {
        for (status, reason, outcome, remedy) in TABLE {
            let (judged, advised) = judged(*status, &format!(r#"{{"reason":"{reason}"}}"#));
            assert_eq!(
                (judged.name(), advised),
                (*outcome, *remedy),
                "{status} {reason}"
            );
            assert_eq!(judged.reason(), Some(*reason));
        }
    }

    #[test]
    fn the_scope_says_who_waits() {
        let check = |status, reason: &str, expected| {
            let (outcome, _) = judged(status, &format!(r#"{{"reason":"{reason}"}}"#));
            assert!(
                matches!(outcome, Outcome::Unavailable { scope, maybe_delivered, .. }
                    if scope == expected && maybe_delivered == (status >= 500)),
                "{outcome:?}"
            );
        };
        check(429, "TooManyRequests", Scope::Device);
        check(429, "TooManyProviderTokenUpdates", Scope::App);
        check(500, "InternalServerError", Scope::App);
        check(503, "ServiceUnavailable", Scope::App);
        check(503, "Shutdown", Scope::App);
        check(400, "IdleTimeout", Scope::Connection);
    }

    #[test]
    fn the_moment_of_unregistration_is_read_in_milliseconds() {
        let (outcome, _) = judged(
            410,
            r#"{"reason":"Unregistered","timestamp":1800000000123}"#,
        );
        let since = Timestamp::from_millisecond(1_800_000_000_123).ok();
        assert_eq!(
            outcome,
            Outcome::Unregistered {
                since,
                reason: "Unregistered".into()
            }
        );
        let (outcome, _) = judged(410, r#"{"reason":"Unregistered"}"#);
        assert_eq!(
            outcome,
            Outcome::Unregistered {
                since: None,
                reason: "Unregistered".into()
            }
        );
    }

    #[test]
    fn a_body_that_is_no_json_leaves_the_status_to_decide() {
        for (status, outcome) in [(400, REFUSED), (403, CREDENTIALS), (502, UNAVAILABLE)] {
            for body in ["", "<html>", "{\"reason\":7}", "\u{0}"] {
                let (judged, _) = judged(status, body);
                assert_eq!(judged.name(), outcome);
                assert_eq!(judged.reason(), Some(&*format!("status {status}")));
            }
        }
    }

    #[test]
    fn retry_after_is_honoured_if_it_is_sent() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let (outcome, _) = classify(503, &headers, b"", Timestamp::UNIX_EPOCH);
        let retry_after = Some(Duration::from_secs(7));
        assert!(
            matches!(outcome, Outcome::Unavailable { retry_after: it, .. } if it == retry_after)
        );
    }

    #[test]
    fn an_accepted_push_is_known_by_its_id() {
        let mut headers = HeaderMap::new();
        headers.insert("apns-id", "abc".parse().unwrap());
        let (outcome, _) = classify(200, &headers, b"", Timestamp::UNIX_EPOCH);
        assert_eq!(
            outcome,
            Outcome::Accepted {
                provider_id: Some("abc".into())
            }
        );
    }
}
