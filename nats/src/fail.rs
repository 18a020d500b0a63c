//! Fail points: the named places where a test kills a process, and the clock that a test steps.
//!
//! Compiled into test builds only (feature `fail-points`, which nothing but the tests' own
//! dev-dependency turns on); elsewhere [`point`], [`shifted`] and [`hurried`] are nothing. Each place stands
//! between two effects of the path, where the table of deaths in `docs/architecture.md` has a row.

#[cfg(feature = "fail-points")]
mod armed;

use std::time::Duration;

use jiff::Timestamp;

/// The places, in the order of the path.
pub const POINTS: &[&str] = &[
    "fetch.before-publish",
    "fetch.published",
    "fetch.before-cursor",
    "api.before-write",
    "api.written",
    "plan.taken",
    "plan.counted",
    "plan.half-stored",
    "plan.stored",
    "plan.acked",
    "task.taken",
    "task.claimed",
    "task.sending",
    "task.answered",
    "task.before-receipt",
    "task.receipt-stored",
    "task.all-recorded",
    "task.wakeup-stored",
    "task.acked",
    "token.removed",
    "dead.stored",
];

/// Places beside the path of an event: each in the middle of work that somebody repeats.
pub const BESIDE: &[&str] = &[
    "ahead.begun",
    "ahead.planned",
    "user.removed",
    "replay.begun",
    "replay.stored",
    "posted.stored",
    "audit.due",
    "audit.stored",
    "challenge.due",
    "challenge.sent",
    "import.written",
    "sweep.warned",
    "sweep.removed",
];

/// Whether there is such a place.
pub fn is_point(name: &str) -> bool {
    POINTS.contains(&name) || BESIDE.contains(&name)
}

/// The process passes a place; if a test armed it for this passage, the process is killed here.
///
/// Armed by the environment: `FANFARE_CRASH_AT=name:passage` (the first passage is 1) kills,
/// `name:passage:ms` holds whoever passes for so long before that, while the rest of the process goes on;
/// `FANFARE_CRASH_AT=count` says on standard error when a place is passed for the first time.
#[inline]
pub fn point(name: &'static str) {
    #[cfg(feature = "fail-points")]
    armed::pass(name);
    #[cfg(not(feature = "fail-points"))]
    let _ = name;
}

/// The time as this process sees it: `now`, set on or back by as many seconds as the file named by
/// `FANFARE_CLOCK_FILE` says. The file is read again at most every 50 ms.
#[inline]
pub fn shifted(now: Timestamp) -> Timestamp {
    #[cfg(feature = "fail-points")]
    return armed::shifted(now);
    #[cfg(not(feature = "fail-points"))]
    now
}

/// A time that takes days, as this process waits for it: as many times shorter as `FANFARE_HURRY` says.
#[inline]
pub fn hurried(time: Duration) -> Duration {
    #[cfg(feature = "fail-points")]
    return armed::hurried(time);
    #[cfg(not(feature = "fail-points"))]
    time
}
