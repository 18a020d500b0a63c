//! The outside world in a box: replayed feeds on one side, push providers on the other.
//!
//! The provider doubles are as strict as the real ones, speak the same wire (HTTP/2 over TLS with
//! real limits, tokens and reasons), fail on demand, and keep a ledger of what arrived, written
//! before the answer. The feed side serves recorded or shipped data at any speed, with faults.
//!
//! Architecture invariant: this crate imports no other crate of fanfare, so that both sides cannot
//! share a misreading.
//! Architecture invariant: everything binds 127.0.0.1, unless its configuration names another address.
//! Architecture invariant: a push is accepted only if its ledger line is in the kernel first.

mod ca;
mod clock;
mod config;
mod control;
mod fingerprint;
mod http;
mod keys;
pub mod ledger;
mod provider;
pub mod screen;
pub mod script;
mod sim;
mod upstream;
mod wire;

pub use ca::{CertificateError, Certificates};
pub use config::{
    Advance, ApnsConfig, AtEnd, FcmConfig, QuakesConfig, SimConfig, SnapshotsConfig, SocketConfig,
    TickerConfig, UpstreamConfig,
};
pub use http::HttpError;
pub use keys::KeyError;
pub use provider::auth::RenewalsPer;
pub use provider::oauth::TestKeyError;
pub use sim::{Sim, StartError, Whereabouts};
pub use upstream::faults::{FeedFault, FeedRule};
pub use upstream::quakes::Emission;
pub use upstream::{Asked, FeedError, Visit};
pub use wire::{Disturbance, EndedConnection, Latency};
