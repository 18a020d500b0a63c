//! What receipts say of one debt, and what their word is worth. Pure.

use jiff::Timestamp;

use super::finding::What;
use crate::hash::DeviceHash;
use crate::receipt::{Line, Mark};
use crate::story::task::TaskStory;

/// What the receipts say of one debt so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing yet.
    None,
    /// The walk went past it.
    Passed,
    /// A line of its own.
    Line(Mark),
    /// What all got who had no turn.
    Rest(Mark),
    /// A line whose reason the documents contradict.
    Denied(What),
}

impl Word {
    pub(super) fn is_done(self) -> bool {
        match self {
            Self::None | Self::Passed => false,
            Self::Line(mark) => mark.is_done(),
            Self::Rest(_) | Self::Denied(_) => true,
        }
    }
}

/// One owed delivery, and what was said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debt {
    pub(super) app: u16,
    pub(super) hash: DeviceHash,
    pub(super) place: usize,
    pub(super) is_shared: bool,
    pub(super) word: Word,
    pub(super) n_accepted: u32,
}

/// What became of a debt whose task was read: a mark, `None` while it is to come, or what does not
/// add up.
pub(super) fn settled(
    debt: Debt,
    task: &TaskStory,
    has_higher: bool,
) -> Result<Option<Mark>, What> {
    let last = task.last.as_ref();
    let is_finished = task.is_finished();
    let is_intended = last.is_some_and(|it| it.intended.contains(&debt.hash));
    match debt.word {
        Word::Denied(what) => Err(what),
        Word::Line(Mark::Superseded) | Word::Rest(Mark::Superseded) if !has_higher => {
            Err(What::NotSuperseded)
        }
        Word::Line(Mark::Later) | Word::None if is_finished && is_intended => {
            Ok(Some(Mark::Unclear))
        }
        Word::Line(Mark::Later) | Word::None if is_finished => Err(What::Lost),
        Word::Line(mark) | Word::Rest(mark) => Ok(Some(mark)),
        Word::Passed => Err(What::PassedOver),
        Word::None => {
            let waits = last.is_some_and(|it| it.later.contains_key(&debt.hash));
            let is_to_come = last.is_none_or(|it| !it.is_marked(debt.hash));
            if is_to_come || waits || is_intended {
                Ok(None)
            } else {
                Err(What::PassedOver)
            }
        }
    }
}

/// How a notifier begins the reason of an expiry that is still to come.
const TOO_LATE: &str = "retry would come too late";

/// What a line says, unless the documents or the clock say otherwise.
pub(super) fn word(line: &Line, expires_at: Timestamp) -> Word {
    let reason = line.reason.as_deref().unwrap_or("");
    match line.mark {
        Mark::Dropped if ["gone", "other_app", "unsubscribed"].contains(&reason) => {
            Word::Denied(What::NotUnsubscribed)
        }
        Mark::Expired if is_before(line.at, expires_at) && !reason.starts_with(TOO_LATE) => {
            Word::Denied(What::NotExpired)
        }
        mark @ (Mark::Accepted
        | Mark::Unregistered
        | Mark::Refused
        | Mark::Later
        | Mark::Expired
        | Mark::Superseded
        | Mark::Dropped
        | Mark::Unclear
        | Mark::Dead) => Word::Line(mark),
    }
}

/// What everyone gets who had no turn when the task was closed.
pub(super) fn rest(mark: Mark, at: Timestamp, expires_at: Timestamp) -> Word {
    if mark == Mark::Expired && is_before(at, expires_at) {
        Word::Denied(What::NotExpired)
    } else {
        Word::Rest(mark)
    }
}

/// Receipts keep times in milliseconds.
fn is_before(at: Timestamp, expires_at: Timestamp) -> bool {
    at.as_millisecond() < expires_at.as_millisecond()
}
