//! What planner and senders of one process share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fanfare_nats::{AppName, Broker};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::follow::Follower;
use crate::hygiene::Brake;
use crate::lane::LaneState;
use crate::loaded::Events;
use crate::metric::Metrics;
use crate::pressure::Pressure;
use crate::provider::App;
use crate::task_places::TaskPlaces;
use crate::turns::Turns;
use crate::window::Window;

/// An app with what is known of its tokens and its provider's health.
pub struct AppState {
    /// The app.
    pub app: App,
    /// Stops the removal of tokens when too many come back at once.
    pub brake: Mutex<Brake>,
    /// Whether its provider is asked, and how often.
    pub pressure: Arc<Pressure>,
    /// Its number in this process.
    pub number: usize,
    /// Requests a second that its provider takes from the whole installation.
    pub limit: Option<u32>,
}

/// What planner and senders of one process share.
pub struct Shared {
    /// The broker.
    pub broker: Broker,
    /// The device index.
    pub follower: Follower,
    /// The credit budget.
    pub window: Window,
    /// Events in use.
    pub events: Events,
    /// The apps by name.
    pub apps: HashMap<AppName, Arc<AppState>>,
    /// Tasks at once.
    pub tasks: TaskPlaces,
    /// Where the planners stand in the events.
    pub turns: Turns,
    /// What is counted.
    pub metrics: Metrics,
    /// How to send.
    pub config: Config,
    /// Cancelled when the process is to drain.
    pub stop: CancellationToken,
}

/// One lane of this process.
pub struct LaneOfProcess {
    /// Which lane.
    pub lane: fanfare_nats::Lane,
    /// Whether its next request may be written.
    pub state: LaneState,
    /// Its app.
    pub app: Arc<AppState>,
}
