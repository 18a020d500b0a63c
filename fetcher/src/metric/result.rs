//! What became of polls, items and publishes: closed sets of labels.

/// What a poll brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// Something to read.
    New,
    /// Nothing since the last one.
    NotModified,
    /// It failed.
    Error,
    /// The publisher asked to wait.
    Throttled,
}

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemResult {
    /// It was published, or is known to be stored.
    Event,
    /// It is no news.
    Silent,
    /// It is too old, or too far ahead.
    Stale,
    /// It could not be used.
    Rejected,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// Stored by it.
    Stored,
    /// Stored before, by whomever.
    Already,
    /// Not known, or refused; it is tried again.
    Error,
}

impl PollResult {
    pub(super) const ALL: [Self; 4] = [Self::New, Self::NotModified, Self::Error, Self::Throttled];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::NotModified => "not_modified",
            Self::Error => "error",
            Self::Throttled => "throttled",
        }
    }
}

impl ItemResult {
    pub(super) const ALL: [Self; 4] = [Self::Event, Self::Silent, Self::Stale, Self::Rejected];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Silent => "silent",
            Self::Stale => "stale",
            Self::Rejected => "rejected",
        }
    }
}

impl EventResult {
    pub(super) const ALL: [Self; 3] = [Self::Stored, Self::Already, Self::Error];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Already => "already",
            Self::Error => "error",
        }
    }
}
