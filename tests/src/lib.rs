//! The harness: real processes, a real broker, the outside world in a box, and an audit.
//!
//! Tests start what people start: the `fanfare` executable with a configuration file. What they
//! judge by is the ledger of the doubles, never what fanfare says of itself.
//!
//! Architecture invariant: nothing private of the product is imported; a test knows the command
//! line, the configuration, the HTTP API, the streams on the wire, and the ledger.
//! Architecture invariant: what a test started ends with it, also when it panics.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests"
)]

pub mod api;
pub mod audit;
pub mod campaign;
pub mod canary;
mod clock;
pub mod crowd;
pub mod editors;
pub mod eventually;
pub mod exclusive;
pub mod fault;
pub mod network;
pub mod outside;
pub mod pipeline;
pub mod process;
pub mod proxy;
pub mod races;
pub mod workspace;

pub use api::Api;
pub use audit::{Audit, Registrations};
pub use clock::now_us;
pub use eventually::eventually;
pub use pipeline::{Apps, Pipeline, Setup};
pub use process::Process;
