//! Why an event has no plan, as far as the streams tell.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::level::Level;

/// An event that nobody has planned, and what is known around it.
#[derive(Clone, Debug)]
pub struct Unplanned<'a> {
    /// Its sequence in the stream of events.
    pub seq: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// After this nobody is told.
    pub expires_at: Timestamp,
    /// Its level.
    pub level: &'a Level,
    /// All levels that are stored for its item.
    pub levels: &'a [Level],
    /// Up to this sequence the planners had acknowledged all events, before its plan was looked for.
    pub settled_up_to: u64,
    /// How long plans are kept.
    pub plans_kept: Option<Duration>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq)]
pub enum Absence {
    /// No notifier has come to it.
    Waiting,
    /// It expired before a notifier came to it.
    Expired,
    /// This higher level stood already.
    Superseded(Level),
    /// Planners are done with it, and yet it is to be told: nobody will.
    Lost,
    /// It is older than plans are kept: nothing can be said.
    Forgotten,
}

impl Unplanned<'_> {
    /// Decides, at a time.
    pub fn absence(&self, now: Timestamp) -> Absence {
        let kept = self
            .plans_kept
            .and_then(|it| SignedDuration::try_from(it).ok());
        if kept.is_some_and(|kept| now.duration_since(self.stored_at) >= kept) {
            return Absence::Forgotten;
        }
        let higher = self.levels.iter().find(|it| it.is_higher_than(self.level));
        if let Some(higher) = higher {
            return Absence::Superseded(higher.clone());
        }
        if self.expires_at <= now {
            return Absence::Expired;
        }
        if self.seq <= self.settled_up_to {
            return Absence::Lost;
        }
        Absence::Waiting
    }
}
