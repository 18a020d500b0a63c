//! Attempts as metrics: one counter per app and outcome, looked up once when the app is opened.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::outcome::{Outcome, Scope};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    app: String,
    outcome: &'static str,
}

/// `fanfare_attempts_total{app, outcome}`, `fanfare_attempts_ambiguous_total{app}` and
/// `fanfare_attempts_repeated_total{app}`.
#[derive(Clone, Debug, Default)]
pub struct AttemptMetrics {
    attempts: Family<Labels, Counter>,
    ambiguous: Family<AppLabel, Counter>,
    retried: Family<AppLabel, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabel {
    app: String,
}

impl AttemptMetrics {
    /// Registers the metrics; `registry` already carries the prefix `fanfare`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "attempts",
            "Attempts at providers by outcome",
            self.attempts.clone(),
        );
        registry.register(
            "attempts_ambiguous",
            "Attempts that may have been accepted although no answer was read",
            self.ambiguous.clone(),
        );
        registry.register(
            "attempts_repeated",
            "Requests written again after a renewed token or on a fresh connection",
            self.retried.clone(),
        );
    }

    /// What was counted of an app.
    pub(crate) fn figures(&self, app: &str) -> Value {
        self.of_app(app).figures()
    }

    /// The counters of one app, all at zero.
    pub(super) fn of_app(&self, app: &str) -> AttemptCounters {
        let of = |outcome| {
            let labels = Labels {
                app: app.to_owned(),
                outcome,
            };
            self.attempts.get_or_create_owned(&labels)
        };
        let app = AppLabel {
            app: app.to_owned(),
        };
        AttemptCounters {
            accepted: of("accepted"),
            unregistered: of("unregistered"),
            refused: of("refused"),
            unavailable: of("unavailable"),
            credentials: of("credentials"),
            ambiguous: self.ambiguous.get_or_create_owned(&app),
            repeated: self.retried.get_or_create_owned(&app),
        }
    }
}

impl AttemptCounters {
    /// What was counted, for operators who ask the process itself.
    pub fn figures(&self) -> Value {
        json!({
            "accepted": self.accepted.get(),
            "unregistered": self.unregistered.get(),
            "refused": self.refused.get(),
            "unavailable": self.unavailable.get(),
            "credentials": self.credentials.get(),
            "ambiguous": self.ambiguous.get(),
            "repeated": self.repeated.get(),
        })
    }
}

/// One app's counters. Counting is one atomic addition.
#[derive(Clone, Debug)]
pub struct AttemptCounters {
    /// [`Outcome::Accepted`].
    pub accepted: Counter,
    /// [`Outcome::Unregistered`].
    pub unregistered: Counter,
    /// [`Outcome::Refused`].
    pub refused: Counter,
    /// [`Outcome::Unavailable`].
    pub unavailable: Counter,
    /// [`Outcome::Credentials`].
    pub credentials: Counter,
    /// Those of `unavailable` that may have been delivered.
    pub ambiguous: Counter,
    /// Free retries within an attempt.
    pub repeated: Counter,
}

impl AttemptCounters {
    /// Counts an outcome.
    pub fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Accepted { .. } => self.accepted.inc(),
            Outcome::Unregistered { .. } => self.unregistered.inc(),
            Outcome::Refused { .. } => self.refused.inc(),
            Outcome::Credentials { .. } => self.credentials.inc(),
            Outcome::Unavailable {
                maybe_delivered,
                scope,
                ..
            } => {
                // Without an answer; that of a failing server is none of these.
                if *maybe_delivered && *scope == Scope::Connection {
                    self.ambiguous.inc();
                }
                self.unavailable.inc()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_at_zero_before_the_first_attempt() {
        let metrics = AttemptMetrics::default();
        let mut registry = Registry::with_prefix("fanfare");
        metrics.register(&mut registry);
        let counters = metrics.of_app("main");
        counters.count(&Outcome::Accepted { provider_id: None });
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains(r#"fanfare_attempts_total{app="main",outcome="accepted"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"fanfare_attempts_total{app="main",outcome="refused"} 0"#),
            "{text}"
        );
        assert!(
            text.contains(r#"fanfare_attempts_ambiguous_total{app="main"} 0"#),
            "{text}"
        );
    }
}
