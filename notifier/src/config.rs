//! The section `[notifier]` and the apps.

use std::time::Duration;

use fanfare_nats::{AppName, Problem};
use serde::Deserialize;

use crate::provider::AppConfig;

/// How a notifier sends. The defaults are the shipped values of the promise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The apps that devices may name.
    pub app: Vec<AppConfig>,
    /// Tasks of an app worked on at once, 1 to 64.
    pub tasks: usize,
    /// Requests in flight at once, in all tasks together.
    pub concurrency: usize,
    /// Percent of `concurrency` and of `window` that belong to urgent pushes, 0 to 90; one at least.
    /// Of what an app may have at the moment, as much belongs to its own urgent pushes.
    pub urgent_share: u8,
    /// `W`: sends whose outcome is not yet durably recorded; the most that a crash repeats.
    pub window: usize,
    /// A receipt is written after so many outcomes.
    pub stride: usize,
    /// Or after so many milliseconds, whichever comes first.
    pub stride_ms: u64,
    /// Sending stops when the index is not proven to be at most this old, in milliseconds.
    pub freshness_ms: u64,
    /// Events planned at once.
    pub planners: usize,
    /// Breaks the promise on purpose; no file or variable can say so.
    #[serde(skip)]
    pub sabotage: Option<Sabotage>,
}

/// A way to break the promise, for checks that must notice it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// A task is acknowledged when it is taken, before anything is sent.
    AckEarly,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app: Vec::new(),
            tasks: 4,
            concurrency: 128,
            urgent_share: 25,
            window: 256,
            stride: 32,
            stride_ms: 100,
            freshness_ms: 2000,
            planners: 4,
            sabotage: None,
        }
    }
}

impl Config {
    /// Everything that is wrong, each with its key.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut need = |holds: bool, key: &str, message: &str| {
            if !holds {
                problems.push(Problem::new(key, message));
            }
        };
        need((1..=64).contains(&self.tasks), "tasks", "must be 1 to 64");
        need(
            (1..=64).contains(&self.planners),
            "planners",
            "must be 1 to 64",
        );
        need(self.concurrency >= 1, "concurrency", "must be at least 1");
        need(
            self.urgent_share <= 90,
            "urgent_share",
            "must be 0 to 90 percent",
        );
        need(self.stride >= 1, "stride", "must be at least 1");
        need(
            (1..=10_000).contains(&self.stride_ms),
            "stride_ms",
            "must be 1 to 10000",
        );
        need(
            (100..=60_000).contains(&self.freshness_ms),
            "freshness_ms",
            "must be 100 to 60000: it bounds how long an unsubscribed device may still be sent to",
        );
        need(
            self.concurrency.saturating_add(self.stride) <= self.window,
            "window",
            "must be at least concurrency + stride, or sending stops for every receipt",
        );
        for (at, app) in self.app.iter().enumerate() {
            let prefix = format!("app[{at}]");
            if let Err(error) = AppName::parse(&app.name) {
                problems.push(Problem::new(format!("{prefix}.name"), error.to_string()));
            }
            if self.app.iter().take(at).any(|it| it.name == app.name) {
                let message = "names the same app a second time";
                problems.push(Problem::new(format!("{prefix}.name"), message));
            }
            problems.extend(app.validate().into_iter().map(|it| it.under(&prefix)));
        }
        problems
    }

    pub(crate) fn stride_after(&self) -> Duration {
        Duration::from_millis(self.stride_ms)
    }

    pub(crate) fn freshness(&self) -> Duration {
        Duration::from_millis(self.freshness_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_values_hold_together() {
        assert_eq!(Config::default().validate(), []);
    }

    #[test]
    fn a_window_smaller_than_what_is_in_flight_is_refused() {
        let config = Config {
            window: 100,
            ..Config::default()
        };
        assert_eq!(config.validate()[0].key, "window");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let config = Config {
            tasks: 0,
            stride: 0,
            app: vec![
                AppConfig::log("a b"),
                AppConfig::log("x"),
                AppConfig::log("x"),
            ],
            ..Config::default()
        };
        let keys: Vec<String> = config.validate().into_iter().map(|it| it.key).collect();
        for key in ["tasks", "stride", "app[0].name", "app[2].name"] {
            assert!(keys.iter().any(|it| it == key), "{keys:?}");
        }
    }
}
