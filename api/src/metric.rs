//! What the API counts.

use std::time::Duration;

use fanfare_nats::service::LastError;
use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::audit::{LOST, STORED};
use crate::router::SERVED;

/// Upper bounds in seconds; a write to a broker with three servers takes 1 to 15 ms.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// What the API answers with, the framework's own refusals included.
const STATUSES: [u16; 23] = [
    200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 421, 422, 428, 429,
    500, 501, 503, 504,
];

/// One kind of answer. All three come from closed sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

/// Why we ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What the reader had not seen is not at hand any more.
    Slow,
    /// Its key is not good any more, or nobody can say.
    Key,
    /// Its position is none of these streams'.
    Position,
}

impl Ending {
    const ALL: [Self; 3] = [Self::Slow, Self::Key, Self::Position];

    /// A word for programs, and the label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Key => "key",
            Self::Position => "position",
        }
    }
}

/// Why a stream was ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    reason: &'static str,
}

/// What became of a record of the audit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditLabels {
    result: &'static str,
}

/// What became of tokens that were somebody else's.
#[derive(Clone, Debug, Default)]
struct Challenges {
    sent: Counter,
    confirmed: Counter,
    refused: Counter,
}

/// The API's counters; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Histogram,
    in_flight: Gauge,
    streams: Gauge,
    streams_dropped: Family<DropLabels, Counter>,
    registrations_warned: Counter,
    registrations_removed: Counter,
    audit_records: Family<AuditLabels, Counter>,
    challenges: Challenges,
    last_error: LastError,
}

impl Metrics {
    /// Registers every metric at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new(BUCKETS),
            in_flight: Gauge::default(),
            streams: Gauge::default(),
            streams_dropped: Family::default(),
            registrations_warned: Counter::default(),
            registrations_removed: Counter::default(),
            audit_records: Family::default(),
            challenges: Challenges::default(),
            last_error: LastError::new(),
        };
        for row in SERVED {
            let (route, method) = (row.route, row.method);
            // What an alert asks for stands at zero too: the broker is away, or we are overloaded.
            let away = route.starts_with("/v1/").then_some(503);
            for status in row.good.iter().copied().chain(away) {
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
        metrics.register_registrations(registry);
        metrics.register_audit(registry);
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
        for reason in Ending::ALL.map(Ending::word) {
            drop(
                metrics
                    .streams_dropped
                    .get_or_create(&DropLabels { reason }),
            );
        }
        registry.register(
            "api_streams",
            "Readers of the live stream",
            metrics.streams.clone(),
        );
        registry.register(
            "api_streams_dropped",
            "Readers that were dropped, by reason",
            metrics.streams_dropped.clone(),
        );
        metrics
    }

    fn register_audit(&self, registry: &mut Registry) {
        for result in [STORED, LOST] {
            drop(self.audit_records.get_or_create(&AuditLabels { result }));
        }
        registry.register(
            "api_audit_records",
            "Records of changes, by result",
            self.audit_records.clone(),
        );
    }

    fn register_registrations(&self, registry: &mut Registry) {
        registry.register(
            "api_registrations_warned",
            "Registrations that were told to expire soon",
            self.registrations_warned.clone(),
        );
        registry.register(
            "api_registrations_removed",
            "Registrations that expired",
            self.registrations_removed.clone(),
        );
        registry.register(
            "api_challenges_sent",
            "Challenges of tokens that are somebody else's",
            self.challenges.sent.clone(),
        );
        registry.register(
            "api_challenges_confirmed",
            "Devices that got their token by the answer to a challenge",
            self.challenges.confirmed.clone(),
        );
        registry.register(
            "api_challenges_refused",
            "Answers to challenges that were wrong or came too late",
            self.challenges.refused.clone(),
        );
    }

    /// What was answered, for operators who ask the process itself.
    pub fn figures(&self) -> Value {
        let mut by_route: Map<String, Value> = Map::new();
        for row in SERVED {
            let (route, method) = (row.route, row.method);
            let mut by_status: Map<String, Value> = Map::new();
            for status in STATUSES {
                let labels = Labels {
                    route,
                    method,
                    status,
                };
                // What was never answered has no series, and gets none by being asked for.
                if let Some(n) = self.requests.get(&labels).map(|it| it.get()) {
                    by_status.insert(status.to_string(), n.into());
                }
            }
            by_route.insert(format!("{method} {route}"), by_status.into());
        }
        json!({
            "in_flight": self.in_flight.get(),
            "answers": by_route,
            "last_error": self.last_error.told(),
        })
    }

    /// Counts a warning that was stored.
    pub(crate) fn registration_warned(&self) {
        self.registrations_warned.inc();
    }

    /// Counts a registration that was removed because it had expired.
    pub(crate) fn registration_removed(&self) {
        self.registrations_removed.inc();
    }

    /// Counts records of the audit.
    pub(crate) fn audited(&self, result: &'static str, n: u64) {
        let records = self.audit_records.get_or_create(&AuditLabels { result });
        records.inc_by(n);
    }

    /// Counts a challenge that was stored.
    pub(crate) fn challenge_sent(&self) {
        self.challenges.sent.inc();
    }

    /// Counts an answer to a challenge.
    pub(crate) fn challenge_answered(&self, is_right: bool) {
        if is_right {
            self.challenges.confirmed.inc();
        } else {
            self.challenges.refused.inc();
        }
    }

    /// Counts one request as being served until the guard is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Readers of the live stream.
    pub(crate) fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// Counts a reader that was dropped.
    pub(crate) fn stream_dropped(&self, ending: Ending) {
        let reason = ending.word();
        self.streams_dropped
            .get_or_create(&DropLabels { reason })
            .inc();
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
        if status.is_server_error() {
            let method = labels.method;
            self.last_error
                .say(&format!("{status} to {method} {route}"));
        }
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
