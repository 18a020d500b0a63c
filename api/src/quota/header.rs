//! The fields of draft-ietf-httpapi-ratelimit-headers (10), as structured fields.

use std::num::NonZeroU32;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::table::Taken;

/// What is left.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// What there is.
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Writes both.
pub(super) fn write(name: &str, per_minute: NonZeroU32, taken: Taken, headers: &mut HeaderMap) {
    let (left, full_in_s) = (taken.remaining, taken.full_in_s);
    let fields = [
        (RATE_LIMIT_POLICY, format!("\"{name}\";q={per_minute};w=60")),
        (RATE_LIMIT, format!("\"{name}\";r={left};t={full_in_s}")),
    ];
    for (field, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(field, value);
        }
    }
}
