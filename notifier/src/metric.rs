//! What a notifier counts. Labels come from closed sets; everything stands at zero from the start.

mod lanes;

use std::sync::atomic::AtomicU64;

use fanfare_nats::index::Dropped;
use fanfare_nats::service::LastError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use self::lanes::LaneMetrics;
use crate::provider::AttemptMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// The counters and gauges of a notifier; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Attempts by app and outcome.
    pub attempts: AttemptMetrics,
    /// Breakers, pauses and rates.
    pub lanes: LaneMetrics,
    skipped: Family<Reason, Counter>,
    /// Events planned by this process.
    pub planned: Counter,
    /// Urgent events among them that were planned before their turn.
    pub planned_ahead: Counter,
    /// Plans that were stored already: by another notifier, or by this one before the event's turn.
    pub plans_found: Counter,
    /// Tasks taken up.
    pub tasks: Counter,
    /// Tasks handed back: a stop, or a provider that is away.
    pub handed_back: Counter,
    /// Receipts written.
    pub receipts: Counter,
    /// Tokens removed because the provider knows them no more.
    pub retired: Counter,
    /// Dead letters written.
    pub dead_letters: Counter,
    /// Credits taken at the moment.
    pub credit_used: Gauge,
    /// Devices in the index.
    pub devices: Gauge,
    /// Seconds since the index was last proven fresh; it grows while there is no work.
    pub index_age: Gauge<f64, AtomicU64>,
    /// Seconds from the event's time to the provider's acceptance.
    pub event_age: Histogram,
    /// What went wrong last.
    pub last_error: LastError,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [
            0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0,
        ];
        Self {
            attempts: AttemptMetrics::default(),
            lanes: LaneMetrics::default(),
            skipped: Family::default(),
            planned: Counter::default(),
            planned_ahead: Counter::default(),
            plans_found: Counter::default(),
            tasks: Counter::default(),
            handed_back: Counter::default(),
            receipts: Counter::default(),
            retired: Counter::default(),
            dead_letters: Counter::default(),
            credit_used: Gauge::default(),
            devices: Gauge::default(),
            index_age: Gauge::default(),
            event_age: Histogram::new(seconds),
            last_error: LastError::new(),
        }
    }
}

/// Why nothing was sent, beside [`Dropped`].
pub(crate) const EXPIRED: &str = "expired";
/// A higher level of the item stands.
pub(crate) const SUPERSEDED: &str = "superseded";
/// The message was no event or task.
pub(crate) const INVALID: &str = "invalid";

impl Metrics {
    /// Registers everything; `registry` carries the prefix `fanfare`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        m.attempts.register(registry);
        m.lanes.register(registry);
        let dropped = [
            Dropped::Gone,
            Dropped::OtherApp,
            Dropped::Unsubscribed,
            Dropped::TokenLost,
            Dropped::TokenMoved,
        ];
        let reasons = dropped.map(Dropped::as_str).into_iter();
        for reason in reasons.chain([EXPIRED, SUPERSEDED, INVALID]) {
            let _ = m.skipped.get_or_create(&Reason { reason });
        }
        registry.register("skipped", "Not sent, by reason", m.skipped.clone());
        registry.register("events_planned", "Events planned", m.planned.clone());
        registry.register(
            "events_planned_ahead",
            "Urgent events planned before their turn",
            m.planned_ahead.clone(),
        );
        registry.register(
            "plans_found",
            "Plans found that were stored already",
            m.plans_found.clone(),
        );
        registry.register("tasks", "Tasks taken up", m.tasks.clone());
        registry.register(
            "tasks_handed_back",
            "Tasks handed back",
            m.handed_back.clone(),
        );
        registry.register("receipts", "Receipts written", m.receipts.clone());
        registry.register("devices_retired", "Tokens removed", m.retired.clone());
        registry.register(
            "dead_letters",
            "Dead letters written",
            m.dead_letters.clone(),
        );
        registry.register(
            "credit_used",
            "Sends not yet recorded",
            m.credit_used.clone(),
        );
        registry.register("devices", "Devices in the index", m.devices.clone());
        registry.register_with_unit(
            "index_age",
            "Age of the index's last proof of freshness",
            Unit::Seconds,
            m.index_age.clone(),
        );
        registry.register_with_unit(
            "event_age",
            "From the event's time to the provider's acceptance",
            Unit::Seconds,
            m.event_age.clone(),
        );
        metrics
    }

    /// Counts something that was not sent.
    pub(crate) fn skip(&self, reason: &'static str, n: u64) {
        self.skipped.get_or_create(&Reason { reason }).inc_by(n);
    }
}
