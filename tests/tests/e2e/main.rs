//! End to end, with real processes, judged by the ledger of the doubles.
#![expect(clippy::indexing_slicing, reason = "support functions of tests")]

mod command_line;
mod delivery;
mod faults;
mod feeds;
mod metrics;
mod promise;
mod removal;
mod support;
mod tokens;
