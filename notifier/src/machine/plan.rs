//! One event in the hands of one planner: levels, barrier, count, plan, tasks, acknowledge last.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_nats::EventId;
use fanfare_nats::batch::{SINGLES_UP_TO, Way};
use fanfare_nats::plan::{Lane, Plan, cut};
use jiff::Timestamp;

use super::mutant::Mutant;
use super::{Rules, Settle, Standing};

/// An event whose plan cannot be stored is handed back for so long.
const PAUSE: Duration = Duration::from_secs(2);

/// What a planner's machine asks its driver to do; one thing at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlanEffect {
    /// Read the levels that are stored for the item: [`PlanInput::Looked`].
    Look,
    /// Begin a barrier, wait until the index has seen it, and count the audience:
    /// [`PlanInput::Counted`].
    Count,
    /// Store the plan, create-only, and its tasks with it unless they follow:
    /// [`PlanInput::Planned`].
    StorePlan(Plan, Way),
    /// Store the tasks of a stored plan; those that are there stay: [`PlanInput::TasksStored`].
    StoreTasks(Plan),
    /// Settle the message. The machine is done.
    Settle(Settle),
}

/// What a planner's machine is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PlanInput {
    /// How the level stands; `None` where that cannot be read now.
    Looked(Option<Standing>),
    /// The audience per lane, and the revision of the device bucket that senders must have reached.
    Counted(BTreeMap<Lane, u64>, u64),
    /// What became of the plan.
    Planned(Planned),
    /// Whether all tasks are known to be stored.
    TasksStored(bool),
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Planned {
    /// Ours stands.
    Ours,
    /// Another planner's stands.
    Found(Plan),
    /// It is not known, or the stream refuses.
    Unknown,
}

/// What a planner's machine is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PlanStart {
    /// Which event.
    pub(crate) event: EventId,
    /// Its stream sequence.
    pub(crate) event_seq: u64,
    /// After this nobody is told any more.
    pub(crate) expires_at: Timestamp,
    /// Whether other levels of its item can supersede it.
    pub(crate) has_levels: bool,
    /// Up to so many tasks the plan is stored first and the tasks after it; more go together.
    pub(crate) singles_up_to: u32,
    /// The rules that are kept: all, outside tests.
    pub(crate) rules: Rules,
}

#[derive(Clone, Debug, Hash)]
enum Phase {
    Judge,
    Look,
    Count,
    Store(Plan, Way),
    Tasks(Plan),
    Settle(Settle),
    Done,
}

/// One event in the hands of one planner.
#[derive(Clone, Debug, Hash)]
pub(crate) struct PlanMachine {
    start: PlanStart,
    phase: Phase,
    asked: bool,
    /// An acknowledgement out of order; mutants only.
    early_ack: bool,
}

impl PlanMachine {
    /// An event that was taken.
    pub(crate) fn new(start: PlanStart) -> Self {
        Self {
            start,
            phase: Phase::Judge,
            asked: false,
            early_ack: false,
        }
    }

    /// The next thing to do, if there is one.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<PlanEffect> {
        if std::mem::take(&mut self.early_ack) {
            return Some(PlanEffect::Settle(Settle::Ack));
        }
        if matches!(self.phase, Phase::Judge) {
            self.judge(now);
        }
        if std::mem::replace(&mut self.asked, true) {
            return None;
        }
        match &self.phase {
            Phase::Judge | Phase::Done => None,
            Phase::Look => Some(PlanEffect::Look),
            Phase::Count => Some(PlanEffect::Count),
            Phase::Store(plan, way) => Some(PlanEffect::StorePlan(plan.clone(), *way)),
            Phase::Tasks(plan) => Some(PlanEffect::StoreTasks(plan.clone())),
            Phase::Settle(settle) => {
                let settle = *settle;
                self.phase = Phase::Done;
                Some(PlanEffect::Settle(settle))
            }
        }
    }

    /// Tells the machine something.
    pub(crate) fn on(&mut self, input: PlanInput, now: Timestamp) {
        let phase = std::mem::replace(&mut self.phase, Phase::Done);
        let next = match (phase, input) {
            (Phase::Look, PlanInput::Looked(None)) => Phase::Settle(Settle::Back(Some(PAUSE))),
            (Phase::Look, PlanInput::Looked(Some(it))) if it.is_superseded => {
                Phase::Settle(Settle::Ack)
            }
            (Phase::Look, PlanInput::Looked(Some(_))) => Phase::Count,
            (Phase::Count, PlanInput::Counted(audience, revision)) => {
                self.cut(&audience, revision, now)
            }
            (Phase::Store(plan, way), PlanInput::Planned(planned)) => {
                self.planned(plan, way, planned)
            }
            (Phase::Tasks(_), PlanInput::TasksStored(true)) => Phase::Settle(Settle::Ack),
            (Phase::Tasks(_), PlanInput::TasksStored(false)) => {
                Phase::Settle(Settle::Back(Some(PAUSE)))
            }
            (phase, _) => {
                self.phase = phase; // Comes too late to matter.
                return;
            }
        };
        self.go(next);
    }

    fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.asked = false;
    }

    fn judge(&mut self, now: Timestamp) {
        self.go(if self.start.expires_at <= now {
            Phase::Settle(Settle::Ack)
        } else if self.start.has_levels {
            Phase::Look
        } else {
            Phase::Count
        });
    }

    fn cut(&self, audience: &BTreeMap<Lane, u64>, revision: u64, now: Timestamp) -> Phase {
        let plan = Plan {
            event: self.start.event.clone(),
            event_seq: self.start.event_seq,
            lanes: cut(audience),
            revision,
            expires_at: self.start.expires_at,
            planned_at: now,
        };
        let way = if plan.n_tasks() <= self.start.singles_up_to {
            Way::PlanFirst
        } else {
            Way::Together
        };
        Phase::Store(plan, way)
    }

    fn planned(&mut self, plan: Plan, way: Way, planned: Planned) -> Phase {
        match planned {
            Planned::Unknown => Phase::Settle(Settle::Back(Some(PAUSE))),
            Planned::Ours if way == Way::PlanFirst => self.with_tasks(plan),
            Planned::Found(_) if self.start.rules.breaks(Mutant::OtherCut) => self.with_tasks(plan),
            // Its tasks may be missing if it was stored first and its planner died.
            Planned::Found(found) if found.n_tasks() <= SINGLES_UP_TO => self.with_tasks(found),
            Planned::Ours | Planned::Found(_) => Phase::Settle(Settle::Ack),
        }
    }

    fn with_tasks(&mut self, plan: Plan) -> Phase {
        self.early_ack = self.start.rules.breaks(Mutant::EventAckedBeforeTasks);
        Phase::Tasks(plan)
    }
}
