//! What a service answers: the bodies of ADR-32, which other people's tools read. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{QUEUE, Verb};

/// The endpoint's name.
const STATUS: &str = "status";

/// A service as it is told.
pub(super) struct Described {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) version: String,
    pub(super) description: &'static str,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) started: Timestamp,
    /// Of its endpoint.
    pub(super) subject: String,
}

/// What was asked of the endpoint.
#[derive(Default)]
pub(super) struct Stats {
    n_requests: u64,
    n_errors: u64,
    took: Duration,
}

impl Stats {
    pub(super) fn answered(&mut self, verb: Verb, took: Duration) {
        if verb == Verb::Status {
            self.n_requests += 1;
            self.took += took;
        }
    }

    /// A question that wants its answer where none may go.
    pub(super) fn refused(&mut self, verb: Verb) {
        if verb == Verb::Status {
            self.n_requests += 1;
        }
        self.n_errors += 1;
    }
}

impl Described {
    pub(super) fn ping(&self) -> Value {
        self.of_type("ping_response", [])
    }

    pub(super) fn info(&self) -> Value {
        let endpoint = json!({
            "name": STATUS,
            "subject": self.subject,
            "queue_group": QUEUE,
            "metadata": { "answer": "application/json" },
        });
        self.of_type(
            "info_response",
            [
                ("description", json!(self.description)),
                ("endpoints", json!([endpoint])),
            ],
        )
    }

    /// `data` is what the role tells.
    pub(super) fn stats(&self, stats: &Stats, data: Value) -> Value {
        let nanos = |it: u128| u64::try_from(it).unwrap_or(u64::MAX);
        let took = stats.took.as_nanos();
        let last_error = match stats.n_errors {
            0 => "",
            _ => "403:an answer was wanted elsewhere than in an inbox",
        };
        let endpoint = json!({
            "name": STATUS,
            "subject": self.subject,
            "queue_group": QUEUE,
            "num_requests": stats.n_requests,
            "num_errors": stats.n_errors,
            "last_error": last_error,
            "processing_time": nanos(took),
            "average_processing_time": nanos(took / u128::from(stats.n_requests.max(1))),
            "data": data,
        });
        self.of_type(
            "stats_response",
            [
                ("started", json!(self.started)),
                ("endpoints", json!([endpoint])),
            ],
        )
    }

    fn of_type<const N: usize>(&self, kind: &str, more: [(&str, Value); N]) -> Value {
        let common = [
            ("type", json!(format!("io.nats.micro.v1.{kind}"))),
            ("name", json!(self.name)),
            ("id", json!(self.id)),
            ("version", json!(self.version)),
            ("metadata", json!(self.metadata)),
        ];
        let told = common.into_iter().chain(more);
        let told: Map<String, Value> = told.map(|(key, it)| (key.to_owned(), it)).collect();
        told.into()
    }
}

/// The version as tools read it, without what stands beside it: `0.1.0+abc` is one, `0.1` is none.
pub(super) fn semver(version: &str) -> String {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit());
    let is_semver = core.split('.').count() == 3 && core.split('.').all(is_number);
    if is_semver {
        version.to_owned()
    } else {
        "0.0.0".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described() -> Described {
        Described {
            name: "fanfare-api".to_owned(),
            id: "n1".to_owned(),
            version: "1.2.3".to_owned(),
            description: "d",
            metadata: BTreeMap::from([("node".to_owned(), "n1".to_owned())]),
            started: Timestamp::UNIX_EPOCH,
            subject: "fanfare.ctl.api.n1.status".to_owned(),
        }
    }

    #[test]
    fn the_client_librarys_own_types_read_every_answer() {
        use async_nats::service::{Info, PingResponse, Stats as Told};
        let ping: PingResponse = serde_json::from_value(described().ping()).unwrap();
        assert_eq!(
            (ping.name.as_str(), ping.id.as_str()),
            ("fanfare-api", "n1")
        );
        let info: Info = serde_json::from_value(described().info()).unwrap();
        assert_eq!(info.endpoints[0].subject, "fanfare.ctl.api.n1.status");
        let mut stats = Stats::default();
        stats.answered(Verb::Status, Duration::from_micros(10));
        stats.answered(Verb::Status, Duration::from_micros(30));
        stats.answered(Verb::Ping, Duration::from_secs(1));
        stats.refused(Verb::Ping);
        let told = described().stats(&stats, json!({ "figures": 7 }));
        let told: Told = serde_json::from_value(told).unwrap();
        let endpoint = &told.endpoints[0];
        assert_eq!((endpoint.requests, endpoint.errors), (2, 1));
        assert_eq!(endpoint.average_processing_time, Duration::from_micros(20));
        assert_eq!(endpoint.data, Some(json!({ "figures": 7 })));
    }

    #[test]
    fn a_version_that_tools_would_refuse_is_not_told() {
        assert_eq!(semver("1.2.3"), "1.2.3");
        assert_eq!(semver("1.2.3-rc.1+abc"), "1.2.3-rc.1+abc");
        assert_eq!(semver("1.2"), "0.0.0");
        assert_eq!(semver("new"), "0.0.0");
    }
}
