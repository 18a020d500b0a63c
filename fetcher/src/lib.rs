//! Sources to events: what a feed or a socket shows becomes facts that the broker stores once.
//!
//! A source is configuration, not code: where the items are (JSONPath), and templates for what
//! they mean. The data path of a batch: [`source`] fetches it, [`mapping`] reads observations from
//! it, [`decide`] judges each one alone, [`intake`] publishes create-only, and only then the cursor
//! advances (`pump` orders these steps).
//!
//! Architecture invariant: this crate knows no device, no token, no task and no receipt, and no
//! type of the broker's client.
//!
//! Architecture invariant: a decision depends on one observation, the policy, the agreed baseline
//! and `now`; never on what was seen before. Order, repeats and a second fetcher change nothing.
//!
//! Architecture invariant: what is remembered in memory, and every cursor, only saves work.
//! Forgetting all of it at any line of code publishes nothing twice and loses nothing.
//!
//! Architecture invariant: an exclusive source is touched only while its lease holds: each task that
//! has a connection asks the clock before it goes on, and is dropped when the lease is over.
//!
//! Architecture invariant: a document that cannot be read completely is an error of its poll. It
//! never means that something vanished, and no baseline is made of it.

mod backoff;
pub mod baseline;
mod clock;
pub mod config;
pub mod cursor;
pub mod decide;
pub mod example;
mod exclusive;
pub mod intake;
mod known;
pub mod level;
pub mod mapping;
pub mod metric;
mod pause;
mod pump;
mod run;
pub mod source;
pub mod trial;

pub use config::{Config, SourceConfig};
pub use metric::Metrics;
pub use run::{RunError, run};
pub use trial::{Trial, TrialError, trial_of_bytes, trial_of_source};
