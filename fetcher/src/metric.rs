//! What the fetcher counts. Labels are configured source names and closed sets.

mod lease;
mod result;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_nats::service::LastError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

pub use self::result::{EventResult, ItemResult, PollResult};

use crate::mapping::Reason;

/// A source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    source: String,
}

/// A source and what became of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    source: String,
    result: &'static str,
}

/// A source and why something was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    source: String,
    reason: &'static str,
}

type ByResult = Family<ResultLabel, Counter>;
type PollSeconds = Family<SourceLabel, Histogram, fn() -> Histogram>;

/// The metrics of all sources; clones share the values.
#[derive(Clone, Debug)]
pub struct Metrics {
    polls: ByResult,
    poll_seconds: PollSeconds,
    last_success: Family<SourceLabel, Gauge>,
    connected: Family<SourceLabel, Gauge>,
    paused: Family<SourceLabel, Gauge>,
    gaps: Family<SourceLabel, Counter>,
    restarts: Family<SourceLabel, Counter>,
    lease: Family<SourceLabel, Gauge>,
    takeovers: Family<SourceLabel, Counter>,
    leases_lost: Family<SourceLabel, Counter>,
    late_publishes: Family<SourceLabel, Counter>,
    items: ByResult,
    rejects: Family<ReasonLabel, Counter>,
    events: ByResult,
    last_errors: Arc<Mutex<BTreeMap<String, LastError>>>,
}

fn poll_histogram() -> Histogram {
    Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            polls: Family::default(),
            poll_seconds: Family::new_with_constructor(poll_histogram as fn() -> Histogram),
            last_success: Family::default(),
            connected: Family::default(),
            paused: Family::default(),
            gaps: Family::default(),
            restarts: Family::default(),
            lease: Family::default(),
            takeovers: Family::default(),
            leases_lost: Family::default(),
            late_publishes: Family::default(),
            items: Family::default(),
            rejects: Family::default(),
            events: Family::default(),
            last_errors: Arc::default(),
        }
    }
}

impl Metrics {
    /// Registers every metric. The series of a source appear, at zero, when its pump starts.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let m = &metrics;
        registry.register("source_polls", "Polls by result", m.polls.clone());
        let help = "Duration of polls, all pages";
        registry.register("source_poll_seconds", help, m.poll_seconds.clone());
        let help = "When a poll or frame was last taken in completely";
        registry.register(
            "source_last_success_timestamp_seconds",
            help,
            m.last_success.clone(),
        );
        let help = "Open sockets of the source";
        registry.register("source_connected", help, m.connected.clone());
        let help = "1 while an operator's pause keeps this process from reading the source";
        registry.register("source_paused", help, m.paused.clone());
        let help = "Gaps in the numbers of a socket's frames";
        registry.register("source_gaps", help, m.gaps.clone());
        let help = "Pumps that ended by an error or panic and were started again";
        registry.register("source_restarts", help, m.restarts.clone());
        let help = "1 while this process holds the lease of an exclusive source";
        registry.register("source_lease", help, m.lease.clone());
        let help = "Times this process took the lease of an exclusive source";
        registry.register("source_takeovers", help, m.takeovers.clone());
        let help = "Leases lost, not let go of";
        registry.register("source_leases_lost", help, m.leases_lost.clone());
        let help = "Publishes under way when their lease ended";
        registry.register("source_late_publishes", help, m.late_publishes.clone());
        registry.register("items", "Items by result", m.items.clone());
        registry.register(
            "items_rejected",
            "Rejected items by reason",
            m.rejects.clone(),
        );
        registry.register("events", "Publishes by result", m.events.clone());
        metrics
    }

    /// The metrics of one source, with all its series at zero.
    pub fn of_source(&self, source: &str) -> SourceMetrics {
        let mut last_errors = self
            .last_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last_error = last_errors.entry(source.to_owned()).or_default().clone();
        drop(last_errors);
        let metrics = SourceMetrics {
            all: self.clone(),
            source: source.to_owned(),
            last_error,
        };
        let label = metrics.label();
        drop(self.poll_seconds.get_or_create(&label));
        drop(self.last_success.get_or_create(&label));
        drop(self.connected.get_or_create(&label));
        drop(self.paused.get_or_create(&label));
        drop(self.gaps.get_or_create(&label));
        drop(self.restarts.get_or_create(&label));
        drop(self.lease.get_or_create(&label));
        drop(self.takeovers.get_or_create(&label));
        drop(self.leases_lost.get_or_create(&label));
        drop(self.late_publishes.get_or_create(&label));
        for it in PollResult::ALL {
            drop(self.polls.get_or_create(&metrics.result(it.as_str())));
        }
        for it in ItemResult::ALL {
            drop(self.items.get_or_create(&metrics.result(it.as_str())));
        }
        for it in EventResult::ALL {
            drop(self.events.get_or_create(&metrics.result(it.as_str())));
        }
        for it in Reason::ALL {
            drop(self.rejects.get_or_create(&metrics.reason(it)));
        }
        metrics
    }

    /// Every source with what was counted, for operators who ask the process itself.
    pub fn figures(&self) -> Value {
        let last_errors = self
            .last_errors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let names: Vec<String> = last_errors.keys().cloned().collect();
        drop(last_errors);
        let sources = names.into_iter().map(|name| {
            let figures = self.of_source(&name).figures();
            (name, figures)
        });
        json!({ "sources": sources.collect::<Map<_, _>>() })
    }
}

/// The metrics of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    all: Metrics,
    source: String,
    last_error: LastError,
}

impl SourceMetrics {
    fn label(&self) -> SourceLabel {
        SourceLabel {
            source: self.source.clone(),
        }
    }

    fn result(&self, result: &'static str) -> ResultLabel {
        ResultLabel {
            source: self.source.clone(),
            result,
        }
    }

    fn reason(&self, reason: Reason) -> ReasonLabel {
        ReasonLabel {
            source: self.source.clone(),
            reason: reason.as_str(),
        }
    }

    /// Counts a poll.
    pub fn polled(&self, result: PollResult) {
        self.all
            .polls
            .get_or_create(&self.result(result.as_str()))
            .inc();
    }

    /// Notes how long a poll took.
    pub fn poll_took(&self, seconds: f64) {
        self.all
            .poll_seconds
            .get_or_create(&self.label())
            .observe(seconds);
    }

    /// Notes that a poll or frame was taken in completely.
    pub fn succeeded(&self, now: jiff::Timestamp) {
        self.all
            .last_success
            .get_or_create(&self.label())
            .set(now.as_second());
    }

    /// Notes that a socket was opened or lost.
    pub fn connected(&self, change: i64) {
        self.all
            .connected
            .get_or_create(&self.label())
            .inc_by(change);
    }

    /// Notes whether an operator's pause keeps the source from being read.
    pub fn paused(&self, is_paused: bool) {
        let paused = self.all.paused.get_or_create(&self.label());
        paused.set(i64::from(is_paused));
    }

    /// Whether it does.
    pub fn is_paused(&self) -> bool {
        self.all.paused.get_or_create(&self.label()).get() == 1
    }

    /// Counts gaps.
    pub fn missed(&self, n: u64) {
        self.all.gaps.get_or_create(&self.label()).inc_by(n);
    }

    /// Counts a restart of the pump.
    pub fn restarted(&self) {
        self.all.restarts.get_or_create(&self.label()).inc();
    }

    /// Counts items.
    pub fn items(&self, result: ItemResult, n: u64) {
        self.all
            .items
            .get_or_create(&self.result(result.as_str()))
            .inc_by(n);
    }

    /// Counts a rejected item.
    pub fn rejected(&self, reason: Reason) {
        self.all.rejects.get_or_create(&self.reason(reason)).inc();
        self.items(ItemResult::Rejected, 1);
    }

    /// Counts a publish.
    pub fn event(&self, result: EventResult) {
        self.all
            .events
            .get_or_create(&self.result(result.as_str()))
            .inc();
    }

    /// How many events of this result there were; for tests and `source test`.
    pub fn n_events(&self, result: EventResult) -> u64 {
        self.all
            .events
            .get_or_create(&self.result(result.as_str()))
            .get()
    }

    /// How many polls of this result there were.
    pub fn n_polls(&self, result: PollResult) -> u64 {
        self.all
            .polls
            .get_or_create(&self.result(result.as_str()))
            .get()
    }

    /// How many items of this result there were.
    pub fn n_items(&self, result: ItemResult) -> u64 {
        self.all
            .items
            .get_or_create(&self.result(result.as_str()))
            .get()
    }

    fn figures(&self) -> Value {
        let by = |family: &ByResult, results: &[&'static str]| -> Map<String, Value> {
            let count = |it: &&'static str| {
                let n = family.get_or_create(&self.result(it)).get();
                ((*it).to_owned(), Value::from(n))
            };
            results.iter().map(count).collect()
        };
        let last_success = self.all.last_success.get_or_create(&self.label()).get();
        let last_success = jiff::Timestamp::from_second(last_success).ok();
        json!({
            "polls": by(&self.all.polls, &PollResult::ALL.map(PollResult::as_str)),
            "items": by(&self.all.items, &ItemResult::ALL.map(ItemResult::as_str)),
            "events": by(&self.all.events, &EventResult::ALL.map(EventResult::as_str)),
            "sockets_open": self.all.connected.get_or_create(&self.label()).get(),
            "restarts": self.n_restarts(),
            "is_paused": self.is_paused(),
            "holds_lease": self.is_holder(),
            "last_success": last_success.filter(|it| it.as_second() > 0),
            "last_error": self.last_error.told(),
        })
    }

    /// Remembers what went wrong last.
    pub fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        self.last_error.note(error);
    }

    /// How many frames were missed.
    pub fn n_missed(&self) -> u64 {
        self.all.gaps.get_or_create(&self.label()).get()
    }

    /// How often the pump was started again.
    pub fn n_restarts(&self) -> u64 {
        self.all.restarts.get_or_create(&self.label()).get()
    }
}
