//! Processes, their workers, and what is under way between them and the broker.

use fanfare_nats::DeviceHash;
use fanfare_nats::receipt::Mark;

use super::broker::{Body, TaskId};
use crate::machine::{Budget, Effect, PlanEffect, PlanInput, PlanMachine, TaskMachine};

/// The credits of a process.
#[derive(Clone, Debug, Hash)]
pub(super) struct Credits {
    pub(super) size: usize,
    pub(super) taken: usize,
}

impl Budget for Credits {
    type Leave = ();

    fn try_admit(&mut self) -> Option<()> {
        let is_free = self.taken < self.size;
        self.taken += usize::from(is_free);
        is_free.then_some(())
    }

    fn give_back(&mut self, n: usize) {
        self.taken = self.taken.saturating_sub(n);
    }

    fn is_exhausted(&self) -> bool {
        self.taken >= self.size
    }
}

/// One operating-system process.
#[derive(Clone, Debug, Hash)]
pub(super) struct Process {
    pub(super) credits: Credits,
    pub(super) workers: Vec<Worker>,
    pub(super) is_frozen: bool,
    pub(super) is_draining: bool,
    /// How far its clock is ahead of the world's, in units of a freeze.
    pub(super) jumps: u32,
}

/// A worker or a planner, with one message.
#[derive(Clone, Debug, Hash)]
pub(super) struct Worker {
    pub(super) id: u32,
    pub(super) body: Body,
    pub(super) job: Job,
}

#[derive(Clone, Debug, Hash)]
pub(super) enum Job {
    Plan(Box<PlanMachine>, PlanStep),
    Task(Box<TaskJob>),
}

/// What a planner waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum PlanStep {
    Asked(PlanEffect),
    /// Tasks of a plan are being stored one after another; so many are.
    Tasks(PlanEffect, u32),
    Answer(PlanInput),
    Done,
}

#[derive(Clone, Debug, Hash)]
pub(super) struct TaskJob {
    pub(super) task: TaskId,
    pub(super) machine: TaskMachine<()>,
    /// Effects on their way to the broker.
    pub(super) under_way: Vec<Effect<()>>,
    /// Requests written whose answer was not read: device and attempts before.
    pub(super) in_flight: Vec<(DeviceHash, u32)>,
}

/// What the provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    Accepted,
    /// Not now, for this device.
    Later,
    /// The app is not served; surely nothing was delivered.
    NoTurn,
    /// The same, and the breaker opens.
    HandBack,
    /// It was delivered, and the answer is lost.
    Lost,
}

impl Reply {
    /// Whether the push is on the device's screen.
    pub(super) fn is_delivered(self) -> bool {
        matches!(self, Self::Accepted | Self::Lost)
    }

    /// The mark of an answer that ends a device's turn.
    pub(super) const DONE: Mark = Mark::Accepted;
}
