//! A running child, seen from the program.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, kill_process, kill_process_group};
use tokio::sync::watch;

use super::{Line, Signal};

/// Lines kept for the message about a child that died.
const KEPT_LINES: usize = 40;

/// How long a drop waits until the kernel has taken a killed child away.
const REAP_TIME: Duration = Duration::from_secs(2);

/// What the child's thread and the program share.
pub(super) struct State {
    /// Guards the pid: once the child is reaped its number may belong to a stranger.
    reaped: Mutex<bool>,
    has_reaped: Condvar,
    ended: watch::Sender<Option<ExitStatus>>,
    lines: Mutex<VecDeque<String>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            reaped: Mutex::new(false),
            has_reaped: Condvar::new(),
            ended: watch::Sender::new(None),
            lines: Mutex::default(),
        }
    }
}

impl State {
    pub(super) fn keep(&self, line: &Line) {
        let mut lines = locked(&self.lines);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line.text().to_owned());
    }

    /// Reaps with `reap` while nobody can send a signal, then tells everyone who waits.
    pub(super) fn reap(&self, reap: impl FnOnce() -> ExitStatus) {
        let mut reaped = locked(&self.reaped);
        let status = reap();
        *reaped = true;
        self.ended.send_replace(Some(status));
        self.has_reaped.notify_all();
    }
}

/// A signal that could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The child has ended.
    #[error("process {pid} has ended")]
    Ended {
        /// Its former process id.
        pid: i32,
    },
    /// The operating system refused.
    #[error("cannot signal process {pid}")]
    Refused {
        /// The process id.
        pid: i32,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// A running child process; dropping it kills it and its process group.
#[must_use = "a dropped child is killed"]
pub struct Child {
    pid: Pid,
    state: Arc<State>,
}

impl Child {
    pub(super) fn new(pid: Pid, state: Arc<State>) -> Self {
        Self { pid, state }
    }

    /// Its process id, which is also the id of its process group.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to the child alone; what it started itself is not reached.
    ///
    /// # Errors
    /// [`SignalError::Ended`] if it is gone; never another process that got its number.
    pub fn signal(&self, signal: Signal) -> Result<(), SignalError> {
        let pid = self.pid();
        let reaped = locked(&self.state.reaped);
        if *reaped {
            return Err(SignalError::Ended { pid });
        }
        kill_process(self.pid, signal.into()).map_err(|cause| SignalError::Refused {
            pid,
            cause: cause.into(),
        })
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *self.state.ended.borrow()
    }

    /// Waits until it has ended. Independent of `self`, so it can be selected on while the child is
    /// used; dropping the future has no effect.
    pub fn ended(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        let mut ended = self.state.ended.subscribe();
        let state = Arc::clone(&self.state); // keeps the sender alive
        async move {
            loop {
                let status = *ended.borrow_and_update();
                if let Some(status) = status {
                    return status;
                }
                if ended.changed().await.is_err() {
                    drop(state);
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Waits until it has ended, at most `limit`; `None` if it still runs then.
    pub async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.ended()).await.ok()
    }

    /// Asks it to end (SIGTERM), waits `grace`, then kills it. The flag tells whether it had to be
    /// killed.
    ///
    /// Dropping this future leaves the child running, perhaps with the request to end.
    pub async fn stop(&self, grace: Duration) -> (ExitStatus, bool) {
        // A refusal means that it has ended; a frozen child hears SIGTERM only after SIGCONT.
        let asked = self
            .signal(Signal::Terminate)
            .and_then(|()| self.signal(Signal::Continue));
        if asked.is_ok()
            && let Some(status) = self.wait(grace).await
        {
            return (status, false);
        }
        let killed = self.signal(Signal::Kill).is_ok();
        (self.ended().await, killed)
    }

    /// The last lines it printed, oldest first (at most 40; none unless its output is kept).
    pub fn last_lines(&self) -> Vec<String> {
        locked(&self.state.lines).iter().cloned().collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let reaped = locked(&self.state.reaped);
        if *reaped {
            return;
        }
        // The group, so that what the child started goes with it. A failure means there is nobody
        // left.
        let _gone = kill_process_group(self.pid, rustix::process::Signal::KILL);
        // Its files and ports are free once it is reaped; the kernel does that within milliseconds.
        let _waited = self
            .state
            .has_reaped
            .wait_timeout_while(reaped, REAP_TIME, |reaped| !*reaped);
    }
}

/// Locks; a panic elsewhere while holding the lock leaves these plain values usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
