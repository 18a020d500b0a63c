//! End to end, with real processes, judged by the ledger of the doubles.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "support functions of tests"
)]

mod away;
mod bulk;
mod canaries;
mod challenge;
mod command_line;
mod delivery;
mod editors;
mod faults;
mod feeds;
mod metrics;
mod promise;
mod quorum;
mod removal;
mod support;
mod tokens;
mod uniqueness;
mod versions;
