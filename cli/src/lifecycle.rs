//! How a process that runs roles ends: the first signal drains, the second aborts, anything else
//! that ends a role is a failure. A closed standard input means nothing.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Longer than a role drains (10 s), shorter than an orchestrator waits (40 s).
pub(crate) const GRACE: Duration = Duration::from_secs(25);

/// Without a broker nothing can be written down any more: a drain only ends requests in flight.
const WITHOUT_BROKER: Duration = Duration::from_secs(2);

/// Signals within this time are one: some supervisors signal the process and its group, and a
/// closed terminal is a SIGHUP beside whatever else.
const ONE_SIGNAL: Duration = Duration::from_millis(200);

/// What a role ends with.
pub(crate) type RoleEnd = anyhow::Result<()>;

/// The signals that ask a process to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on; before, a signal ends the process at once.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            // The terminal was closed.
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for another one after the first.
    pub(crate) async fn second(&mut self) {
        let together = tokio::time::sleep(ONE_SIGNAL);
        tokio::pin!(together);
        loop {
            tokio::select! {
                // First: what was heard in that time is not told again.
                biased;
                () = self.next() => {}
                () = &mut together => break,
            }
        }
        self.next().await;
    }

    /// Waits for the next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Runs until a signal, the end of a role, or `broken`; then drains.
///
/// `broken` is the end of the broker, if it is a child of ours. `draining` is
/// called once, when the drain begins.
pub(crate) async fn run(
    roles: &mut JoinSet<RoleEnd>,
    signals: &mut Signals,
    stop: &CancellationToken,
    broken: impl Future<Output = anyhow::Error>,
    draining: impl FnOnce(),
    grace: Duration,
) -> anyhow::Result<()> {
    let (early, grace) = tokio::select! {
        () = signals.next() => (None, grace),
        error = broken => (Some(error), grace.min(WITHOUT_BROKER)),
        Some(ended) = roles.join_next() => (Some(early_end(ended)), grace),
    };
    match &early {
        None => tracing::info!("stopping; a second signal aborts"),
        Some(error) => tracing::error!(error = format!("{error:#}"), "stopping"),
    }
    draining();
    stop.cancel();
    let drained = tokio::select! {
        drained = drain(roles) => drained,
        () = signals.second() => Err(anyhow::anyhow!("drain cut off: second signal")),
        () = tokio::time::sleep(grace) => {
            Err(anyhow::anyhow!("drain cut off: grace period of {grace:?} over"))
        }
    };
    // What is left is aborted with the set; open claims come again after `ack_wait`.
    roles.abort_all();
    match early {
        Some(error) => Err(error),
        None => drained,
    }
}

async fn drain(roles: &mut JoinSet<RoleEnd>) -> anyhow::Result<()> {
    let mut first = Ok(());
    while let Some(ended) = roles.join_next().await {
        let ended = ended.map_err(anyhow::Error::from).and_then(|it| it);
        if let Err(error) = ended {
            tracing::error!(error = format!("{error:#}"), "a role failed while draining");
            first = first.and(Err(error));
        }
    }
    first
}

fn early_end(ended: Result<RoleEnd, JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow::anyhow!("a role ended without being asked to"),
        Ok(Err(error)) => error,
        Err(error) => anyhow::Error::from(error).context("a role panicked"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ended(
        role: impl Future<Output = RoleEnd> + Send + 'static,
        broken: impl Future<Output = anyhow::Error>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let mut roles = JoinSet::new();
        roles.spawn(role);
        let mut signals = Signals::listen().unwrap();
        let grace = Duration::from_millis(50);
        let end = run(&mut roles, &mut signals, stop, broken, || (), grace).await;
        end.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn a_role_that_ends_by_itself_is_a_failure_however_it_ended() {
        let stop = CancellationToken::new();
        let never = std::future::pending;
        let well = ended(async { Ok(()) }, never(), &stop).await;
        assert_eq!(well, Err("a role ended without being asked to".into()));
        let ill = ended(async { Err(anyhow::anyhow!("broken")) }, never(), &stop).await;
        assert_eq!(ill, Err("broken".into()));
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn a_lost_child_drains_the_roles_and_is_the_reason() {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let role = async move {
            stopped.cancelled().await;
            Ok(())
        };
        let lost = async { anyhow::anyhow!("child lost") };
        assert_eq!(ended(role, lost, &stop).await, Err("child lost".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_takes_too_long_is_cut_off() {
        let mut roles = JoinSet::<RoleEnd>::new();
        roles.spawn(std::future::pending());
        let late = drain(&mut roles);
        assert!(tokio::time::timeout(GRACE, late).await.is_err());
    }
}
