//! What the API counts.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::router::SERVED;

/// Upper bounds in seconds; a write to a broker with three servers takes 1 to 15 ms.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// One kind of answer. All three come from closed sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

/// The API's counters; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Histogram,
    in_flight: Gauge,
}

impl Metrics {
    /// Registers every metric at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new(BUCKETS),
            in_flight: Gauge::default(),
        };
        for (route, method, statuses) in SERVED {
            // What an alert asks for stands at zero too: the broker is away, or we are overloaded.
            let away = route.starts_with("/v1/").then_some(503);
            for status in statuses.iter().copied().chain(away) {
                let labels = Labels {
                    route,
                    method,
                    status,
                };
                drop(metrics.requests.get_or_create(&labels));
            }
        }
        registry.register(
            "api_requests",
            "Requests answered",
            metrics.requests.clone(),
        );
        registry.register(
            "api_request_seconds",
            "Time from the request's head to the answer's",
            metrics.seconds.clone(),
        );
        registry.register(
            "api_in_flight",
            "Requests being served",
            metrics.in_flight.clone(),
        );
        metrics
    }

    /// Counts one request as being served until the guard is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts one answer.
    pub(crate) fn answered(
        &self,
        route: &'static str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = Labels {
            route,
            method: method_label(method),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}

/// One request being served.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A method's label; a client may invent methods, a label set may not grow by them.
pub(crate) fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
