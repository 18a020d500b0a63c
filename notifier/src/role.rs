//! The notifier as a role: apps opened, consumers bound, everything drained in order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::consumer::ConsumerError;
use fanfare_nats::{AppName, Broker, Lane, Readiness, event::Urgency};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Config;
use crate::follow::{Follower, FollowerEnded};
use crate::hygiene::Brake;
use crate::lane::LaneState;
use crate::loaded::Events;
use crate::metric::Metrics;
use crate::provider::{App, OpenAppError, Resources};
use crate::shared::{AppState, LaneOfProcess, Shared};
use crate::window::Window;
use crate::{planner, sender};

/// Why a notifier ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// An app's credentials are not usable.
    #[error(transparent)]
    App(#[from] OpenAppError),
    /// An app's name is not usable.
    #[error("the app's name is not valid")]
    Name(#[from] fanfare_nats::event::NameError),
    /// A consumer does not exist.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// The thread for the index.
    #[error("the thread for the device index could not be started")]
    Thread(#[source] std::io::Error),
    /// The index is gone.
    #[error(transparent)]
    Follower(#[from] FollowerEnded),
    /// A part of the notifier panicked.
    #[error("a part of the notifier panicked")]
    Panic(#[source] JoinError),
}

/// The lanes of a configuration: each app, urgent and bulk.
///
/// # Errors
/// [`RunError::Name`] for a name that `validate` would have told.
pub fn lanes(config: &Config) -> Result<Vec<Lane>, RunError> {
    let mut lanes = Vec::new();
    for app in &config.app {
        let app = AppName::parse(&app.name)?;
        lanes.extend([Urgency::Urgent, Urgency::Bulk].map(|urgency| Lane {
            app: app.clone(),
            urgency,
        }));
    }
    Ok(lanes)
}

/// Plans and sends until `stop`, then drains: nothing more is taken, what is in flight is finished
/// and recorded, the rest is handed back.
///
/// Streams, buckets and the lanes' consumers must exist. Dropping the future stops at once: what is
/// in flight is not recorded and is sent again by another.
///
/// # Errors
/// [`RunError`]: the role cannot go on.
pub async fn run(
    config: Config,
    broker: Broker,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), RunError> {
    readiness.unmet("consumers", "not bound yet");
    let connections = TaskTracker::new();
    let last = CancellationToken::new(); // After the last send.
    let end = last.clone().drop_guard();
    let (follower, driver) = Follower::start(
        broker.clone(),
        config.freshness(),
        readiness.clone(),
        last.clone(),
    )
    .map_err(RunError::Thread)?;
    let shared = Arc::new(Shared {
        window: Window::new(config.window, config.concurrency),
        tasks: Arc::new(Semaphore::new(config.tasks)),
        apps: open_apps(&config, &metrics, &connections, &last)?,
        events: Events::new(broker.clone()),
        broker,
        follower,
        metrics,
        config,
        stop,
    });
    let mut driving = JoinSet::new();
    driving.spawn(driver.run());
    let mut roles = JoinSet::new();
    let starting = start(&shared, &readiness, &mut roles);
    let result = tokio::select! {
        result = starting => result,
        ended = driving.join_next() => follower_ended(ended),
    };
    let result = match result {
        Ok(()) => tokio::select! {
            result = drain(&shared, &mut roles) => result,
            ended = driving.join_next() => follower_ended(ended),
        },
        error @ Err(_) => error,
    };
    shared.broker.flush().await;
    drop(end);
    connections.close();
    // Connections end by themselves; a provider that does not say goodbye is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), connections.wait()).await;
    driving.shutdown().await;
    result
}

fn follower_ended(
    ended: Option<Result<Result<(), FollowerEnded>, JoinError>>,
) -> Result<(), RunError> {
    match ended {
        None | Some(Ok(Ok(()))) => Err(FollowerEnded.into()),
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(error)) => Err(RunError::Panic(error)),
    }
}

fn open_apps(
    config: &Config,
    metrics: &Metrics,
    connections: &TaskTracker,
    stop: &CancellationToken,
) -> Result<HashMap<AppName, Arc<AppState>>, RunError> {
    let resources = Resources {
        attempts: metrics.attempts.clone(),
        ..Resources::new(connections.clone(), stop.clone())
    };
    config
        .app
        .iter()
        .map(|app| {
            let state = AppState {
                app: App::open(app, &resources, clock::now())?,
                brake: Mutex::new(Brake::default()),
            };
            Ok((AppName::parse(&app.name)?, Arc::new(state)))
        })
        .collect()
}

/// Loads the index, then binds consumers and begins to take work.
async fn start(
    shared: &Arc<Shared>,
    readiness: &Readiness,
    roles: &mut JoinSet<()>,
) -> Result<(), RunError> {
    tokio::select! {
        () = shared.follower.loaded() => {}
        () = shared.stop.cancelled() => return Ok(()),
    }
    let events = shared.broker.event_claims().await?;
    for _ in 0..shared.config.planners {
        roles.spawn(planner::run(shared.clone(), events.clone()));
    }
    for lane in lanes(&shared.config)? {
        let claims = shared.broker.task_claims(&lane).await?;
        let Some(app) = shared.apps.get(&lane.app).cloned() else {
            continue;
        };
        let lane = Arc::new(LaneOfProcess {
            lane,
            state: LaneState::default(),
            app,
        });
        roles.spawn(sender::run(shared.clone(), lane, claims));
    }
    roles.spawn(gauges(shared.clone()));
    readiness.met("consumers");
    tracing::info!(apps = shared.apps.len(), "notifier takes events and tasks");
    Ok(())
}

async fn drain(shared: &Shared, roles: &mut JoinSet<()>) -> Result<(), RunError> {
    while let Some(ended) = roles.join_next().await {
        if let Err(error) = ended {
            shared.stop.cancel(); // The others finish what they have.
            while roles.join_next().await.is_some() {}
            return Err(RunError::Panic(error));
        }
    }
    Ok(())
}

/// Keeps the gauges current.
async fn gauges(shared: Arc<Shared>) {
    let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    while !shared.stop.is_cancelled() {
        let metrics = &shared.metrics;
        metrics.credit_used.set(gauge(shared.window.taken()));
        metrics.devices.set(gauge(shared.follower.index().len()));
        if let Some(age) = shared.follower.age() {
            metrics
                .index_age_ms
                .set(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}
