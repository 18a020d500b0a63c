//! One test for each class of fault, with real processes and a real broker, judged by the ledger of
//! the doubles. The long campaign does the same by the thousand: `docs/reliability.md`.
//!
//! A fault that did not bite shows nothing: each test says how it knows that its fault did.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

mod beside;
mod broker;
mod clock;
mod crash;
mod freeze;
mod network;
mod provider;
mod support;
