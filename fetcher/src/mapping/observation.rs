//! What an item says, and why one says nothing usable.

use std::time::Duration;

use fanfare_nats::event::{Content, Urgency};
use fanfare_nats::{Level, Topic};
use jiff::Timestamp;

/// One item as one poll or frame showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The source's own stable id.
    pub item: String,
    /// Judged by the policy on this observation alone; `None`: below all steps.
    pub level: Option<Level>,
    /// When it happened; `None` for a source without times.
    pub occurred_at: Option<Timestamp>,
    /// Whom it concerns; at least one.
    pub topics: Vec<Topic>,
    /// Which lane it takes.
    pub urgency: Option<Urgency>,
    /// What is shown.
    pub content: Content,
}

/// Why an item was rejected: a closed set, so that it can be a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A frame that is no JSON.
    Frame,
    /// `reshape`, `when` or `ignore` could not be evaluated.
    Condition,
    /// No id, or one of more than 512 bytes.
    Id,
    /// No time, or none that can be read.
    Time,
    /// The level's number or fields cannot be read.
    Level,
    /// No topic, too many, or one that is none.
    Topic,
    /// No title.
    Title,
    /// Another field cannot be read.
    Field,
    /// More content than an event may have.
    Size,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Frame,
        Self::Condition,
        Self::Id,
        Self::Time,
        Self::Level,
        Self::Topic,
        Self::Title,
        Self::Field,
        Self::Size,
    ];

    /// The reason as a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Condition => "condition",
            Self::Id => "id",
            Self::Time => "time",
            Self::Level => "level",
            Self::Topic => "topic",
            Self::Title => "title",
            Self::Field => "field",
            Self::Size => "size",
        }
    }
}

/// An item that could not be used. The others of its document are not touched by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its id, where that could be read.
    pub item: Option<String>,
    /// Why, for counting.
    pub reason: Reason,
    /// Why, for people.
    pub detail: String,
}

/// Everything that was read from one or more documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The items that count.
    pub observations: Vec<Observation>,
    /// The items that could not be used.
    pub rejects: Vec<Reject>,
    /// How many items `when` left out.
    pub n_left_out: usize,
    /// How many frames are missing, by their numbers.
    pub n_missed: u64,
    /// The feed's own lower bound between polls.
    pub ttl: Option<Duration>,
}

impl Observed {
    /// Adds what another page or frame says.
    pub fn merge(&mut self, other: Self) {
        self.observations.extend(other.observations);
        self.rejects.extend(other.rejects);
        self.n_left_out += other.n_left_out;
        self.n_missed += other.n_missed;
        self.ttl = self.ttl.max(other.ttl);
    }
}
