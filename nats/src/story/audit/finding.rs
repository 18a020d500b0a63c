//! What can fail to add up, and how it is told.

/// Why something does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Its task is finished, and no receipt says a word about the device.
    Lost,
    /// The walk went past the device without a word.
    PassedOver,
    /// The plan has no task that could hold the device.
    NoTask,
    /// The receipt says that the device follows the event no longer, or is gone; its document
    /// says that it does, and is older than the plan.
    NotUnsubscribed,
    /// The receipt says expired, before it was.
    NotExpired,
    /// The receipt says superseded, and no higher level is stored.
    NotSuperseded,
    /// It was sent to a device that it does not concern.
    Unasked,
    /// It was accepted more often than a change of hands explains.
    Repeated,
    /// It is open still, long after it expired.
    Overdue,
}

impl What {
    /// The word under which it is counted.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::PassedOver
            | Self::NoTask
            | Self::NotUnsubscribed
            | Self::NotExpired
            | Self::NotSuperseded => "suppressed",
            Self::Unasked => "unasked",
            Self::Repeated => "repeated",
            Self::Overdue => "overdue",
        }
    }

    /// Why, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Lost => "its task is finished, and no receipt says what became of it",
            Self::PassedOver => "its task went past it, and no receipt says what became of it",
            Self::NoTask => "the plan has no task for its app",
            Self::NotUnsubscribed => {
                "the receipt says that it follows this no longer; its document says that it does"
            }
            Self::NotExpired => "the receipt says expired, before the event was",
            Self::NotSuperseded => "the receipt says superseded, and no higher level is stored",
            Self::Unasked => "it was sent to, and its document does not ask for it",
            Self::Repeated => "it was accepted again, and no change of hands explains it",
            Self::Overdue => "it is still open more than an hour after the event expired",
        }
    }
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// The device's id, or its hash where the id is not known; empty if it is not one device.
    pub device: String,
    /// Which task, `<lane> <n>`, if there is one.
    pub task: String,
}
