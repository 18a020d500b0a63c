//! What browsers and slow lines ask for: which pages may call this API, and smaller answers.

use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH,
    IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER,
};
use http::{Extensions, HeaderMap, Method, StatusCode, Version};
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Config;
use crate::layer;
use crate::quota::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// Below it, the packed answer is hardly smaller than the plain one, in bytes.
const WORTH_PACKING: u64 = 1024;
/// For so long a browser need not ask again.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Answers that are sent as they come: packed, they would wait for each other.
const STREAMS: [&str; 2] = ["text/event-stream", "application/x-ndjson"];

/// The routes, with both.
pub(crate) fn served(routes: Router, config: &Config) -> Router {
    let worth = SizeAbove::new(WORTH_PACKING).and(is_to_be_packed);
    let packing = CompressionLayer::new().quality(CompressionLevel::Fastest);
    let routes = routes.layer(packing.compress_when(worth));
    match cors(config) {
        Some(cors) => routes.layer(cors).layer(from_fn(layer::identify)),
        None => routes,
    }
}

/// An entity tag names these bytes, so what has one is sent in these bytes; what holds a secret is
/// not mixed with what its reader chose; streams are not held up.
fn is_to_be_packed(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let is_stream = kind.is_some_and(|kind| STREAMS.iter().any(|it| kind.starts_with(it)));
    let is_secret = headers
        .get(CACHE_CONTROL)
        .is_some_and(|it| it == "no-store");
    !is_stream && !is_secret && !headers.contains_key(ETAG)
}

/// The pages that may call, if any.
fn cors(config: &Config) -> Option<CorsLayer> {
    let origins = match config.cors_origins.as_slice() {
        [] => return None,
        [any] if any == "*" => AllowOrigin::any(),
        origins => {
            let origins = origins.iter();
            AllowOrigin::list(origins.filter_map(|it| HeaderValue::try_from(it).ok()))
        }
    };
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
    ];
    let sent = [
        AUTHORIZATION,
        CONTENT_TYPE,
        IF_MATCH,
        IF_NONE_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("x-request-id"),
    ];
    let told = [
        ETAG,
        LINK,
        LOCATION,
        RETRY_AFTER,
        RATE_LIMIT,
        RATE_LIMIT_POLICY,
        HeaderName::from_static("x-request-id"),
    ];
    // Without credentials: what a key or a secret says is sent by the page, never by the browser.
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods(methods);
    Some(
        cors.allow_headers(sent)
            .expose_headers(told)
            .max_age(MAX_AGE),
    )
}

/// Whether a text is an origin as a browser sends it (RFC 6454 section 6.1), or `*`.
pub(crate) fn is_origin(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let authority = rest.and_then(|it| it.parse::<http::uri::Authority>().ok());
    let is_plain = |it: http::uri::Authority| !it.host().is_empty() && !it.as_str().contains('@');
    text == "*"
        || (!text.contains('*')
            && authority.is_some_and(is_plain)
            && text == text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for good in [
            "*",
            "https://app.example.org",
            "http://localhost:5173",
            "http://[::1]:80",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for wrong in [
            "app.example.org",
            "https://",
            "https://a/",
            "https://a/b",
            "https://A.org",
            "https://u@a.org",
            "ftp://a",
            "null",
            "https://*.example.org/",
        ] {
            assert!(!is_origin(wrong), "{wrong}");
        }
    }

    #[test]
    fn streams_secrets_and_what_has_a_tag_are_sent_as_they_are() {
        let packed = |name: HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
            is_to_be_packed(
                StatusCode::OK,
                Version::HTTP_11,
                &headers,
                &Extensions::new(),
            )
        };
        assert!(packed(CONTENT_TYPE, "application/json"));
        assert!(!packed(CONTENT_TYPE, "application/x-ndjson"));
        assert!(!packed(CONTENT_TYPE, "text/event-stream;charset=utf-8"));
        assert!(!packed(CACHE_CONTROL, "no-store"));
        assert!(!packed(ETAG, "\"7\""));
    }
}
