//! From events to pushes: a planner cuts events into tasks, senders work the tasks off, providers put
//! pushes on devices.
//!
//! Architecture invariant: this crate knows no source and no cursor, and no type of the NATS client.
//!
//! Architecture invariant: `worker` alone settles tasks and appends their receipts; `planner` alone
//! settles events. The decisions ([`progress`], [`outcome`], [`hygiene`], [`lane`], `encode`
//! and `classify` of the providers) are pure.
//!
//! Architecture invariant: requests written minus outcomes durably recorded never exceed the window.

mod ahead;
mod attempt;
mod breaker;
mod clock;
mod config;
mod credential;
mod follow;
pub mod hygiene;
pub mod lane;
mod loaded;
mod machine;
mod membership;
mod metric;
pub mod notification;
pub mod outcome;
mod planner;
mod pool;
mod pressure;
pub mod progress;
pub mod provider;
mod ramp;
mod rate;
mod role;
mod sender;
mod sending_thread;
mod share;
mod shared;
mod status;
mod task_places;
mod trouble;
mod turns;
mod window;
mod worker;

pub use config::{Config, Sabotage};
pub use credential::{Keyring, Secret};
pub use follow::{AtWork, Driver, Follower, FollowerEnded};
pub use metric::Metrics;
pub use pool::Keepalive;
pub use role::{RunError, lanes, run};
