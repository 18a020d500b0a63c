//! The lease of an exclusive source: one fetcher at a time may read it.
//!
//! A record under `lease.source.<name>` in the control bucket, which the broker removes by itself
//! when it is not renewed. Everything that keeps two holders apart is here: who writes follows
//! exactly the sequence that it has read, so of several candidates the stream takes one; and a holder
//! stops by itself, on its own clock, before the broker lets the record go. Who *should* hold a lease
//! is a matter of order only ([`order`]).
//!
//! Architecture invariant: a [`Tenure`] is over before another one can begin. It is counted from
//! before its last confirmed renewal was sent, and asks the clock itself, so that a process that was
//! frozen notices before it does anything else.
//!
//! Architecture invariant: the decisions are in `machine`, without I/O, and run under a simulation
//! of the broker too.
//!
//! Nothing is watched: a candidate reads the record from the leader a few times a second. A watch
//! would need the right to make consumers, and a push consumer delivers wherever its maker wants;
//! fetchers read what strangers publish, and are the ones who must not have that right.

mod candidate;
mod electorate;
mod machine;
mod operate;
pub mod order;
mod record;
mod tenure;
#[cfg(test)]
mod tests;

use std::time::Duration;

use async_nats::HeaderMap;

pub use self::candidate::{Candidate, Ended};
pub use self::electorate::Census;
pub use self::machine::Lost;
pub use self::operate::{LeaseError, LeaseReport, Withdrawn};
pub use self::order::{Electorate, Preference, Standing};
pub use self::record::{Record, Seen, Vacancy};
pub use self::tenure::Tenure;

use crate::connect::Broker;
use crate::control::{ReadError, kv_subject};
use crate::event::SourceName;
use crate::request::{expecting, header};

/// How long the record of a release is kept.
const RELEASED: Duration = Duration::from_mins(1);

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// After so long without a renewal the broker removes the record. Whole seconds.
    pub ttl: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// So long after the start of its last confirmed renewal a holder stops by itself.
    pub stop_after: Duration,
    /// How often a candidate looks.
    pub look_every: Duration,
}

impl Times {
    /// What is shipped. Shorter times lose the lease at elections of the broker, which take 4 to
    /// 11 s: with 15 s, renewals every 5 s and a stop after half of it, 10 of 12 elections did; with
    /// these, none of 12 (measured).
    pub const SHIPPED: Self = Self {
        ttl: Duration::from_secs(20),
        renew_every: Duration::from_secs(4),
        stop_after: Duration::from_secs(16),
        look_every: Duration::from_millis(250),
    };

    /// The same in proportion, for tests that cannot wait.
    pub fn with_ttl(ttl: Duration) -> Self {
        Self {
            ttl,
            renew_every: ttl / 5,
            stop_after: ttl * 4 / 5,
            ..Self::SHIPPED
        }
    }
}

impl Broker {
    /// What stands under a source's lease, from the leader.
    ///
    /// # Errors
    /// [`ReadError`]: try again.
    pub async fn lease(&self, source: &SourceName) -> Result<Seen, ReadError> {
        let bucket = self.names.control_bucket();
        let subject = kv_subject(&bucket, &key(source));
        let last = self.last_message(&format!("KV_{bucket}"), &subject).await?;
        Ok(last.map_or(Seen::NOTHING, |it| {
            Seen::read(it.sequence, &it.headers, &it.payload)
        }))
    }
}

/// The key of a source's lease.
fn key(source: &SourceName) -> String {
    format!("lease.source.{source}")
}

/// Headers of a marker that ends a record.
fn marker(seq: u64) -> HeaderMap {
    let mut headers = expecting(seq);
    headers.insert(header::KV_OPERATION, "PURGE");
    headers.insert(header::ROLLUP, "sub");
    headers.insert(header::TTL, RELEASED.as_secs().to_string().as_str());
    headers
}
