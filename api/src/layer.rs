//! What happens around every handler.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use rand::Rng;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use crate::config::Config;
use crate::metric::{Metrics, method_label};
use crate::problem::{Kind, Problem};
use crate::router::{Deprecation, route_label, row_of};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 64;

/// The id of a request, for what is told of it elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

/// What one server admits.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    in_flight: Arc<Semaphore>,
    timeout: Duration,
}

impl Limits {
    /// The limits of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(config.max_in_flight)),
            timeout: config.timeout(),
        }
    }
}

/// Takes a place among the requests in flight, and bounds the time. Quotas by key belong here too,
/// before the place: the request says who asks.
pub(crate) async fn limit(
    State(limits): State<Limits>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(_place) = limits.in_flight.try_acquire() else {
        return Err(Problem::new(Kind::Overloaded, "come again in a moment"));
    };
    timeout(limits.timeout, next.run(request))
        .await
        .map_err(|_| {
            Problem::new(
                Kind::Timeout,
                "it is not known what became of the request; it may be sent again",
            )
        })
}

/// Gives the request an id, a span and a count, and writes every error as a problem document.
pub(crate) async fn observe(metrics: Metrics, mut request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let matched = request.extensions().get::<MatchedPath>();
    let route = route_label(matched.map(MatchedPath::as_str));
    let method = request.method().clone();
    let span = tracing::debug_span!(
        "request",
        request.id = %request_id,
        route,
        method = method_label(&method),
    );
    let started = Instant::now();
    let in_flight = metrics.begin();
    let told = RequestId(request_id.clone());
    request.extensions_mut().insert(told);
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);
    let deprecated = row_of(route, &method).and_then(|it| it.deprecated);
    let mut response = written(response, &request_id, deprecated);
    if let Ok(value) = HeaderValue::try_from(request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let took = started.elapsed();
    let status = response.status();
    metrics.answered(route, &method, status, took);
    span.in_scope(|| {
        tracing::debug!(
            status = status.as_u16(),
            took_s = took.as_secs_f64(),
            "answered"
        );
    });
    response
}

/// Gives an id to what is answered before any route is asked, as a preflight; what has one keeps it.
pub(crate) async fn identify(request: Request, next: Next) -> Response {
    let request_id = HeaderValue::try_from(request_id(request.headers()));
    let mut response = next.run(request).await;
    if let Ok(value) = request_id {
        response.headers_mut().entry(REQUEST_ID).or_insert(value);
    }
    response
}

/// What becomes of a handler that panicked; the panic's text stays in the process.
pub(crate) fn panicked(_panic: Box<dyn Any + Send + 'static>) -> Response {
    tracing::error!("a request panicked");
    Problem::new(Kind::Internal, "the request failed; it may be sent again").into_response()
}

/// The response, as a problem document if it is an error; of what shall go, with that.
fn written(mut response: Response, request_id: &str, deprecated: Option<Deprecation>) -> Response {
    let problem = response.extensions_mut().remove::<Problem>();
    let mut response = match problem.or_else(|| Problem::of_status(response.status())) {
        Some(problem) => problem.write(response.headers(), request_id),
        None => response,
    };
    if let Some(deprecated) = deprecated {
        deprecated.write(response.headers_mut());
    }
    response
}

/// The client's own id if it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|it| it.to_str().ok());
    let is_sane = |it: &&str| {
        (1..=MAX_REQUEST_ID).contains(&it.len())
            && it
                .bytes()
                .all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
    };
    match given.filter(is_sane) {
        Some(id) => id.to_owned(),
        None => format!("{:032x}", rand::rng().random::<u128>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shall_go_says_so_on_every_answer_also_when_it_refuses() {
        let deprecated = Deprecation {
            since: jiff::Timestamp::UNIX_EPOCH,
            sunset: Some(jiff::Timestamp::UNIX_EPOCH),
            instead: "/v1/other",
        };
        let refused = || Problem::new(Kind::Forbidden, "x").into_response();
        for response in [Response::default(), refused()] {
            let status = response.status();
            let written = written(response, "r", Some(deprecated));
            assert_eq!(written.status(), status);
            assert_eq!(written.headers()["deprecation"], "@0");
            assert_eq!(written.headers()["sunset"], "Thu, 01 Jan 1970 00:00:00 GMT");
        }
        let plain = written(refused(), "r", None);
        assert!(!plain.headers().contains_key("deprecation"));
    }

    #[track_caller]
    fn check(given: &str, is_kept: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::try_from(given).unwrap());
        assert_eq!(request_id(&headers) == given, is_kept, "{given}");
    }

    #[test]
    fn a_sane_request_id_is_kept_and_another_replaced() {
        check("7f3a-1.b_C", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("a b", false);
        check("<script>", false);
        assert_eq!(request_id(&HeaderMap::new()).len(), 32);
    }
}
