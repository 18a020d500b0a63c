//! The nats-server that fanfare embeds: found or fetched, verified, started, watched and ended.
//!
//! Whoever gives fanfare the address of a broker never meets this crate. Whoever does not gets one:
//! [`obtain()`] finds a suitable binary (or fetches a pinned one), [`Server`] runs it with settings
//! that keep what it acknowledged, and
//! [`process`] makes sure that no child outlives us, however we end.
//!
//! Architecture invariant: nothing here speaks the NATS protocol; readiness is read from the
//! server's own monitoring.
//! Architecture invariant: a child listens on 127.0.0.1 only, and by number: `localhost` may be an
//! IPv6 address.
//! Architecture invariant: environment variables arrive as an [`Environment`]; nothing below the
//! caller reads them.

mod environment;
pub mod obtain;
pub mod process;
pub mod server;
mod version;

pub use environment::Environment;
pub use obtain::{Download, ObtainError, Obtained, Origin, Step, obtain};
pub use server::{Cluster, Options, Server, StartError, Stopped, Store, SyncInterval};
pub use version::Version;
