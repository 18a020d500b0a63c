//! Counters of the broker contract.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::request::Unknown;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Why {
    why: &'static str,
}

impl From<Unknown> for Why {
    fn from(unknown: Unknown) -> Self {
        let why = match unknown {
            Unknown::InFlight => "in_flight",
            Unknown::IdInFlight => "id_in_flight",
            Unknown::NoLeader => "no_leader",
            Unknown::Silence => "silence",
        };
        Self { why }
    }
}

/// What the connection and the contract count; clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// 1 while connected.
    pub connected: Gauge,
    /// 0 while the broker does not answer something that is asked of it, such as a stream without a
    /// leader.
    pub answers: Gauge,
    /// Times that began.
    pub outages: Counter,
    /// Connections after the first.
    pub reconnects: Counter,
    /// Permissions violations the server told of.
    pub violations: Counter,
    /// Claims refused because another worker holds a greater one, and fenced appends.
    pub fenced_claims: Counter,
    /// Publishes repeated because their fate was not known.
    pub publish_retries: Counter,
    unknown: Family<Why, Counter>,
    /// Claims dropped without a verdict; they come again after `ack_wait`.
    pub claims_unsettled: Counter,
    /// Messages that came again.
    pub redeliveries: Counter,
    /// Device documents and keys that could not be read.
    pub skipped_records: Counter,
    /// Messages and records met that a later version wrote, each time one was met.
    pub later_schemas: Counter,
}

impl Metrics {
    /// Answers that left it open whether a publish is stored.
    pub fn publish_unknown(&self, why: Unknown) -> Counter {
        self.unknown.get_or_create_owned(&why.into())
    }

    /// Registers every metric at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        registry.register("nats_connected", "1 while connected", m.connected.clone());
        registry.register(
            "nats_answers",
            "0 while the broker does not answer, for example a stream without a leader",
            m.answers.clone(),
        );
        registry.register(
            "nats_outages",
            "Times that the broker began not to answer for some seconds",
            m.outages.clone(),
        );
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "nats_reconnects",
            "Connections after the first",
            &m.reconnects,
        );
        counter("nats_violations", "Permissions violations", &m.violations);
        counter(
            "fenced_claims",
            "Claims and appends refused by a greater claim",
            &m.fenced_claims,
        );
        counter(
            "publish_retries",
            "Publishes repeated with unknown fate",
            &m.publish_retries,
        );
        counter(
            "claims_unsettled",
            "Claims dropped without a verdict",
            &m.claims_unsettled,
        );
        counter("redeliveries", "Messages that came again", &m.redeliveries);
        counter(
            "skipped_records",
            "Unreadable device documents and keys",
            &m.skipped_records,
        );
        counter(
            "later_schemas",
            "Messages and records met that a later version wrote",
            &m.later_schemas,
        );
        metrics.register_unknown(registry);
        metrics
    }

    fn register_unknown(&self, registry: &mut Registry) {
        for why in [
            Unknown::InFlight,
            Unknown::IdInFlight,
            Unknown::NoLeader,
            Unknown::Silence,
        ] {
            let _stands_at_zero = self.publish_unknown(why);
        }
        registry.register(
            "publish_unknown",
            "Answers that left it open whether a publish is stored",
            self.unknown.clone(),
        );
    }
}
