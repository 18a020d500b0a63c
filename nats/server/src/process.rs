//! Child processes that cannot outlive us.
//!
//! Each child is a process group of its own, so that a Ctrl-C in the terminal reaches us alone and
//! we decide the order in which things end. Dropping a [`Child`] kills it; and when we are killed
//! ourselves, the kernel signals it (Linux; elsewhere a child of a killed parent stays).
//!
//! The kernel ties that signal to the *thread* that spawned the child, not to the process. A
//! runtime's worker or blocking thread may end at any time and would take the child with it, so
//! each child has a thread that spawns it, waits for it, and does nothing else.

mod child;
mod launch;
mod supervise;

pub use child::{Child, SignalError};
pub use launch::{Launch, Line, Output};

/// The signals that fanfare sends to its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGINT: what Ctrl-C sends.
    Interrupt,
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGKILL: ends at once, nothing is written any more.
    Kill,
    /// SIGSTOP: freezes; the process keeps its connections and does nothing.
    Stop,
    /// SIGCONT: thaws what SIGSTOP froze.
    Continue,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Terminate => Self::TERM,
            Signal::Interrupt => Self::INT,
            Signal::Hangup => Self::HUP,
            Signal::Kill => Self::KILL,
            Signal::Stop => Self::STOP,
            Signal::Continue => Self::CONT,
        }
    }
}
