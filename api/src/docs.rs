//! `GET /docs`: the contract for people, drawn in the browser from `/openapi.json` by one page that
//! takes nothing from elsewhere.
//!
//! Its policy lets exactly its own script and style run, by their hashes, and lets it read from this
//! server alone.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("docs/page.html");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let (style, script) = (hash("style"), hash("script"));
    let policy = format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The hash of what stands in the page's only element of this name.
fn hash(element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let inside = PAGE
        .split_once(&open)
        .and_then(|(_, it)| it.split_once(&close));
    let inside = inside.map_or("", |(inside, _)| inside);
    format!("sha256-{}", STANDARD.encode(Sha256::digest(inside)))
}

/// The contract for people.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "showDocs",
    description = "A page that draws `/openapi.json`; it takes nothing from elsewhere.",
    tag = "contract",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")),
)]
pub(crate) async fn show() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        ),
        (
            HeaderName::from_static("referrer-policy"),
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    (headers, PAGE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_takes_nothing_from_elsewhere_and_its_policy_lets_its_own_parts_run() {
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert_eq!(
                PAGE.matches(&format!("</{element}>")).count(),
                1,
                "{element}"
            );
            let empty = format!("sha256-{}", STANDARD.encode(Sha256::digest("")));
            assert_ne!(hash(element), empty, "{element}");
            assert!(
                POLICY.to_str().unwrap().contains(&hash(element)),
                "{element}"
            );
        }
        // A text that is put in is never markup, and no address but our own is named.
        for never in [
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "//cdn",
            "http:",
            "https:",
        ] {
            assert!(!PAGE.contains(never), "{never}");
        }
        assert!(!PAGE.contains(" style=") && !PAGE.contains(" onclick="));
    }
}
