//! How an ending is told: a word for programs, a sentence for people.

use jiff::Timestamp;

use super::{Ending, TokenStory};
use crate::level::Level;
use crate::story::unplanned::Absence;

impl Ending {
    /// A word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Waiting(_) => "waiting",
            Self::ToCome { .. } => "to_come",
            Self::NotConcerned {
                is_filtered_out: true,
                ..
            } => "filtered_out",
            Self::NotConcerned { .. } => "not_subscribed",
            Self::Left => "removed",
            Self::TooLate => "changed_after_plan",
            Self::Expired | Self::Unplanned(Absence::Expired) => "expired",
            Self::Superseded(_) | Self::Unplanned(Absence::Superseded(_)) => "superseded",
            Self::Dropped(_) => "dropped",
            Self::Unregistered(_) => "unregistered",
            Self::Refused(..) => "refused",
            Self::Unclear => "unclear",
            Self::Poison(_) => "poison",
            Self::Unplanned(Absence::Waiting) => "not_planned_yet",
            Self::Unplanned(Absence::Forgotten) => "forgotten",
            Self::Lost | Self::Unplanned(Absence::Lost) => "lost",
        }
    }

    /// What happened, for somebody who answers a user.
    pub fn sentence(&self) -> String {
        match self {
            Self::Delivered { at, attempt, times } => delivered(*at, *attempt, *times),
            Self::Waiting(later) => format!(
                "Not delivered yet: attempt {} came to nothing, the next one is due at {}.",
                later.attempts,
                time(later.due)
            ),
            Self::ToCome { has_begun: true } => {
                "Not delivered yet: its task is being sent and has not come to this device.".into()
            }
            Self::ToCome { has_begun: false } => {
                "Not delivered yet: no notifier has taken its task.".into()
            }
            Self::NotConcerned {
                is_filtered_out,
                has_changed,
            } => not_concerned(*is_filtered_out, *has_changed).into(),
            Self::Left => "Not sent: the device was removed before its turn.".into(),
            Self::TooLate => {
                "Not sent: the device was registered or changed after the event was planned, and \
                 an event goes to whoever follows it when it is planned."
                    .into()
            }
            Self::Expired => "Not sent: the event had expired when its turn came.".into(),
            Self::Superseded(level) => superseded(level.as_ref()),
            Self::Dropped(reason) => format!("Not sent: {}.", dropped(reason)),
            Self::Unregistered(reason) => format!(
                "Not delivered: the provider knows the token no more ({reason}). The app was \
                 removed, or has a new token and has not told us."
            ),
            Self::Refused(reason, letter) => {
                format!(
                    "Not delivered: the provider refuses it ({reason}){}.",
                    kept(*letter)
                )
            }
            Self::Unclear => {
                "Unclear: it was sent, the answer was lost, and it is sent at most once.".into()
            }
            Self::Poison(letter) => format!(
                "Not delivered: its task was given up after several workers made no progress{}.",
                kept(*letter)
            ),
            Self::Unplanned(absence) => unplanned(absence),
            Self::Lost => {
                "Lost: it was owed, its turn is over, and no receipt says what became of it.".into()
            }
        }
    }
}

impl TokenStory {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::AsItWas => "as_it_was",
            Self::ChangedSince => "changed_since",
            Self::Retired => "retired",
            Self::DeadAndKept => "dead_and_kept",
            Self::Moved => "moved",
            Self::Removed => "removed",
        }
    }
}

fn delivered(at: Timestamp, attempt: u32, times: usize) -> String {
    let again = match times {
        0 | 1 => String::new(),
        times => format!(" It was accepted {times} times."),
    };
    format!(
        "Delivered: the provider accepted it at {}, attempt {attempt}.{again}",
        time(at)
    )
}

fn not_concerned(is_filtered_out: bool, has_changed: bool) -> &'static str {
    match (is_filtered_out, has_changed) {
        (true, false) => {
            "Not sent: a pattern matches, and its filter does not let the event through."
        }
        (false, false) => "Not sent: no pattern of the device matches the event's topics.",
        (true, true) => {
            "Not sent: the device changed what it follows after the event was planned and before \
             its turn; its filter does not let the event through."
        }
        (false, true) => {
            "Not sent: the device changed what it follows after the event was planned and before \
             its turn; it follows none of the event's topics any more."
        }
    }
}

fn superseded(level: Option<&Level>) -> String {
    match level {
        Some(level) => {
            format!("Not sent: the higher level {level} of the same item stood by then.")
        }
        None => "Not sent: a higher level of the same item stood by then.".into(),
    }
}

fn dropped(reason: &str) -> &str {
    match reason {
        "gone" => "the device was removed before its turn",
        "unsubscribed" => "the device followed the event no longer when its turn came",
        "other_app" => "the device belonged to another app when its turn came",
        "token_lost" => "its token belonged to another device when its turn came",
        "token_moved" => {
            "its token came from another device after the event was planned, which may have got it"
        }
        other => other,
    }
}

fn kept(letter: Option<u64>) -> String {
    letter.map_or_else(String::new, |seq| {
        format!("; dead letter {seq} holds it and can be replayed")
    })
}

fn unplanned(absence: &Absence) -> String {
    match absence {
        Absence::Waiting => "Not sent yet: no notifier has planned the event.".into(),
        Absence::Expired => "Not sent: the event expired before a notifier came to it.".into(),
        Absence::Superseded(level) => superseded(Some(level)),
        Absence::Lost => "Lost: the planners are done with the event, and it has no plan.".into(),
        Absence::Forgotten => "Not known: the event is older than plans and tasks are kept.".into(),
    }
}

/// To the millisecond, as receipts have it.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}
