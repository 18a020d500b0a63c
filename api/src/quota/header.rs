//! The fields of draft-ietf-httpapi-ratelimit-headers (11), as structured fields.
//!
//! `r` and `t` are not a promise but a pace: whoever spreads `r` requests over `t` seconds keeps within
//! the policy for ever, and no client works out a higher pace than that (sections 6 and 8.5). Where an
//! answer has `Retry-After`, `t` is no longer than that (section 6).

use std::num::NonZeroU32;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::table::Taken;

/// What is left.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What there is.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Writes both.
pub(super) fn write(name: &str, per_minute: NonZeroU32, taken: Taken, headers: &mut HeaderMap) {
    let (left, lasts_s) = (taken.remaining, taken.lasts_s);
    let fields = [
        (RATE_LIMIT_POLICY, format!("\"{name}\";q={per_minute};w=60")),
        (RATE_LIMIT, format!("\"{name}\";r={left};t={lasts_s}")),
    ];
    for (field, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(field, value);
        }
    }
}

/// Ends the window no later than the time after which a refusal says to come again.
pub(crate) fn end_with_retry(headers: &mut HeaderMap) {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let Some((item, lasts_s)) = text(RATE_LIMIT).and_then(|it| it.rsplit_once(";t=")) else {
        return;
    };
    let wait_s: Option<u64> = text(RETRY_AFTER).and_then(|it| it.parse().ok());
    let (Ok(lasts_s), Some(wait_s)) = (lasts_s.parse::<u64>(), wait_s) else {
        return;
    };
    let value = format!("{item};t={}", lasts_s.min(wait_s));
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(RATE_LIMIT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: &'static str, retry_after: Option<u64>, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(RATE_LIMIT, HeaderValue::from_static(limit));
        if let Some(wait_s) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait_s));
        }
        end_with_retry(&mut headers);
        assert_eq!(headers[RATE_LIMIT], expected, "{retry_after:?}");
    }

    #[test]
    fn who_is_told_to_come_again_is_told_of_no_longer_window() {
        check("\"key\";r=7;t=40", Some(3), "\"key\";r=7;t=3");
        check("\"key\";r=0;t=20", Some(20), "\"key\";r=0;t=20");
        check("\"key\";r=7;t=2", Some(20), "\"key\";r=7;t=2");
        check("\"key\";r=7;t=40", None, "\"key\";r=7;t=40");
    }
}
