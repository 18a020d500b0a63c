//! What the two lanes of an app have in common in this process: the breaker and the rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fanfare_nats::Urgency;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::breaker::{AfterFailure, Breaker, Failure, Leave, Pace};
use crate::outcome::Scope;
use crate::ramp::Ramp;
use crate::rate::{Rate, Share};

/// Breaker and rate of one app.
#[derive(Debug)]
pub struct Pressure {
    state: Mutex<State>,
    /// Told when the breaker opens or closes, and when a lane is held or let go.
    pub(crate) turned: Notify,
}

#[derive(Debug)]
struct State {
    breaker: Breaker,
    rate: Rate,
    ramp: Ramp,
    /// A task was taken up to find a device for the probe.
    is_probing: bool,
    /// How often the breaker opened.
    n_opened: u64,
}

/// May a task be taken from a lane?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    /// Yes.
    Free,
    /// Yes, one, to try the provider with.
    Probe,
    /// Not before this moment.
    At(Instant),
    /// Not before somebody tried.
    AfterProbe,
}

/// May a task that was taken be worked on?
pub(crate) enum TakeUp {
    /// Yes.
    Free,
    /// Yes, to try the provider with; no other is taken up until this is dropped.
    Probing(ProbeTask),
    /// No: hand it back.
    No,
}

/// What an app looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) is_closed: bool,
    /// Requests a second; infinite without a limit.
    pub(crate) allowed: f64,
    /// How often the breaker opened.
    pub(crate) n_opened: u64,
}

impl Pressure {
    /// A closed breaker; `is_limited` apps send nothing before their share is set.
    pub fn new(pace: Pace, is_limited: bool, now: Instant) -> Self {
        let share = if is_limited {
            Share::Unknown
        } else {
            Share::Unlimited
        };
        Self {
            state: Mutex::new(State {
                breaker: Breaker::new(pace),
                rate: Rate::new(share, now),
                ramp: Ramp::default(),
                is_probing: false,
                n_opened: 0,
            }),
            turned: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes leave for one request of a lane if `also` gives what else it needs, with as many under
    /// way beyond the app's own part; says whether it is the probe. Otherwise when to ask again, if
    /// that is known.
    pub(crate) fn try_begin<T>(
        &self,
        urgency: Urgency,
        now: Instant,
        also: impl FnOnce(usize) -> Option<T>,
    ) -> Result<(T, bool), Option<Instant>> {
        let mut state = self.state();
        let is_probe = match state.breaker.leave(urgency, now) {
            Leave::Free => false,
            Leave::Probe => true,
            Leave::At(at) => return Err(Some(at)),
            Leave::AfterProbe => return Err(None),
        };
        if let Some(wait) = state.rate.wait(urgency, now) {
            return Err(Some(now + wait));
        }
        let also = also(state.ramp.reach(now)).ok_or(None)?;
        state.rate.take(now);
        if is_probe {
            state.breaker.begin_probe();
        }
        Ok((also, is_probe))
    }

    /// The probe's request has ended.
    pub(crate) fn end_probe(&self, now: Instant) {
        self.state().breaker.end_probe(now);
    }

    /// The provider answered for a device. True if that closed the breaker.
    pub(crate) fn succeeded(&self, begun: Instant, now: Instant) -> bool {
        let is_news = {
            let mut state = self.state();
            state.ramp.answered(now);
            state.breaker.succeeded(begun, now)
        };
        if is_news {
            self.turned.notify_waiters();
        }
        is_news
    }

    /// The app or a connection failed.
    pub(crate) fn failed(
        &self,
        scope: Scope,
        wish: Option<Duration>,
        begun: Instant,
        now: Instant,
    ) -> AfterFailure {
        let mut state = self.state();
        if scope == Scope::Quota {
            state.rate.too_fast(begun, now);
        }
        let failure = Failure { scope, wish, begun };
        self.opening(&mut state, |breaker| {
            breaker.failed(failure, now, rand::random())
        })
    }

    /// The provider refuses our credentials.
    pub(crate) fn refused(&self, begun: Instant, now: Instant) -> AfterFailure {
        let mut state = self.state();
        self.opening(&mut state, |breaker| {
            breaker.refused(begun, now, rand::random())
        })
    }

    fn opening(
        &self,
        state: &mut State,
        verdict: impl FnOnce(&mut Breaker) -> AfterFailure,
    ) -> AfterFailure {
        let n_before = state.breaker.n_opened();
        let after = verdict(&mut state.breaker);
        if state.breaker.n_opened() != n_before {
            state.n_opened += 1;
            self.turned.notify_waiters();
        }
        after
    }

    /// How long nothing is sent on a lane.
    pub(crate) fn left(&self, urgency: Urgency, now: Instant) -> Option<Duration> {
        self.state().breaker.left(urgency, now)
    }

    /// Whether a task may be taken from a lane.
    pub(crate) fn pull(&self, urgency: Urgency, now: Instant) -> Pull {
        let state = self.state();
        match state.breaker.leave(urgency, now) {
            Leave::Free => Pull::Free,
            Leave::At(at) => Pull::At(at),
            Leave::AfterProbe => Pull::AfterProbe,
            Leave::Probe if state.is_probing => Pull::AfterProbe,
            Leave::Probe => Pull::Probe,
        }
    }

    /// The same for a task that is in hand.
    pub(crate) fn take_up(self: &Arc<Self>, urgency: Urgency, now: Instant) -> TakeUp {
        match self.pull(urgency, now) {
            Pull::Free => TakeUp::Free,
            Pull::Probe => {
                self.state().is_probing = true;
                TakeUp::Probing(ProbeTask(self.clone()))
            }
            Pull::At(_) | Pull::AfterProbe => TakeUp::No,
        }
    }

    /// This process's part of the app's limit, as of now.
    pub(crate) fn set_share(&self, share: Share) {
        self.state().rate.set_share(share);
    }

    pub(crate) fn look(&self, now: Instant) -> Look {
        let state = self.state();
        Look {
            is_closed: state.breaker.is_closed(),
            allowed: state.rate.allowed(now),
            n_opened: state.n_opened,
        }
    }
}

/// The task that was taken up to try the provider with.
pub(crate) struct ProbeTask(Arc<Pressure>);

impl Drop for ProbeTask {
    fn drop(&mut self) {
        self.0.state().is_probing = false;
        self.0.turned.notify_waiters();
    }
}
