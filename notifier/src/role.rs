//! The notifier as a role: apps opened, consumers bound, everything drained in order.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::consumer::ConsumerError;
use fanfare_nats::membership::View;
use fanfare_nats::{AppName, Broker, Lane, Readiness, event::Urgency};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ahead;
use crate::config::Config;
use crate::follow::{Follower, FollowerEnded};
use crate::lane::LaneState;
use crate::loaded::Events;
use crate::membership;
use crate::metric::Metrics;
use crate::planner;
use crate::provider::OpenAppError;
use crate::sending_thread::{Lanes, SendingThread};
use crate::share::Seat;
use crate::shared::{LaneOfProcess, Shared};
use crate::status;
use crate::task_places::TaskPlaces;
use crate::turns::Turns;
use crate::window::Window;

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
    /// The operating system gives no thread.
    #[error("a thread could not be started")]
    Thread(#[source] std::io::Error),
    /// The thread that sends is gone.
    #[error("the thread that sends ended")]
    SendingEnded,
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
    let last = CancellationToken::new(); // After the last send.
    let end = last.clone().drop_guard();
    let mut sending =
        SendingThread::start(config.clone(), metrics.clone()).map_err(RunError::Thread)?;
    let (follower, driver) = Follower::start(
        broker.clone(),
        config.freshness(),
        readiness.clone(),
        last.clone(),
    )
    .map_err(RunError::Thread)?;
    let shared = Arc::new(Shared {
        window: Window::new(
            config.window,
            config.concurrency,
            config.urgent_share,
            config.app.len(),
        ),
        tasks: TaskPlaces::new(config.tasks, config.app.len()),
        turns: Turns::default(),
        apps: sending.apps().await?,
        events: Events::new(broker.clone()),
        broker,
        follower,
        metrics,
        config,
        stop,
    });
    let mut driving = JoinSet::new();
    driving.spawn(driver.run());
    let (service, left) = (status::service(&shared)?, shared.stop.child_token());
    let (presence, views) = shared.broker.appear(service, left.clone());
    let result = tokio::select! {
        result = work(&shared, &readiness, sending, views) => result,
        ended = driving.join_next() => follower_ended(ended),
    };
    left.cancel(); // Whatever ended it, the others need not count on this process.
    presence.end().await;
    shared.broker.flush().await;
    drop(end);
    driving.shutdown().await;
    result
}

/// Loads the index, binds the consumers, and plans and sends until drained.
async fn work(
    shared: &Arc<Shared>,
    readiness: &Readiness,
    sending: SendingThread,
    views: watch::Receiver<View>,
) -> Result<(), RunError> {
    tokio::select! {
        () = shared.follower.loaded() => {}
        () = shared.stop.cancelled() => return Ok(()),
    }
    let lanes = bind_lanes(shared).await?;
    let events = shared.broker.event_claims().await?;
    let mut planners = JoinSet::new();
    for _ in 0..shared.config.planners {
        planners.spawn(planner::run(shared.clone(), events.clone()));
    }
    planners.spawn(ahead::run(shared.clone()));
    planners.spawn(gauges(shared.clone()));
    planners.spawn(membership::take_parts(shared.clone(), views));
    readiness.met("consumers");
    tracing::info!(apps = shared.apps.len(), "notifier takes events and tasks");
    let (sent, planned) = tokio::join!(
        async {
            let sent = sending.serve(lanes).await;
            shared.stop.cancel(); // If it ended by itself, the planners end too.
            sent
        },
        drain(shared, &mut planners)
    );
    sent.and(planned)
}

async fn bind_lanes(shared: &Arc<Shared>) -> Result<Lanes, RunError> {
    let mut bound = Vec::new();
    for lane in lanes(&shared.config)? {
        let claims = shared.broker.task_claims(&lane).await?;
        let Some(app) = shared.apps.get(&lane.app).cloned() else {
            continue;
        };
        let seat = Seat {
            app: app.number,
            urgency: lane.urgency,
        };
        let state = LaneState::new(shared.window.clone(), app.pressure.clone(), seat);
        shared.metrics.lanes.paused(&lane).set(0);
        let (name, metrics) = (lane.app.as_str(), &shared.metrics.lanes);
        metrics.show(name, &app.pressure, Instant::now());
        bound.push((Arc::new(LaneOfProcess { lane, state, app }), claims));
    }
    Ok(Lanes {
        shared: shared.clone(),
        lanes: bound,
    })
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
        for (name, app) in &shared.apps {
            metrics
                .lanes
                .show(name.as_str(), &app.pressure, Instant::now());
        }
        metrics.devices.set(gauge(shared.follower.index().len()));
        if let Some(age) = shared.follower.age() {
            metrics.index_age.set(age.as_secs_f64());
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}
