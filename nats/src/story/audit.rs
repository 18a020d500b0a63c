//! One event against its receipts: what was owed, what became of it, and what does not add up.
//!
//! Receipts come in the order of the stream and are folded one by one, so that an event for a
//! million devices needs about a hundred bytes for each and nothing for its receipts.

mod finding;
mod word;

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

pub use self::finding::{Finding, What};
use self::word::{Debt, Word, rest, settled, word};
use super::census::Census;
use super::sums::Sums;
use super::task::{TaskStory, has_passed};
use crate::hash::DeviceHash;
use crate::level::Level;
use crate::plan::{Lane, Plan};
use crate::receipt::{Line, Mark, Receipt};

/// So many findings of one event are kept with their devices; all are counted.
const MAX_FINDINGS: usize = 20;

/// What is still open so long after the expiry does not come to an end by itself.
const OVERDUE: SignedDuration = SignedDuration::from_hours(1);

/// An event that was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The sums.
    pub sums: Sums,
    /// Documents that were judged.
    pub n_judged: u64,
    /// Documents that changed since the plan and were not.
    pub n_changed: u64,
    /// What does not add up, the first few of each event.
    pub findings: Vec<Finding>,
    /// Tasks of the plan, and how many are finished.
    pub n_tasks: u64,
    /// Of these, finished.
    pub n_finished: u64,
    /// Whether something is open that should have ended long ago.
    pub is_overdue: bool,
}

impl Judged {
    /// Whether nothing speaks against the promise.
    pub fn adds_up(&self) -> bool {
        self.sums.adds_up() && !self.is_overdue && !self.repeats_too_much()
    }

    /// Whether the receipts hold more repeats than changes of hands explain.
    pub fn repeats_too_much(&self) -> bool {
        self.sums.repeated > self.sums.repeats_bound
    }
}

/// An event being judged.
#[derive(Debug)]
pub struct Audit<'a> {
    census: &'a Census,
    plan: &'a Plan,
    window: u64,
    debts: Vec<Debt>,
    tasks: HashMap<(Lane, u32), TaskStory>,
    n_judged: u64,
    n_changed: u64,
    sums: Sums,
    findings: Vec<Finding>,
    /// Acceptances of devices that are not judged.
    others: HashMap<DeviceHash, u32>,
}

impl<'a> Audit<'a> {
    /// Begins with whom the event was owed to. `window` is `W`, the most sends of one process
    /// without a recorded outcome.
    pub fn new(census: &'a Census, event: &crate::Event, plan: &'a Plan, window: u64) -> Self {
        let owed = census.debts(event, plan.revision);
        let mut debts: Vec<Debt> = owed
            .owed
            .iter()
            .map(|it| Debt {
                app: it.app,
                hash: it.hash,
                place: it.place,
                is_shared: it.is_shared,
                word: Word::None,
                n_accepted: 0,
            })
            .collect();
        debts.sort_unstable_by_key(|it| (it.app, it.hash));
        let mut audit = Self {
            census,
            plan,
            window,
            tasks: HashMap::new(),
            n_judged: owed.n_judged,
            n_changed: owed.n_changed,
            sums: Sums::default(),
            findings: Vec::new(),
            others: HashMap::new(),
            debts,
        };
        for task in plan.tasks() {
            let range = match audit.app(&task.lane) {
                Some(app) => {
                    let begin = audit.position(app, task.range.first());
                    let end = audit
                        .debts
                        .partition_point(|it| (it.app, it.hash) <= (app, task.range.last()));
                    begin..end
                }
                None => 0..0,
            };
            let story = TaskStory::new(task.lane.clone(), task.range, range, owed.n_changed);
            audit.tasks.insert((task.lane, task.range.index()), story);
        }
        audit
    }

    fn app(&self, lane: &Lane) -> Option<u16> {
        let place = self.census.apps().iter().position(|it| *it == lane.app)?;
        u16::try_from(place).ok()
    }

    fn position(&self, app: u16, hash: DeviceHash) -> usize {
        self.debts
            .partition_point(|it| (it.app, it.hash) < (app, hash))
    }

    /// Takes the next receipt of a task in.
    pub fn receipt(&mut self, lane: &Lane, n: u32, mut receipt: Receipt) {
        let Some(mut task) = self.tasks.remove(&(lane.clone(), n)) else {
            return; // Of no task of this plan: nobody can have written it.
        };
        task.hand_over(&receipt, self.window);
        let app = self.app(lane);
        for line in std::mem::take(&mut receipt.lines) {
            self.line(&mut task, app, &line);
        }
        let was_closed = task.last.as_ref().is_some_and(|it| it.rest.is_some());
        if was_closed && receipt.rest.is_none() {
            self.reopen(&mut task);
        }
        self.advance(&mut task, &receipt);
        task.last = Some(receipt);
        self.tasks.insert((lane.clone(), n), task);
    }

    fn line(&mut self, task: &mut TaskStory, app: Option<u16>, line: &Line) {
        let at = app.map(|app| self.position(app, line.device));
        let debt = at.and_then(|at| self.debts.get_mut(at));
        let debt = debt.filter(|it| Some(it.app) == app && it.hash == line.device);
        let Some(debt) = debt else {
            if line.mark == Mark::Accepted {
                self.accepted_of_no_debt(task, line.device);
            }
            return;
        };
        let was_done = debt.word.is_done();
        match (was_done, line.mark.is_done()) {
            (false, true) => task.n_done += 1,
            (true, false) => task.n_done = task.n_done.saturating_sub(1), // A replay.
            (true, true) | (false, false) => {}
        }
        if line.mark == Mark::Accepted {
            self.sums.repeated += u64::from(debt.n_accepted > 0);
            debt.n_accepted += 1;
        }
        if debt.n_accepted == 0 || line.mark == Mark::Accepted {
            debt.word = word(line, self.plan.expires_at);
        }
    }

    /// Judged and not owed is unasked for; of anybody else nothing can be said.
    fn accepted_of_no_debt(&mut self, task: &TaskStory, device: DeviceHash) {
        let is_judged = self
            .census
            .revision(device)
            .is_some_and(|it| it <= self.plan.revision);
        if is_judged {
            self.sums.unasked += 1;
            self.find(What::Unasked, device, Some(task));
            return;
        }
        let n = self.others.entry(device).or_default();
        *n += 1;
        self.sums.repeated += u64::from(*n > 1);
        self.sums.not_judged_accepted += u64::from(*n == 1);
    }

    /// A replay takes back what a task was closed with.
    fn reopen(&mut self, task: &mut TaskStory) {
        task.cursor = task.debts.start;
        for debt in self.debts.get_mut(task.debts.clone()).unwrap_or_default() {
            if matches!(debt.word, Word::Rest(_)) {
                debt.word = Word::None;
                task.n_done = task.n_done.saturating_sub(1);
            }
        }
    }

    /// Follows the walk: whoever is behind it has had a word said, or never will.
    fn advance(&mut self, task: &mut TaskStory, receipt: &Receipt) {
        let ended_by = receipt.rest;
        let before = task.last.as_ref();
        let slice = task.cursor..task.debts.end;
        for debt in self.debts.get_mut(slice).unwrap_or_default() {
            if ended_by.is_none() && !has_passed(receipt, debt.hash) {
                break;
            }
            task.cursor += 1;
            if debt.word != Word::None || receipt.intended.contains(&debt.hash) {
                continue;
            }
            let was_marked = before.is_some_and(|it| it.is_marked(debt.hash));
            debt.word = match ended_by {
                Some(mark) if !was_marked => {
                    task.n_done += 1;
                    rest(mark, receipt.at, self.plan.expires_at)
                }
                // The last receipt of a task says no more where the walk stood.
                Some(_) | None if receipt.low.is_none() => Word::None,
                Some(_) | None => Word::Passed,
            };
        }
    }

    /// The judgement. `levels` are those that are stored for the event's item.
    pub fn finish(mut self, level: &Level, levels: &[Level], now: Timestamp) -> Judged {
        let has_higher = levels.iter().any(|it| it.is_higher_than(level));
        let tasks = std::mem::take(&mut self.tasks);
        let mut held = vec![false; self.debts.len()];
        for task in tasks.values() {
            self.sums.take_overs += task.take_overs;
            self.sums.repeats_bound += task.repeats_bound;
            for at in task.debts.clone() {
                if let (Some(debt), Some(held)) = (self.debts.get(at).copied(), held.get_mut(at)) {
                    *held = true;
                    self.settle(debt, Some(task), has_higher);
                }
            }
        }
        for (at, is_held) in held.into_iter().enumerate() {
            if let (false, Some(debt)) = (is_held, self.debts.get(at).copied()) {
                self.settle(debt, None, has_higher);
            }
        }
        let n_finished = tasks.values().filter(|it| it.is_finished()).count();
        let n_open = tasks.len() - n_finished;
        let is_late = now.duration_since(self.plan.expires_at) > OVERDUE;
        let is_overdue = is_late && (n_open > 0 || self.sums.pending > 0);
        if is_overdue {
            let open = tasks.values().find(|it| !it.is_finished());
            self.find(What::Overdue, DeviceHash(0), open);
        }
        self.find_repeats(tasks.values());
        self.findings.sort_by_key(|it| it.what);
        Judged {
            sums: self.sums,
            n_judged: self.n_judged,
            n_changed: self.n_changed,
            findings: self.findings,
            n_tasks: u64::try_from(tasks.len()).unwrap_or(u64::MAX),
            n_finished: u64::try_from(n_finished).unwrap_or(u64::MAX),
            is_overdue,
        }
    }

    fn find_repeats<'b>(&mut self, tasks: impl Iterator<Item = &'b TaskStory>) {
        if self.sums.repeated <= self.sums.repeats_bound {
            return;
        }
        for task in tasks {
            let debts = self.debts.get(task.debts.clone()).unwrap_or_default();
            let repeated = debts.iter().filter(|it| it.n_accepted > 1);
            let devices: Vec<DeviceHash> = repeated.take(MAX_FINDINGS).map(|it| it.hash).collect();
            for device in devices {
                self.find(What::Repeated, device, Some(task));
            }
        }
    }

    /// Puts one debt into the part of the sums that it belongs to.
    fn settle(&mut self, debt: Debt, task: Option<&TaskStory>, has_higher: bool) {
        let verdict = match task {
            None => Err(What::NoTask),
            Some(task) => settled(debt, task, has_higher),
        };
        // Of two documents with one token nobody knows any more whose it was then.
        if verdict.is_err() && debt.is_shared {
            self.n_changed += 1;
            return;
        }
        self.sums.owed += 1;
        let part = match verdict {
            Ok(Some(Mark::Accepted)) => &mut self.sums.accepted,
            Ok(Some(Mark::Unregistered)) => &mut self.sums.unregistered,
            Ok(Some(Mark::Refused)) => &mut self.sums.refused,
            Ok(Some(Mark::Expired)) => &mut self.sums.expired,
            Ok(Some(Mark::Superseded)) => &mut self.sums.superseded,
            Ok(Some(Mark::Dropped)) => &mut self.sums.dropped,
            Ok(Some(Mark::Unclear)) => &mut self.sums.unclear,
            Ok(Some(Mark::Dead)) => &mut self.sums.poison,
            Ok(Some(Mark::Later) | None) => &mut self.sums.pending,
            Err(What::Lost) => &mut self.sums.lost,
            Err(_) => &mut self.sums.suppressed,
        };
        *part += 1;
        if let Err(what) = verdict {
            self.find(what, debt.hash, task);
        }
    }

    fn find(&mut self, what: What, device: DeviceHash, task: Option<&TaskStory>) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let place = self.census.place(device);
        let device = match (what, place) {
            (What::Overdue, _) => String::new(),
            (_, Some(place)) => self.census.id(place).to_owned(),
            (_, None) => device.to_string(),
        };
        let task = task.map_or_else(String::new, |it| {
            format!("{} {}", it.lane, it.range.index())
        });
        self.findings.push(Finding { what, device, task });
    }

    /// Devices that the event was owed to, with what a provider's ledger is compared by: their
    /// place in the census, and whether the receipts say accepted.
    pub fn owed(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        self.debts.iter().map(|it| (it.place, it.n_accepted > 0))
    }
}
