//! What the tests begin and end with.

use std::time::Duration;

use fanfare_tests::crowd::many;
use fanfare_tests::eventually::{at_least, eventually_within};
use fanfare_tests::fault::{CrashAt, has_fail_points};
use fanfare_tests::process::executable;
use fanfare_tests::{Api, Pipeline, Process, Registrations, Setup};

/// Take-overs are waited for in each test.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(2);

/// Broker and lanes recover, tasks are taken over, retries are made.
const PATIENCE: Duration = Duration::from_secs(100);

/// A small window, so that a surplus shows, and sends that take long enough to be hit.
pub(crate) fn setup() -> Setup {
    if let Err(why) = has_fail_points(executable()) {
        panic!("{why}");
    }
    Setup {
        latency: Duration::from_millis(60),
        concurrency: 24,
        ack_wait: Some(ACK_WAIT),
        ..Setup::default()
    }
}

/// A pipeline, an API, and so many devices that follow `all`.
pub(crate) struct Stage {
    pub(crate) pipeline: Pipeline,
    pub(crate) api: Api,
    pub(crate) registrations: Registrations,
    api_process: Process,
}

impl Stage {
    pub(crate) async fn set(setup: Setup, n_devices: usize) -> Self {
        let pipeline = Pipeline::start(setup).await;
        let (api_process, api) = pipeline.api().await;
        let mut registrations = Registrations::default();
        api.put_all(&many(n_devices, &["all"], &mut registrations))
            .await;
        Self {
            pipeline,
            api,
            registrations,
            api_process,
        }
    }

    /// Waits until so many different pushes were made and nothing is left to do.
    pub(crate) async fn rest(&self, n_pushes: usize) {
        self.pushed(n_pushes).await;
        eventually_within(PATIENCE, "rest", async || self.pipeline.is_settled().await).await;
    }

    /// Waits until so many different pushes were made.
    pub(crate) async fn pushed(&self, n_pushes: usize) {
        eventually_within(PATIENCE, "all pushes", async || {
            at_least(self.pipeline.counts().deliveries, n_pushes as u64)
        })
        .await;
    }

    /// Lost 0, and repeated at most so many; ends the processes, whatever they have to say.
    pub(crate) async fn judge(self, most_repeated: u64, notifiers: Vec<Process>) {
        let audit = self.pipeline.audit(&self.registrations).await;
        println!("owed {}, repeated {}", audit.owed.len(), audit.repeated());
        audit.check(most_repeated);
        for notifier in notifiers {
            notifier.drain(&["WARN", "ERROR"]).await;
        }
        self.api_process.drain(&["WARN", "ERROR"]).await;
    }
}

/// Waits until it has killed itself at this place.
pub(crate) async fn died(process: Process, crash: &CrashAt) {
    let ended = process.ended().await;
    let said = format!("fanfare fail point kills here: {}", crash.point);
    assert_eq!(ended.code, None, "{crash:?}: {}", ended.printed);
    assert!(
        ended.printed.contains(&said),
        "{crash:?}: {}",
        ended.printed
    );
}
