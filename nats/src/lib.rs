//! fanfare's contract with the broker.
//!
//! Everything that fanfare knows of NATS JetStream is in this crate: the grammar of subjects, the
//! streams and buckets as data, the wire form of events, plans, tasks and receipts, and the few
//! operations the roles are built from. The pure types ([`Event`], [`Topic`], [`Device`], [`Plan`],
//! [`Receipt`], the device [`index`]) stand beside them because every role must agree on them.
//!
//! Architecture invariant: this crate knows no HTTP, no provider, no source format and no signal.
//!
//! Architecture invariant: identity is the subject. Nothing that must happen once is decided by a
//! time window, a leader or a cache; the stream refuses the second one.
//!
//! Architecture invariant: an answer is *yes*, *no* or *not known*, and the three are different
//! variants. "Not known" is repeated with the same bytes until it is one of the others.

pub mod ahead;
pub mod audit;
pub mod batch;
pub mod bucket;
pub mod claim;
pub mod clock;
pub mod connect;
pub mod consumer;
pub mod control;
pub mod dead;
pub mod device;
pub mod event;
pub mod events;
pub mod fail;
pub mod feed;
pub mod filter;
pub mod follow;
mod genuine;
pub mod harmless;
pub mod hash;
pub mod index;
pub mod key;
pub mod keys;
pub mod lanes;
pub mod lease;
pub mod level;
pub mod members;
pub mod membership;
pub mod metric;
mod outage;
pub mod pause;
pub mod permissions;
pub mod plan;
pub mod policy;
pub mod post;
pub mod presence;
pub mod problem;
pub mod publish;
mod pulls;
pub mod readiness;
pub mod receipt;
pub mod receipts;
pub mod registration;
pub mod request;
mod schema;
pub mod service;
pub mod sources;
pub mod story;
pub mod stream;
pub mod subject;
pub mod survey;
pub mod tenant;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod topic;
pub mod wakeup;
mod wire;

pub use connect::{Broker, ConnectError, ConnectOptions};
pub use device::{AppName, Device, DeviceId, Filter, Subscription, Token};
pub use event::{Event, EventId, ScreenId, Urgency};
pub use hash::DeviceHash;
pub use level::Level;
pub use metric::Metrics;
pub use plan::{HashRange, Lane, Plan, Task};
pub use problem::Problem;
pub use readiness::Readiness;
pub use receipt::Receipt;
pub use tenant::Tenant;
pub use topic::{Pattern, Topic};
