//! What lanes and apps look like from outside: one series per app or lane, there from its opening.

use std::sync::atomic::AtomicU64;

use fanfare_nats::Lane;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::pressure::Pressure;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabel {
    app: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LaneLabel {
    lane: String,
}

/// Breakers, pauses and rates; clones share the values.
#[derive(Clone, Debug, Default)]
pub struct LaneMetrics {
    breaker_open: Family<AppLabel, Gauge>,
    breaker_opened: Family<AppLabel, Counter>,
    paused: Family<LaneLabel, Gauge>,
    rate: Family<AppLabel, Gauge<f64, AtomicU64>>,
    /// Notifiers alive, as far as this one knows.
    pub members: Gauge,
}

impl LaneMetrics {
    /// Registers the metrics; `registry` carries the prefix `fanfare`.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "breaker_open",
            "1 while the app's provider is not asked, or only tried",
            self.breaker_open.clone(),
        );
        registry.register(
            "breaker_opened",
            "Times the app's breaker opened",
            self.breaker_opened.clone(),
        );
        registry.register(
            "lane_paused",
            "1 while an operator has paused the lane",
            self.paused.clone(),
        );
        registry.register(
            "rate_allowed",
            "Requests a second the app may make from here, 0 without a limit",
            self.rate.clone(),
        );
        registry.register(
            "notifiers",
            "Notifiers alive, 0 while nobody asks",
            self.members.clone(),
        );
    }

    /// The gauge of a lane's pause.
    pub fn paused(&self, lane: &Lane) -> Gauge {
        let lane = lane.to_string();
        self.paused.get_or_create_owned(&LaneLabel { lane })
    }

    /// Shows an app as it is now.
    pub(crate) fn show(&self, app: &str, pressure: &Pressure, now: Instant) {
        let app = AppLabel {
            app: app.to_owned(),
        };
        let look = pressure.look(now);
        let gauge = self.breaker_open.get_or_create_owned(&app);
        gauge.set(i64::from(!look.is_closed));
        let opened = self.breaker_opened.get_or_create_owned(&app);
        opened.inc_by(look.n_opened.saturating_sub(opened.get()));
        let rate = self.rate.get_or_create_owned(&app);
        rate.set(if look.allowed.is_finite() {
            look.allowed
        } else {
            0.0
        });
    }
}
