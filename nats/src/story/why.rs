//! Why a device got an event, or why not: one event and one device, and everything that is stored
//! of them.

mod sentence;

use jiff::Timestamp;

use super::matching::{self, Addressed, Opinion};
use super::read::{Buried, Document, StoredEvent};
use super::task::has_passed;
use super::unplanned::Absence;
use crate::device::DeviceId;
use crate::level::Level;
use crate::plan::{Lane, Plan};
use crate::receipt::{Later, Line, Mark, Receipt};

/// The receipts of one task that could hold the device.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Through which lane.
    pub lane: Lane,
    /// Which task of the lane, and of how many.
    pub n: u32,
    /// Number of tasks of the lane.
    pub n_tasks: u32,
    /// Its receipts with their sequences.
    pub receipts: Vec<(u64, Receipt)>,
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct Case {
    /// The device.
    pub device: DeviceId,
    /// What stands under its id.
    pub document: Document,
    /// The event.
    pub stored: StoredEvent,
    /// Its plan.
    pub plan: Option<Plan>,
    /// Without a plan: why there is none.
    pub absence: Option<Absence>,
    /// In each lane the task whose range holds the device.
    pub chains: Vec<Chain>,
    /// Dead letters of the device and of whole tasks.
    pub letters: Vec<Buried>,
    /// Levels that are stored for the event's item.
    pub levels: Vec<Level>,
}

impl Case {
    /// Whether the device is one that we know: by its document, or because a receipt names it.
    pub fn is_of_a_known_device(&self) -> bool {
        let device = self.device.hash();
        let is_named = |it: &Chain| {
            let mut lines = it.receipts.iter().flat_map(|(_, it)| &it.lines);
            lines.any(|it| it.device == device)
        };
        self.document != Document::Unknown || self.chains.iter().any(is_named)
    }
}

/// One attempt, or the decision to make none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which attempt, when, and what came of it.
    pub line: Line,
    /// The node that recorded it.
    pub node: String,
    /// In which pass.
    pub pass: u32,
    /// Sequence of the receipt.
    pub seq: u64,
}

/// How it ended, or where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The provider took it.
    Delivered {
        /// When its answer was read.
        at: Timestamp,
        /// At which attempt.
        attempt: u32,
        /// How often receipts say so.
        times: usize,
    },
    /// It waits for another attempt.
    Waiting(Later),
    /// Its task has not come to it, or not begun.
    ToCome {
        /// Whether the task has begun.
        has_begun: bool,
    },
    /// No pattern matches, or a filter does not let the event through.
    NotConcerned {
        /// A pattern matches.
        is_filtered_out: bool,
        /// Its document was written after the plan: what it said before is not kept.
        has_changed: bool,
    },
    /// The document was removed after the plan, before its turn.
    Left,
    /// It is concerned by a document that was written after the plan.
    TooLate,
    /// Not sent: it had expired.
    Expired,
    /// Not sent: a higher level stood.
    Superseded(Option<Level>),
    /// Not sent, for this reason.
    Dropped(String),
    /// The provider knows the token no more, in its words.
    Unregistered(String),
    /// The provider refused it, in its words; the dead letter's sequence, if it is still there.
    Refused(String, Option<u64>),
    /// At most once: the first request may have been delivered.
    Unclear,
    /// Given up with its task.
    Poison(Option<u64>),
    /// The event has no plan.
    Unplanned(Absence),
    /// Owed, and nobody says what became of it.
    Lost,
}

/// What is known of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStory {
    /// The document is as old as the plan, and nothing was said against its token.
    AsItWas,
    /// The document was written after the plan.
    ChangedSince,
    /// The provider knew it no more, and the document was removed.
    Retired,
    /// The provider knew it no more, and the document stands: it was registered since, or the brake
    /// on removals held.
    DeadAndKept,
    /// It was another device's when its turn came.
    Moved,
    /// The document was removed; not because of what the provider said.
    Removed,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Why {
    /// How it ended.
    pub ending: Ending,
    /// What each subscription of the document says, as it is now.
    pub opinions: Vec<Opinion>,
    /// A reserved topic names the device or its user.
    pub is_addressed: bool,
    /// Everything that the receipts say of the device.
    pub attempts: Vec<Attempt>,
    /// The task that holds the device, if there is one: its place in [`Case::chains`].
    pub chain: Option<usize>,
    /// What is known of the token; `None` for an unknown device.
    pub token: Option<TokenStory>,
}

/// Judges a case.
pub fn why(case: &Case) -> Why {
    let (opinions, is_addressed) = opinions(case);
    let is_concerned = is_addressed || opinions.iter().any(Opinion::is_for);
    let chain = chain(case);
    let attempts = chain
        .and_then(|at| case.chains.get(at))
        .map_or_else(Vec::new, |it| attempts(case, it));
    let ending = recorded(case, &attempts).unwrap_or_else(|| {
        let is_filtered_out = opinions.iter().any(Opinion::is_filtered_out);
        unrecorded(case, chain, is_concerned, is_filtered_out)
    });
    Why {
        token: token(case, &attempts),
        ending,
        opinions,
        is_addressed,
        attempts,
        chain,
    }
}

fn opinions(case: &Case) -> (Vec<Opinion>, bool) {
    let event = &case.stored.event;
    let (subscriptions, user) = match &case.document {
        Document::Stands { device, .. } => {
            let user = device.user.as_deref().map(matching::user_hash);
            (device.subscriptions.as_slice(), user)
        }
        Document::Removed { .. } | Document::Unknown => (&[][..], None),
    };
    let opinions = subscriptions
        .iter()
        .map(|it| matching::opinion(it, event))
        .collect();
    let (addressed, device) = (Addressed::by(event), case.device.hash());
    let is_addressed = match &case.document {
        Document::Stands { device: it, .. } if it.pending.is_some() => addressed.challenges(device),
        Document::Stands { .. } => addressed.names(device, user),
        Document::Removed { .. } | Document::Unknown => addressed.names(device, None),
    };
    (opinions, is_addressed)
}

/// The task that names the device, or else the one of the lane of its app.
fn chain(case: &Case) -> Option<usize> {
    let device = case.device.hash();
    let names = |it: &Chain| {
        let mut lines = it.receipts.iter().flat_map(|(_, it)| &it.lines);
        lines.any(|it| it.device == device)
    };
    let is_of_app = |it: &Chain| match &case.document {
        Document::Stands { device, .. } => device.app == it.lane.app,
        Document::Removed { .. } | Document::Unknown => false,
    };
    let by_name = case.chains.iter().position(names);
    by_name.or_else(|| case.chains.iter().position(is_of_app))
}

fn attempts(case: &Case, chain: &Chain) -> Vec<Attempt> {
    let device = case.device.hash();
    let mut attempts = Vec::new();
    for (seq, receipt) in &chain.receipts {
        let lines = receipt.lines.iter().filter(|it| it.device == device);
        attempts.extend(lines.map(|line| Attempt {
            line: line.clone(),
            node: receipt.node.clone(),
            pass: receipt.claim.pass,
            seq: *seq,
        }));
    }
    attempts
}

/// What the receipts say in so many words.
fn recorded(case: &Case, attempts: &[Attempt]) -> Option<Ending> {
    let is_accepted = |it: &&Attempt| it.line.mark == Mark::Accepted;
    if let Some(first) = attempts.iter().find(is_accepted) {
        return Some(Ending::Delivered {
            at: first.line.at,
            attempt: first.line.attempt,
            times: attempts.iter().filter(is_accepted).count(),
        });
    }
    let last = &attempts.last()?.line;
    let reason = last.reason.clone().unwrap_or_default();
    Some(match last.mark {
        Mark::Later => return waiting(case),
        Mark::Accepted => return None, // Seen above.
        mark @ (Mark::Unregistered
        | Mark::Refused
        | Mark::Expired
        | Mark::Superseded
        | Mark::Dropped
        | Mark::Unclear
        | Mark::Dead) => ending(case, mark, reason),
    })
}

fn waiting(case: &Case) -> Option<Ending> {
    let device = case.device.hash();
    let mut chains = case.chains.iter().filter_map(|it| it.receipts.last());
    let later = chains.find_map(|(_, last)| last.later.get(&device))?;
    Some(Ending::Waiting(*later))
}

fn ending(case: &Case, mark: Mark, reason: String) -> Ending {
    let letter = case.letters.last().map(|it| it.seq);
    match mark {
        Mark::Unregistered => Ending::Unregistered(reason),
        Mark::Refused => Ending::Refused(reason, letter),
        Mark::Expired => Ending::Expired,
        Mark::Superseded => Ending::Superseded(higher(case)),
        Mark::Dropped => Ending::Dropped(reason),
        Mark::Unclear => Ending::Unclear,
        Mark::Dead => Ending::Poison(letter),
        Mark::Accepted | Mark::Later => Ending::Lost, // Decided before; neither ends a task.
    }
}

fn higher(case: &Case) -> Option<Level> {
    let level = &case.stored.event.level;
    let highest = case.levels.iter().filter(|it| it.is_higher_than(level));
    highest
        .reduce(|one, other| {
            if other.is_higher_than(one) {
                other
            } else {
                one
            }
        })
        .cloned()
}

/// What follows where no receipt names the device.
fn unrecorded(
    case: &Case,
    chain: Option<usize>,
    is_concerned: bool,
    is_filtered_out: bool,
) -> Ending {
    let planned_at_revision = case.plan.as_ref().map_or(u64::MAX, |it| it.revision);
    let has_changed = match &case.document {
        Document::Stands { revision, .. } => *revision > planned_at_revision,
        Document::Removed { .. } | Document::Unknown => return Ending::Left,
    };
    if !is_concerned {
        return Ending::NotConcerned {
            is_filtered_out,
            has_changed,
        };
    }
    if case.plan.is_none() {
        let absence = case.absence.clone();
        return Ending::Unplanned(absence.unwrap_or(Absence::Waiting));
    }
    let chain = chain.and_then(|at| case.chains.get(at));
    let walked = chain.map_or(Some(Ending::Lost), |it| walked(case, it));
    match walked {
        Some(Ending::Lost) if has_changed => Ending::TooLate,
        Some(ending) => ending,
        None => Ending::ToCome {
            has_begun: chain.is_some_and(|it| !it.receipts.is_empty()),
        },
    }
}

/// What became of a device that its task does not name; `None` while its turn is to come.
fn walked(case: &Case, chain: &Chain) -> Option<Ending> {
    let device = case.device.hash();
    let (_, last) = chain.receipts.last()?;
    if last.intended.contains(&device) {
        return last.is_finished().then_some(Ending::Unclear);
    }
    if let Some(mark) = last.rest {
        // A replay may have opened the task again in between: the last closing counts.
        let open = chain
            .receipts
            .iter()
            .rev()
            .find(|(_, it)| it.rest.is_none());
        if !open.is_some_and(|(_, it)| it.is_marked(device)) {
            return Some(ending(case, mark, String::new()));
        }
    }
    has_passed(last, device).then_some(Ending::Lost)
}

fn token(case: &Case, attempts: &[Attempt]) -> Option<TokenStory> {
    let is_dead = attempts.iter().any(|it| it.line.mark == Mark::Unregistered);
    let is_moved = attempts.iter().any(|it| {
        let reason = it.line.reason.as_deref();
        it.line.mark == Mark::Dropped && matches!(reason, Some("token_lost" | "token_moved"))
    });
    let planned_at_revision = case.plan.as_ref().map_or(u64::MAX, |it| it.revision);
    Some(match &case.document {
        Document::Unknown => return None,
        Document::Removed { .. } if is_dead => TokenStory::Retired,
        Document::Removed { .. } => TokenStory::Removed,
        Document::Stands { .. } if is_moved => TokenStory::Moved,
        Document::Stands { revision, .. } if *revision > planned_at_revision => {
            TokenStory::ChangedSince
        }
        Document::Stands { .. } if is_dead => TokenStory::DeadAndKept,
        Document::Stands { .. } => TokenStory::AsItWas,
    })
}
