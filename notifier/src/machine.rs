//! The delivery state machine as a pure core: inputs in, effects out; no clock, no channel, no I/O.
//!
//! [`TaskMachine`] is one task in the hands of one worker, [`PlanMachine`] one event in the hands of
//! one planner. Both are used alike: `poll` until it returns nothing and carry out each effect;
//! `on` with whatever came of one; `poll` again, at the latest at `deadline`. The effects of one
//! machine may be under way together. The same core runs under the worker, with the real broker,
//! and under the simulation, which kills, freezes and lies.
//!
//! The order of the effects is the promise. A claim is appended before anything is sent. A credit
//! is taken before a request is written and given back when its outcome is recorded. A task is
//! acknowledged when everything is recorded and, if devices wait, the wake-up is stored. A refused
//! append means that somebody else owns the task: nothing more is sent, and the message gets no
//! answer.

mod budget;
mod effect;
mod intents;
mod judge;
mod looking;
mod mutant;
mod plan;
mod recording;
mod sending;
#[cfg(test)]
mod simulation;
mod task;
#[cfg(test)]
mod testing;

use std::time::Duration;

use jiff::Timestamp;

pub(crate) use budget::Budget;
pub(crate) use effect::{Appended, Came, Effect, Ended, Facts, Input, Settle, Unreadable};
pub(crate) use mutant::Rules;
pub(crate) use plan::{PlanEffect, PlanInput, PlanMachine, PlanStart, Planned};
pub(crate) use task::{Start, TaskMachine};

/// For so long at most a level is sent without looking whether a higher one stands.
pub(crate) const LEVELS_KNOWN: Duration = Duration::from_millis(200);

/// What cannot be done at the moment is tried again after so long.
const PAUSE: Duration = Duration::from_secs(1);

/// How a moment looks to a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    /// Since a fixed moment of the process. It goes on while the process is frozen.
    pub(crate) mono: Duration,
    /// The time of day, which may be set.
    pub(crate) wall: Timestamp,
    /// Whether the device index is proven fresh.
    pub(crate) is_fresh: bool,
}

/// How an event's level stands to the others that are stored for its item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    /// A higher one stands: this one is not to be sent any more.
    pub(crate) is_superseded: bool,
    /// A lower one stands, which somebody may be sending.
    pub(crate) has_lower: bool,
}
