//! Counters of the broker contract.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What the connection and the contract count; clones share the values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// 1 while connected.
    pub connected: Gauge,
    /// Connections after the first.
    pub reconnects: Counter,
    /// Permissions violations the server told of.
    pub violations: Counter,
    /// Claims refused because another worker holds a greater one, and fenced appends.
    pub fenced_claims: Counter,
    /// Publishes repeated because their fate was not known.
    pub publish_retries: Counter,
    /// Claims dropped without a verdict; they come again after `ack_wait`.
    pub claims_unsettled: Counter,
    /// Messages that came again.
    pub redeliveries: Counter,
    /// Device documents and keys that could not be read.
    pub skipped_records: Counter,
}

impl Metrics {
    /// Registers every metric at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        registry.register("nats_connected", "1 while connected", m.connected.clone());
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
        metrics
    }
}
