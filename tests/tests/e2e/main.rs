//! End to end, with real processes, judged by the ledger of the doubles.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

mod command_line;
mod delivery;
mod devices;
mod faults;
mod feeds;
mod metrics;
mod removal;
mod tokens;
