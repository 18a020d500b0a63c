//! How the broker stands, looked at without changing anything: what `fanfare doctor` judges.
//!
//! [`Broker::survey`](crate::Broker::survey) asks, [`findings`] judges. What the asking user may not ask about is left out
//! and said so: a denied question would look like a broker that does not answer.
//!
//! Architecture invariant: judging is pure.

mod ask;
mod exercise;
mod forecast;
mod judge;
mod servers;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use self::exercise::{Exercise, exercise};
pub use self::forecast::{Forecast, Load, LoadError, Part, forecast};
pub use self::judge::bytes;
pub use self::judge::{Expected, findings, of_exercise, of_refusal};
pub use self::servers::{Server, servers, told};

use crate::lease::LeaseReport;
use crate::members::Member;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Fine,
    /// Worth knowing; also what could not be seen.
    Note,
    /// It works, and something will break it or makes it worse.
    Warning,
    /// It does not work, or the promise does not hold.
    Trouble,
}

impl Severity {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Trouble => "trouble",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What was looked at, in one word.
    pub about: &'static str,
    /// What was seen.
    pub text: String,
    /// What to do; empty where there is nothing to do.
    pub advice: String,
}

impl Finding {
    /// All is well.
    pub fn fine(about: &'static str, text: impl Into<String>) -> Self {
        Self {
            severity: Severity::Fine,
            about,
            text: text.into(),
            advice: String::new(),
        }
    }

    /// Something to know or to do.
    pub fn new(
        severity: Severity,
        about: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            about,
            text: text.into(),
            advice: advice.into(),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The account, if the user may ask about it.
    pub account: Option<Account>,
    /// The streams and buckets that exist and may be asked about.
    pub streams: Vec<Stream>,
    /// The durables, likewise.
    pub consumers: Vec<Consumer>,
    /// The clocks of the servers that lead something.
    pub clocks: Vec<Clock>,
    /// Who is alive, if the user may see it.
    pub members: Option<Vec<Member>>,
    /// Leases of exclusive sources, if the user may see them.
    pub leases: Option<Vec<LeaseReport>>,
    /// What could not be asked, and why.
    pub unseen: Vec<String>,
}

/// What the account may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The level of JetStream's interface.
    pub api_level: u64,
    /// Bytes on disk, of all its streams.
    pub storage: u64,
    /// The most it may have, if the account has a limit.
    pub storage_limit: Option<u64>,
}

/// A stream, or the stream of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Its name.
    pub name: String,
    /// Stored messages.
    pub n_messages: u64,
    /// Stored bytes, on each server that has it.
    pub bytes: u64,
    /// Its own limit.
    pub limit_bytes: Option<u64>,
    /// Copies that are configured.
    pub replicas: usize,
    /// The server that leads it; `None` on a single server, or where none leads.
    pub leader: Option<String>,
    /// Whether it is part of a cluster.
    pub is_clustered: bool,
    /// The other copies.
    pub peers: Vec<Peer>,
}

/// A copy of a stream that does not lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The server.
    pub name: String,
    /// It has everything.
    pub is_current: bool,
    /// It is not there.
    pub is_offline: bool,
    /// How many operations it lacks.
    pub lag: u64,
}

/// A durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Its stream.
    pub stream: String,
    /// Its name.
    pub name: String,
    /// What nobody has taken.
    pub n_pending: u64,
    /// What was taken and is not settled.
    pub n_in_hand: u64,
    /// The most that may be in hand; 0 or less is no limit.
    pub max_ack_pending: i64,
    /// An operator has paused it.
    pub is_paused: bool,
}

/// A server's clock against ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The server.
    pub server: String,
    /// Its clock minus ours.
    pub ahead: SignedDuration,
    /// How far off this may be: half of the time the answer took.
    pub give_or_take: Duration,
}

impl Clock {
    /// From a server's reading, between two of ours.
    fn between(server: String, asked: Timestamp, told: Timestamp, heard: Timestamp) -> Self {
        let half = heard.duration_since(asked) / 2;
        let middle = asked.checked_add(half).unwrap_or(asked);
        Self {
            server,
            ahead: told.duration_since(middle),
            give_or_take: Duration::try_from(half).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
