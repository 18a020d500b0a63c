//! Everything that holds a worker back, in one place: leave to write requests, the credits it
//! holds, and the health of its lane.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::lane::{Admission, AfterFailure};
use crate::machine::Budget;
use crate::outcome::Scope;
use crate::shared::LaneOfProcess;

/// The lane as one worker sees it.
pub(super) struct Admissions {
    lane: Arc<LaneOfProcess>,
    /// An admission that was waited for.
    at_hand: Option<Admission>,
}

impl Admissions {
    pub(super) fn new(lane: Arc<LaneOfProcess>) -> Self {
        Self {
            lane,
            at_hand: None,
        }
    }

    /// Keeps an admission that was waited for; [`Budget::try_admit`] gives it out first.
    pub(super) fn keep(&mut self, admission: Admission) {
        self.at_hand = Some(admission);
    }

    /// Gives an admission back that nobody took.
    pub(super) fn put_back(&mut self) {
        if self.at_hand.take().is_some() {
            self.lane.state.release(1);
        }
    }

    /// The provider answered for a device.
    pub(super) fn answered(&self, begun: Instant) {
        self.lane.state.succeeded(begun);
    }

    /// The app or a connection failed; `wish` is what the provider asked for.
    pub(super) fn failed(
        &self,
        scope: Scope,
        wish: Option<Duration>,
        begun: Instant,
    ) -> AfterFailure {
        self.lane.state.failed(scope, wish, begun)
    }

    /// The provider refuses us.
    pub(super) fn refused(&self, begun: Instant) -> AfterFailure {
        self.lane.state.refused(begun)
    }
}

impl Budget for Admissions {
    type Leave = Admission;

    fn try_admit(&mut self) -> Option<Admission> {
        self.at_hand.take().or_else(|| self.lane.state.try_admit())
    }

    fn give_back(&mut self, n: usize) {
        self.lane.state.release(n);
    }

    fn is_exhausted(&self) -> bool {
        self.lane.state.is_exhausted()
    }
}
