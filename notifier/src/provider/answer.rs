//! What answers of all providers have in common: reasons that are fit to be shown, Retry-After,
//! bodies that were cut off. Pure.

use std::borrow::Cow;
use std::time::Duration;

use http::{HeaderMap, header};
use jiff::Timestamp;

use crate::outcome::{Outcome, Reason, Scope};

/// Whatever a provider says, we wait no shorter and no longer.
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

/// The longest reason that is passed on; providers' own are shorter.
const MAX_REASON: usize = 48;

/// A word that a provider gave as reason, if it is one: letters and underscores. Answers are
/// untrusted, and anything else could be a token or a text that is echoed.
pub(crate) fn plain_word(text: &str) -> &str {
    let is_plain = !text.is_empty()
        && text.len() <= MAX_REASON
        && text
            .bytes()
            .all(|it| it.is_ascii_alphabetic() || it == b'_');
    if is_plain { text } else { "unknown" }
}

/// The reason of an outcome, from a provider's word and the status it came with.
pub(super) fn reason(word: &str, status: u16) -> Reason {
    match plain_word(word) {
        "unknown" => Cow::Owned(format!("status {status}")),
        plain => Cow::Owned(plain.to_owned()),
    }
}

/// Reads Retry-After, in seconds or as a date (RFC 9110, 10.2.3), clamped to 1 s … 1 h.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        // A date in the past is a wait of nothing, which the clamp makes a second.
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(wait.clamp(*WAIT.start(), *WAIT.end()))
}

/// The outcome of an answer that was no success and whose body, which would say why, was cut off.
pub(super) fn cut_off(status: http::StatusCode) -> Outcome {
    Outcome::Unavailable {
        reason: Cow::Borrowed("answer cut off"),
        retry_after: None,
        scope: Scope::Connection,
        // A server that failed may have done so after it had taken the push.
        maybe_delivered: status.is_server_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        assert_eq!(
            retry_after(&headers, now).map(|it| it.as_secs()),
            expected,
            "{value}"
        );
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_clamped() {
        check("30", Some(30));
        check("0", Some(1));
        check("86400", Some(3600));
        check("Sun, 01 Mar 2026 12:01:30 GMT", Some(90));
        check("Sun, 01 Mar 2026 11:00:00 GMT", Some(1));
        check("Sun, 01 Mar 2026 23:00:00 GMT", Some(3600));
        check("soon", None);
        check("-5", None);
    }

    #[test]
    fn a_reason_is_a_word_and_nothing_that_could_be_a_token() {
        assert_eq!(reason("BadDeviceToken", 400), "BadDeviceToken");
        assert_eq!(reason("UNREGISTERED", 404), "UNREGISTERED");
        assert_eq!(reason("0a1b2c3d", 400), "status 400");
        assert_eq!(reason("two words", 400), "status 400");
        assert_eq!(reason("", 502), "status 502");
        assert_eq!(reason(&"a".repeat(49), 502), "status 502");
    }
}
