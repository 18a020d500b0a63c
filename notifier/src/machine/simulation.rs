//! The machines under a simulated broker, provider and processes: explored at random, and
//! exhaustively for a small world.
//!
//! A [`world::World`] is a value. [`choice::choices`] lists what may happen next, [`world::World::apply`]
//! lets one of it happen, and every [`Invariant`] is checked on the way. Nothing else decides: the
//! machines are the ones that the worker and the planner run.

mod broker;
mod check;
mod choice;
mod exhaustive;
mod happen;
mod mutants;
mod process;
mod random;
mod setup;
mod world;

/// What must hold, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Invariant {
    /// Everyone owed gets the push: accepted once at least, or, at most once, recorded as unclear.
    NothingLost,
    /// Repeats are at most what the processes hit by faults had unrecorded.
    RepeatsWithinWindow,
    /// At most once: what is given up is at most what the processes hit had begun.
    LossesWithinWindow,
    /// At most once: nobody gets it twice.
    AtMostOnceNeverTwice,
    /// A receipt follows the one its writer knew, under a claim that is greater or its own.
    OnlyOwnerRecords,
    /// What a receipt says is through stays through.
    ReceiptsGrow,
    /// Whoever is recorded as accepted was accepted.
    RecordsAreTrue,
    /// All tasks of an event belong to its stored plan.
    OneCutPerEvent,
    /// An acknowledged event has its plan and all its tasks.
    PlansAreWhole,
    /// Who waits for a later pass has an alarm that will start it, or a message that will set one.
    WakeUpSurvives,
    /// Kills, freezes, refusals and outages are not poison.
    NothingPoisonedByFaults,
    /// Whatever happened, it comes to an end.
    ComesToAnEnd,
}
