//! What a task's machine asks for, and what it is told.

use std::collections::VecDeque;
use std::time::Duration;

use fanfare_nats::DeviceHash;
use fanfare_nats::index::Step;
use fanfare_nats::receipt::{Mark, Receipt};
use jiff::Timestamp;

use super::Standing;
use crate::outcome::Reason;

/// What a machine asks its driver to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Effect<L> {
    /// Read the event: [`Input::Event`].
    Load,
    /// Read the task's last receipt from the leader: [`Input::Receipts`].
    ReadReceipts,
    /// Let no other task of this process run until this one is settled: [`Input::Alone`].
    RunAlone,
    /// Read the levels that are stored for the item: [`Input::Looked`].
    Look,
    /// Append a receipt if the one with the sequence `after` is the last: [`Input::Appended`].
    Append {
        /// What to append.
        receipt: Box<Receipt>,
        /// Behind what; 0 where there is none.
        after: u64,
    },
    /// Wait until the index has reached the plan's revision and is fresh: [`Input::IndexReady`].
    AwaitIndex,
    /// Look up the next devices, from a hash on: [`Input::Walked`].
    Walk {
        /// The smallest hash that may be next.
        from: DeviceHash,
    },
    /// Look the device up a last time and write the request: [`Input::Ended`], or
    /// [`Input::Dropped`] where it gets none.
    Send {
        /// To whom.
        step: Step,
        /// Attempts before this one.
        attempts: u32,
        /// A place in flight.
        leave: L,
    },
    /// Store a dead letter of the whole task: [`Input::Buried`].
    Bury {
        /// Claims in a row that left neither a mark nor a word.
        claims: u32,
        /// Devices below this had their turn; `None` where only waiting ones are left.
        low: Option<DeviceHash>,
    },
    /// Store the wake-up of the next pass: [`Input::WokenUp`].
    WakeUp {
        /// Which pass it starts.
        pass: u32,
        /// When.
        due: Timestamp,
    },
    /// Settle the message. The machine is done.
    Settle(Settle),
}

/// What a task's message gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Settle {
    /// All is recorded.
    Ack,
    /// The task is dead, its dead letter stored.
    Terminate,
    /// We were not ready: somebody else, or later.
    Back(Option<Duration>),
    /// Nothing: somebody else owns it, or it is not known what we own.
    Forget,
    /// Nothing: somebody else's claim is as great or greater.
    Refused,
    /// Nothing: this process was away for so long that somebody else may have it. What is known is
    /// recorded.
    StepAside,
}

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// The event, or that it has aged out; `Err` where it cannot be read now.
    Event(Result<Option<Facts>, Unreadable>),
    /// The task's last receipt and its sequence.
    Receipts(Result<(Option<Box<Receipt>>, u64), Unreadable>),
    /// No other task runs; or another one already runs alone.
    Alone(bool),
    /// How the level stands; `None` where that cannot be read now.
    Looked(Option<Standing>),
    /// What became of an append.
    Appended(Appended),
    /// The index has reached the plan's revision and is fresh.
    IndexReady,
    /// The next devices of the walk; none means that it has ended.
    Walked(VecDeque<Step>),
    /// A device gets no request, and why.
    Dropped {
        /// Who.
        device: DeviceHash,
        /// Attempts before.
        attempts: u32,
        /// Why.
        reason: &'static str,
    },
    /// An attempt ended.
    Ended(Ended),
    /// Whether the dead letter is stored.
    Buried(bool),
    /// Whether the wake-up is stored.
    WokenUp(bool),
    /// Nothing more is to be sent: the lane is closed, for so long if that is known.
    HandBack(Option<Duration>),
    /// The process drains.
    Stop,
}

/// What should be read cannot be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unreadable;

/// What a machine has to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts {
    /// Whether other levels of its item can supersede it.
    pub(crate) has_levels: bool,
    /// Whether it is sent at most once.
    pub(crate) is_at_most_once: bool,
}

/// What became of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Appended {
    /// It is stored, with this sequence.
    Stored(u64),
    /// Another worker's receipt is the last.
    Fenced,
    /// It is not known.
    Unknown,
}

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ended {
    /// Whose.
    pub(crate) device: DeviceHash,
    /// Attempts before this one.
    pub(crate) attempts: u32,
    /// When the answer was read.
    pub(crate) at: Timestamp,
    /// What came of it.
    pub(crate) came: Came,
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Came {
    /// The device is through.
    Marked(Mark, Option<Reason>),
    /// Again in a later pass.
    Later {
        /// When.
        due: Timestamp,
        /// Why.
        reason: Reason,
    },
    /// The app failed, not the device: its turn is to be taken again. Where the event is sent at most
    /// once, surely nothing was delivered.
    NoTurn,
    /// The same, and the task is to be handed back for so long.
    HandBack(Duration),
}
