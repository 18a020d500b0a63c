//! What the fetcher counts. Labels are configured source names and closed sets.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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
    gaps: Family<SourceLabel, Counter>,
    restarts: Family<SourceLabel, Counter>,
    items: ByResult,
    rejects: Family<ReasonLabel, Counter>,
    events: ByResult,
}

/// What a poll brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// Something to read.
    New,
    /// Nothing since the last one.
    NotModified,
    /// It failed.
    Error,
    /// The publisher asked to wait.
    Throttled,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemResult {
    /// It was published, or is known to be stored.
    Event,
    /// It is no news.
    Silent,
    /// It is too old, or too far ahead.
    Stale,
    /// It could not be used.
    Rejected,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// Stored by it.
    Stored,
    /// Stored before, by whomever.
    Already,
    /// Not known, or refused; it is tried again.
    Error,
}

impl PollResult {
    const ALL: [Self; 4] = [Self::New, Self::NotModified, Self::Error, Self::Throttled];

    fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::NotModified => "not_modified",
            Self::Error => "error",
            Self::Throttled => "throttled",
        }
    }
}

impl ItemResult {
    const ALL: [Self; 4] = [Self::Event, Self::Silent, Self::Stale, Self::Rejected];

    fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Silent => "silent",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
        }
    }
}

impl EventResult {
    const ALL: [Self; 3] = [Self::Stored, Self::Already, Self::Error];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Already => "already",
            Self::Error => "error",
        }
    }
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
            gaps: Family::default(),
            restarts: Family::default(),
            items: Family::default(),
            rejects: Family::default(),
            events: Family::default(),
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
        let help = "Gaps in the numbers of a socket's frames";
        registry.register("source_gaps", help, m.gaps.clone());
        let help = "Pumps that ended by an error or panic and were started again";
        registry.register("source_restarts", help, m.restarts.clone());
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
        let metrics = SourceMetrics {
            all: self.clone(),
            source: source.to_owned(),
        };
        let label = metrics.label();
        drop(self.poll_seconds.get_or_create(&label));
        drop(self.last_success.get_or_create(&label));
        drop(self.connected.get_or_create(&label));
        drop(self.gaps.get_or_create(&label));
        drop(self.restarts.get_or_create(&label));
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
}

/// The metrics of one source.
#[derive(Clone, Debug)]
pub struct SourceMetrics {
    all: Metrics,
    source: String,
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

    /// How many frames were missed.
    pub fn n_missed(&self) -> u64 {
        self.all.gaps.get_or_create(&self.label()).get()
    }

    /// How often the pump was started again.
    pub fn n_restarts(&self) -> u64 {
        self.all.restarts.get_or_create(&self.label()).get()
    }
}
