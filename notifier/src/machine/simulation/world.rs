//! The simulated world as a value, and what happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use fanfare_nats::receipt::{Claim, Mark, Receipt};
use fanfare_nats::{DeviceHash, Lane};
use jiff::Timestamp;

use super::Invariant;
use super::broker::{Body, Broker, Delivery, TaskId};
use super::process::{Credits, Job, PlanStep, Process, TaskJob, Worker};
use super::setup::{Setup, event_id};
use crate::machine::{
    At, Effect, Facts, Input, PlanMachine, PlanStart, Rules, Settle, Start, TaskMachine,
};

/// How long the broker waits for a sign.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) setup: Rc<Setup>,
    pub(super) broker: Broker,
    pub(super) processes: Vec<Process>,
    /// Pushes that arrived, by event and device.
    pub(super) ledger: BTreeMap<(usize, DeviceHash), u32>,
    /// What receipts say is through.
    pub(super) marks: BTreeMap<(usize, DeviceHash), Mark>,
    pub(super) faults_left: u32,
    /// Repeats, or losses under at most once, that the faults so far may have brought about.
    pub(super) allowed: u32,
    pub(super) clock: Duration,
    /// Messages whose time ran out although their workers live, up to the next receipt.
    pub(super) overdue: BTreeSet<Body>,
    pub(super) broken: Option<Invariant>,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let mut world = Self {
            broker: Broker::default(),
            processes: (0..setup.n_processes)
                .map(|_| Process {
                    credits: Credits {
                        size: setup.window,
                        taken: 0,
                    },
                    workers: Vec::new(),
                    is_frozen: false,
                    is_draining: false,
                    jumps: 0,
                })
                .collect(),
            ledger: BTreeMap::new(),
            marks: BTreeMap::new(),
            faults_left: setup.faults,
            allowed: 0,
            clock: Duration::ZERO,
            overdue: BTreeSet::new(),
            broken: None,
            setup: Rc::new(setup),
        };
        for event in 0..world.setup.n_events {
            if world.setup.is_planned {
                let task = TaskId {
                    event,
                    range: (0, 0),
                };
                world.broker.publish(Body::Task(task, 1, 1));
            } else {
                world.broker.publish(Body::Event(event));
            }
        }
        world
    }

    pub(super) fn rules(&self) -> Rules {
        Rules {
            broken: self.setup.mutant,
        }
    }

    pub(super) fn breaks(&mut self, invariant: Invariant) {
        if self.setup.watches.is_none_or(|it| it == invariant) {
            self.broken.get_or_insert(invariant);
        }
    }

    /// The moment as a process sees it. Freezes in the small world are jumps of its clock. Whatever is
    /// recorded was written long ago, unless [`World::at_work`] says otherwise.
    pub(super) fn at(&self, process: usize) -> At {
        At {
            mono: self.clock + ACK_WAIT * self.processes[process].jumps,
            wall: Timestamp::UNIX_EPOCH + ACK_WAIT,
            is_fresh: true,
        }
    }

    /// A process takes a message.
    pub(super) fn take(&mut self, process: usize, body: Body) {
        let id = self.fresh_worker();
        let nonce = self.fresh_nonce();
        let at = self.at(process);
        let message = self.broker.messages.get_mut(&body).unwrap();
        message.delivered += 1;
        message.state = Delivery::Out(Some(id));
        let delivered = message.delivered;
        let job = match body {
            Body::Event(event) => Job::Plan(Box::new(self.planner(event)), PlanStep::Done),
            Body::Task(task, pass, number) => {
                let start = Start {
                    claim: Claim {
                        epoch: 1,
                        pass,
                        message: u64::from(pass) * 100 + number,
                        delivered,
                        nonce,
                    },
                    node: "".into(),
                    expires_at: Timestamp::MAX,
                    ack_wait: ACK_WAIT,
                    stride: self.setup.stride,
                    stride_after: Duration::from_millis(100),
                    rules: self.rules(),
                };
                Job::Task(Box::new(TaskJob {
                    task,
                    machine: TaskMachine::new(start, &at),
                    under_way: Vec::new(),
                    in_flight: Vec::new(),
                }))
            }
        };
        self.processes[process]
            .workers
            .push(Worker { id, body, job });
        let worker = self.processes[process].workers.len() - 1;
        self.poll(process, worker);
    }

    fn planner(&self, event: usize) -> PlanMachine {
        PlanMachine::new(PlanStart {
            event: event_id(event),
            event_seq: u64::try_from(event).unwrap(),
            expires_at: Timestamp::MAX,
            has_levels: false,
            // Each event's plan goes another way.
            singles_up_to: if event.is_multiple_of(2) { 10 } else { 0 },
            rules: self.rules(),
        })
    }

    /// The smallest number that no living worker has.
    fn fresh_worker(&self) -> u32 {
        let ids: BTreeSet<u32> = self.workers().map(|it| it.id).collect();
        (1..=u32::MAX).find(|it| !ids.contains(it)).unwrap()
    }

    /// The smallest number that stands in no claim: recorded, living, or on its way. Small numbers
    /// make worlds equal that differ in their past only.
    fn fresh_nonce(&self) -> u64 {
        let mut used: BTreeSet<u64> = BTreeSet::new();
        let recorded = self
            .broker
            .receipts
            .values()
            .chain(self.broker.older.values());
        used.extend(recorded.map(|(_, it)| it.claim.nonce));
        used.extend(self.tasks().map(|it| it.machine.start.claim.nonce));
        (1..=u64::MAX).find(|it| !used.contains(it)).unwrap()
    }

    /// The smallest sequence that nobody knows; only whether two are equal matters.
    fn fresh_seq(&self) -> u64 {
        let mut used: BTreeSet<u64> = BTreeSet::new();
        let recorded = self
            .broker
            .receipts
            .values()
            .chain(self.broker.older.values());
        used.extend(recorded.map(|(seq, _)| *seq));
        for job in self.tasks() {
            used.insert(job.machine.last);
            for it in &job.under_way {
                if let Effect::Append { after, .. } = it {
                    used.insert(*after);
                }
            }
        }
        (1..=u64::MAX).find(|it| !used.contains(it)).unwrap()
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.processes.iter().flat_map(|it| &it.workers)
    }

    fn tasks(&self) -> impl Iterator<Item = &TaskJob> {
        self.workers().filter_map(|it| match &it.job {
            Job::Task(job) => Some(&**job),
            Job::Plan(..) => None,
        })
    }

    /// Has a worker do what it can without the broker or the provider.
    pub(super) fn poll(&mut self, process: usize, worker: usize) {
        let at = self.at(process);
        let setup = self.setup.clone();
        let is_draining = self.processes[process].is_draining;
        let Process {
            credits, workers, ..
        } = &mut self.processes[process];
        let Some(worker) = workers.get_mut(worker) else {
            return;
        };
        match &mut worker.job {
            Job::Plan(machine, step) => {
                if let Some(effect) = machine.poll(at.wall) {
                    *step = PlanStep::Asked(effect);
                }
            }
            Job::Task(job) => {
                if is_draining {
                    job.machine.on(Input::Stop, &at, credits);
                }
                while let Some(effect) = job.machine.poll(&at, credits) {
                    match effect {
                        Effect::Walk { from } => {
                            let task = job.task;
                            let next = setup.devices().filter(|it| task.has(*it) && *it >= from);
                            let steps = next.map(fanfare_nats::index::Step::to).take(3).collect();
                            let walked = Input::Walked(steps);
                            job.machine.on(walked, &at, credits);
                        }
                        Effect::Send { step, attempts, .. } => {
                            job.in_flight.push((step.device, attempts));
                        }
                        Effect::AwaitIndex => {
                            let ready = Input::IndexReady;
                            job.machine.on(ready, &at, credits);
                        }
                        Effect::RunAlone => {
                            let alone = Input::Alone(true);
                            job.machine.on(alone, &at, credits);
                        }
                        Effect::Load => {
                            let facts = Facts {
                                has_levels: false,
                                is_at_most_once: setup.is_at_most_once,
                            };
                            let event = Input::Event(Ok(Some(facts)));
                            job.machine.on(event, &at, credits);
                        }
                        Effect::ReadReceipts
                        | Effect::Look
                        | Effect::Append { .. }
                        | Effect::Bury { .. }
                        | Effect::WakeUp { .. }
                        | Effect::Settle(_) => job.under_way.push(effect),
                    }
                }
                job.in_flight.sort_unstable();
            }
        }
    }

    /// A receipt is appended; whether it was.
    pub(super) fn append(&mut self, task: TaskId, receipt: &Receipt, after: u64) -> Option<u64> {
        let before = self.broker.receipts.get(&task).cloned();
        let last = before.as_ref().map_or(0, |(seq, _)| *seq);
        if after != last && after != crate::machine::mutant::WHICHEVER {
            return None;
        }
        let seq = self.fresh_seq();
        if let Some((_, before)) = &before {
            self.check_follows(before, receipt);
        }
        if receipt.rest == Some(Mark::Dead) {
            self.breaks(Invariant::NothingPoisonedByFaults);
        }
        for line in &receipt.lines {
            if !line.mark.is_done() {
                continue;
            }
            let key = (task.event, line.device);
            if line.mark == Mark::Accepted && !self.ledger.contains_key(&key) {
                self.breaks(Invariant::RecordsAreTrue);
            }
            self.marks.insert(key, line.mark);
        }
        let mut kept = receipt.clone();
        kept.lines.clear();
        kept.at = Timestamp::UNIX_EPOCH;
        if let Some(before) = before {
            self.broker.older.insert(task, before);
        }
        self.broker.receipts.insert(task, (seq, kept));
        let of_others = |it: &Body| !matches!(it, Body::Task(of, ..) if *of == task);
        self.overdue.retain(of_others);
        Some(seq)
    }

    /// Pushes that arrived once more.
    pub(super) fn repeats(&self) -> u32 {
        self.ledger.values().map(|it| it - 1).sum()
    }

    /// A push arrives.
    pub(super) fn deliver(&mut self, event: usize, device: DeviceHash) {
        *self.ledger.entry((event, device)).or_default() += 1;
        let repeats = self.repeats();
        if self.setup.is_at_most_once {
            if repeats > 0 {
                self.breaks(Invariant::AtMostOnceNeverTwice);
            }
        } else if repeats > self.allowed {
            self.breaks(Invariant::RepeatsWithinWindow);
        }
    }

    /// The worker whose receipt whoever reads it now finds young: one that lives writes the next in
    /// time. Where it does not, its message is overdue.
    pub(super) fn at_work(&self, body: Body, receipt: &Receipt) -> Option<u32> {
        if !self.setup.clocks_agree || self.overdue.contains(&body) {
            return None;
        }
        let living = self.processes.iter().filter(|it| !it.is_frozen);
        let mut workers = living.flat_map(|it| &it.workers);
        let of_claim = workers.find(|it| match &it.job {
            Job::Task(job) => job.machine.start.claim == receipt.claim,
            Job::Plan(..) => false,
        });
        of_claim.map(|it| it.id)
    }

    /// A worker hands a message back. If another one is at work, that one's next sign counts.
    fn handed_back(&mut self, body: Body, by: u32) {
        let recorded = match body {
            Body::Task(task, ..) => self.broker.receipts.get(&task),
            Body::Event(_) => None,
        };
        let other = recorded.and_then(|(_, receipt)| self.at_work(body, receipt));
        match other.filter(|it| *it != by) {
            Some(other) => self.broker.extend(body, other),
            None => self.broker.hand_back(body),
        }
    }

    /// A message is settled by a worker.
    pub(super) fn settle(&mut self, body: Body, settle: Settle, by: u32) {
        match settle {
            Settle::Ack | Settle::Terminate => {
                self.broker.settle(body);
                if let Body::Event(event) = body {
                    self.check_plan(event);
                }
            }
            Settle::Back(_) => self.handed_back(body, by),
            Settle::Forget | Settle::Refused | Settle::StepAside => {}
        }
    }

    /// A task is stored.
    pub(super) fn store_task(&mut self, task: TaskId) {
        self.broker.publish(Body::Task(task, 1, 1));
        let plan = self.broker.plans.get(&task.event);
        let belongs = plan.is_some_and(|plan| {
            let mut tasks = plan.tasks();
            tasks.any(|it| task_id(task.event, it.range) == task)
        });
        if !belongs {
            self.breaks(Invariant::OneCutPerEvent);
        }
    }
}

/// What a planner counts. Whoever plans later counts another audience, and would cut it otherwise.
pub(super) fn audience(process: usize) -> BTreeMap<Lane, u64> {
    let n = if process == 0 { 600 } else { 400 };
    BTreeMap::from([(super::setup::lane(), n)])
}

pub(super) fn task_id(event: usize, range: fanfare_nats::HashRange) -> TaskId {
    TaskId {
        event,
        range: (range.index(), range.log2_n()),
    }
}
