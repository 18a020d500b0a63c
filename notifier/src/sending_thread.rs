//! The thread that sends: lanes, workers and connections on one runtime of one thread.
//!
//! On a runtime of several threads the driver of a connection is woken on another thread by the
//! first request of a batch and writes it alone, then the next: a system call and a few
//! microseconds for each push. Here it runs after the batch and writes it at once. One thread
//! carries what one connection can take; a machine with more to give runs more notifiers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats::AppName;
use fanfare_nats::consumer::Claims;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::Config;
use crate::hygiene::Brake;
use crate::metric::Metrics;
use crate::pressure::Pressure;
use crate::provider::{App, Resources};
use crate::role::RunError;
use crate::sender;
use crate::shared::{AppState, LaneOfProcess, Shared};

/// The apps of a process by name.
pub(crate) type Apps = HashMap<AppName, Arc<AppState>>;

/// Lanes to serve, each with the durable that its tasks come from.
pub(crate) struct Lanes {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lanes: Vec<(Arc<LaneOfProcess>, Claims)>,
}

/// The thread; dropping this stops it at once, with what is in flight unrecorded.
pub(crate) struct SendingThread {
    apps: oneshot::Receiver<Result<Apps, RunError>>,
    lanes: oneshot::Sender<Lanes>,
    ended: oneshot::Receiver<()>,
    _abort: DropGuard,
}

impl SendingThread {
    /// Starts the thread, which opens the apps.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(config: Config, metrics: Metrics) -> std::io::Result<Self> {
        let (apps_sender, apps) = oneshot::channel();
        let (lanes, lanes_receiver) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        let abort = CancellationToken::new();
        let aborted = abort.clone();
        let runtime = tokio::runtime::Builder::new_current_thread();
        std::thread::Builder::new()
            .name("sending".to_owned())
            .spawn(move || {
                let mut runtime = runtime;
                let runtime = match runtime.enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = apps_sender.send(Err(RunError::Thread(error)));
                        return;
                    }
                };
                runtime.block_on(async {
                    let drained = tokio::select! {
                        drained = serve(config, metrics, apps_sender, lanes_receiver) => drained,
                        () = aborted.cancelled() => false,
                    };
                    if drained {
                        let _ = ended_sender.send(());
                    }
                });
            })?;
        Ok(Self {
            apps,
            lanes,
            ended,
            _abort: abort.drop_guard(),
        })
    }

    /// The apps, once they are open.
    ///
    /// # Errors
    /// [`RunError`]: an app's credentials are not usable.
    pub(crate) async fn apps(&mut self) -> Result<Apps, RunError> {
        (&mut self.apps)
            .await
            .unwrap_or(Err(RunError::SendingEnded))
    }

    /// Serves lanes until the process drains and everything in hand is settled.
    ///
    /// # Errors
    /// [`RunError::SendingEnded`] if the thread panicked.
    pub(crate) async fn serve(self, lanes: Lanes) -> Result<(), RunError> {
        if self.lanes.send(lanes).is_err() {
            return Err(RunError::SendingEnded);
        }
        self.ended.await.map_err(|_| RunError::SendingEnded)
    }
}

/// Returns whether everything was drained in order.
async fn serve(
    config: Config,
    metrics: Metrics,
    apps: oneshot::Sender<Result<Apps, RunError>>,
    lanes: oneshot::Receiver<Lanes>,
) -> bool {
    let (connections, hang_up) = (TaskTracker::new(), CancellationToken::new());
    let opened = open(&config, &metrics, &connections, &hang_up);
    if apps.send(opened).is_err() {
        return false;
    }
    let Ok(Lanes { shared, lanes }) = lanes.await else {
        return false;
    };
    if lanes.is_empty() {
        shared.stop.cancelled().await; // It plans for others.
    }
    let mut drained = true;
    let mut senders = JoinSet::new();
    for (lane, claims) in lanes {
        senders.spawn(sender::run(shared.clone(), lane, claims));
    }
    while let Some(ended) = senders.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a lane's sender panicked: draining");
            drained = false;
            shared.stop.cancel();
        }
    }
    hang_up.cancel();
    connections.close();
    // Connections end by themselves; a provider that does not say goodbye is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), connections.wait()).await;
    drained
}

fn open(
    config: &Config,
    metrics: &Metrics,
    connections: &TaskTracker,
    hang_up: &CancellationToken,
) -> Result<Apps, RunError> {
    let resources = Resources {
        attempts: metrics.attempts.clone(),
        ..Resources::new(connections.clone(), hang_up.clone())
    };
    config
        .app
        .iter()
        .enumerate()
        .map(|(number, app)| {
            let pressure = Pressure::new(app.pace(), app.rate.is_some(), Instant::now());
            let state = AppState {
                app: App::open(app, &resources, clock::now())?,
                brake: Mutex::new(Brake::default()),
                pressure: Arc::new(pressure),
                number,
                limit: app.rate,
            };
            Ok((AppName::parse(&app.name)?, Arc::new(state)))
        })
        .collect()
}
