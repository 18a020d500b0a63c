//! What the receipts of an event say by themselves, device by device: for whoever asks about one
//! event and cannot read all device documents. Whether everyone is named who should be is judged by
//! [`super::audit`] alone.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::hash::DeviceHash;
use crate::receipt::{Line, Mark, Receipt};

/// So many different reasons are told apart; the others are counted as [`OTHER`].
const MAX_REASONS: usize = 32;
/// Reasons beyond the first 32, and marks without one.
pub const OTHER: &str = "other";

/// Counts of one task or of many. Each device is counted by the last word about it, and as accepted
/// once it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    devices: BTreeMap<&'static str, u64>,
    reasons: BTreeMap<(&'static str, String), u64>,
    /// Accepted again, as the receipts themselves say.
    pub repeated: u64,
    /// Tasks of the plan.
    pub n_tasks: u64,
    /// Of these, begun.
    pub n_begun: u64,
    /// Of these, finished.
    pub n_finished: u64,
    /// Tasks that ended for everyone who had no turn, by the word for it: how many these were, no
    /// receipt says.
    pub closed: BTreeMap<&'static str, u64>,
    /// When the first task was begun.
    pub begun_at: Option<Timestamp>,
    /// The first answer that a provider took a push, and the last.
    pub accepted_at: Option<(Timestamp, Timestamp)>,
    /// The last receipt of all.
    pub last_at: Option<Timestamp>,
    /// Whether all receipts were read.
    pub is_whole: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            devices: BTreeMap::new(),
            reasons: BTreeMap::new(),
            repeated: 0,
            n_tasks: 0,
            n_begun: 0,
            n_finished: 0,
            closed: BTreeMap::new(),
            begun_at: None,
            accepted_at: None,
            last_at: None,
            is_whole: true,
        }
    }
}

impl Tally {
    /// One task, from its receipts in their order; `is_whole` if these are all.
    pub fn of_task(receipts: &[Receipt], is_whole: bool) -> Self {
        let mut tally = Self {
            n_tasks: 1,
            is_whole,
            ..Self::default()
        };
        let mut words: HashMap<DeviceHash, &Line> = HashMap::new();
        for line in receipts.iter().flat_map(|it| &it.lines) {
            let is_accepted = line.mark == Mark::Accepted;
            if is_accepted {
                tally.accepted_at = around(tally.accepted_at, Some((line.at, line.at)));
            }
            match words.get(&line.device) {
                Some(before) if before.mark == Mark::Accepted => {
                    tally.repeated += u64::from(is_accepted);
                }
                Some(_) | None => drop(words.insert(line.device, line)),
            }
        }
        for line in words.values() {
            tally.count(line.mark, line.reason.as_deref());
        }
        tally.begun_at = receipts.first().map(|it| it.at);
        tally.n_begun = u64::from(!receipts.is_empty());
        let Some(last) = receipts.last() else {
            return tally;
        };
        tally.last_at = Some(last.at);
        tally.n_finished = u64::from(is_whole && last.is_finished());
        if last.is_finished() {
            // Sent at most once, and nobody recorded what came of it.
            let unsaid = last.intended.iter().filter(|it| !words.contains_key(it));
            for _ in unsaid {
                tally.count(Mark::Unclear, None);
            }
        }
        if let Some(rest) = last.rest {
            tally.closed.insert(rest.word(), 1);
        }
        tally
    }

    fn count(&mut self, mark: Mark, reason: Option<&str>) {
        let word = mark.word();
        *self.devices.entry(word).or_default() += 1;
        let has_reason = matches!(mark, Mark::Dropped | Mark::Refused | Mark::Unregistered);
        if has_reason {
            self.reason(word, reason.unwrap_or(OTHER), 1);
        }
    }

    fn reason(&mut self, word: &'static str, reason: &str, n: u64) {
        let known = (word, reason.to_owned());
        let has_room = self.reasons.len() < MAX_REASONS || self.reasons.contains_key(&known);
        let key = if has_room {
            known
        } else {
            (word, OTHER.to_owned())
        };
        *self.reasons.entry(key).or_default() += n;
    }

    /// Adds what the receipts of other tasks say.
    pub fn add(&mut self, other: Self) {
        for (word, n) in other.devices {
            *self.devices.entry(word).or_default() += n;
        }
        for ((word, reason), n) in other.reasons {
            self.reason(word, &reason, n);
        }
        for (word, n) in other.closed {
            *self.closed.entry(word).or_default() += n;
        }
        self.repeated += other.repeated;
        self.n_tasks += other.n_tasks;
        self.n_begun += other.n_begun;
        self.n_finished += other.n_finished;
        self.is_whole &= other.is_whole;
        self.begun_at = self.begun_at.into_iter().chain(other.begun_at).min();
        self.last_at = self.last_at.max(other.last_at);
        self.accepted_at = around(self.accepted_at, other.accepted_at);
    }

    /// Devices with this last word.
    pub fn n(&self, mark: Mark) -> u64 {
        self.devices.get(mark.word()).copied().unwrap_or(0)
    }

    /// Everyone that the receipts name.
    pub fn n_named(&self) -> u64 {
        self.devices.values().sum()
    }

    /// How many devices were owed the event: known when every task has found all its devices and
    /// said something of each.
    pub fn owed(&self) -> Option<u64> {
        let is_known = self.is_whole && self.n_finished == self.n_tasks && self.closed.is_empty();
        is_known.then(|| self.n_named())
    }

    /// Whether nothing is left to do.
    pub fn is_finished(&self) -> bool {
        self.is_whole && self.n_finished == self.n_tasks
    }

    /// Why devices were dropped, refused or unregistered: the word, the reason, and how many.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        let reasons = self.reasons.iter();
        reasons.map(|((word, reason), n)| (*word, reason.as_str(), *n))
    }
}

type Span = (Timestamp, Timestamp);

fn around(one: Option<Span>, other: Option<Span>) -> Option<Span> {
    match (one, other) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (one, other) => one.or(other),
    }
}
