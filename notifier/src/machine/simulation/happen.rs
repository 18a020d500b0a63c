//! What happens in a world when something is let happen.

use std::time::Duration;

use fanfare_nats::batch::Way;
use jiff::Timestamp;

use super::Invariant;
use super::broker::{Body, Delivery};
use super::choice::{At, Choice, usual};
use super::process::{Job, PlanStep, Process, Reply, TaskJob, Worker};
use super::world::{World, task_id};
use crate::machine::{Appended, Came, Effect, Ended, Input, PlanEffect, PlanInput, Planned};

impl World {
    /// Lets something happen.
    pub(super) fn apply(&mut self, choice: &Choice) {
        let window = u32::try_from(self.setup.window).unwrap();
        match choice {
            Choice::Take(p, body) => self.take(*p, *body),
            Choice::Lapse(body) => self.redeliver(*body),
            Choice::Carry(at, i) => self.carry(*at, *i),
            Choice::Answer(at, i, reply) => self.answer(*at, *i, *reply),
            Choice::Plan(at) => self.plan(*at),
            Choice::Fire(task, pass) => self.broker.fire(*task, *pass),
            Choice::Tick(to) => {
                self.clock = *to;
                self.poll_all();
            }
            Choice::Thaw(p) => {
                self.processes[*p].is_frozen = false;
                self.processes[*p].jumps += 1;
                self.poll_process(*p);
            }
            Choice::Drain(p) => {
                self.processes[*p].is_draining = true;
                self.poll_process(*p);
            }
            Choice::Kill(p, arrived) => self.kill(*p, *arrived),
            Choice::Freeze(p) => {
                self.fault(window);
                self.processes[*p].is_frozen = true;
                let held = self.processes[*p].workers.iter().map(|it| it.body);
                self.overdue.extend(held);
            }
            Choice::Overdue(body, jump) => self.overdue(*body, *jump),
            Choice::Early(body) => {
                self.fault(0);
                self.redeliver(*body);
            }
            Choice::LoseAppend(at, i, stored) => self.lose_append(*at, *i, *stored),
            Choice::LoseAck(at, i) => {
                self.fault(0);
                self.job(*at).under_way.remove(*i);
                self.tidy(at.0);
            }
            Choice::StaleRead(at, i) => {
                self.fault(0);
                let task = self.job(*at).task;
                let older = self.broker.older.get(&task).cloned();
                self.job(*at).under_way.remove(*i);
                self.receipts_read(*at, older);
            }
            Choice::Restart(forgets) => {
                let n_held = u32::try_from(self.n_held()).unwrap();
                self.fault(window * n_held);
                self.broker.restart(*forgets);
            }
        }
        if self.faults_left == 0 {
            self.broker.older.clear(); // Nobody will read it.
        }
    }

    fn fault(&mut self, allowed: u32) {
        self.faults_left -= 1;
        self.allowed += allowed;
    }

    /// Tasks in somebody's hands: the count of each may fall, and whoever gets it next fence them, at
    /// a time of its own.
    fn n_held(&self) -> usize {
        let messages = &self.broker.messages;
        let holds = |it: &&Worker| {
            let state = messages.get(&it.body).map(|it| it.state);
            matches!(it.job, Job::Task(_)) && state == Some(Delivery::Out(Some(it.id)))
        };
        self.workers().filter(holds).count()
    }

    fn redeliver(&mut self, body: Body) {
        self.broker.messages.get_mut(&body).unwrap().state = Delivery::Waiting;
    }

    fn job(&mut self, (p, w): At) -> &mut TaskJob {
        match &mut self.processes[p].workers[w].job {
            Job::Task(job) => job,
            Job::Plan(..) => unreachable!("it is a task's worker"),
        }
    }

    fn poll_all(&mut self) {
        for p in 0..self.processes.len() {
            self.poll_process(p);
        }
    }

    /// Whatever happened to one worker, another one of its process may go on: credits are shared.
    fn poll_process(&mut self, p: usize) {
        if !self.processes[p].is_frozen {
            for w in 0..self.processes[p].workers.len() {
                self.poll(p, w);
            }
        }
        self.tidy(p);
    }

    /// Workers that are through are gone; a process that has drained is started anew.
    fn tidy(&mut self, p: usize) {
        let process = &mut self.processes[p];
        let is_through = |job: &Job| match job {
            Job::Plan(_, step) => *step == PlanStep::Done,
            Job::Task(job) => job.machine.is_done() && job.under_way.is_empty(),
        };
        let gone = process.workers.iter().filter(|it| is_through(&it.job));
        let gone: Vec<u32> = gone.map(|it| it.id).collect();
        process.workers.retain(|it| !gone.contains(&it.id));
        process.is_draining &= !process.workers.is_empty();
        for id in gone {
            self.broker.forget(id);
        }
    }

    fn on(&mut self, at: At, input: Input) {
        let is_lost = matches!(input, Input::Appended(Appended::Fenced | Appended::Unknown));
        let mut moment = self.at(at.0);
        if let Input::Receipts(Ok((Some(receipt), _))) = &input
            && let body = self.processes[at.0].workers[at.1].body
            && self.at_work(body, receipt).is_some()
        {
            moment.wall = receipt.at;
        }
        let process = &mut self.processes[at.0];
        if let Job::Task(job) = &mut process.workers[at.1].job {
            job.machine.on(input, &moment, &mut process.credits);
        }
        if is_lost && !self.setup.is_wild {
            // What it still hears changes nothing but the ledger.
            while !self.job(at).in_flight.is_empty() {
                let first = self.job(at).in_flight[0];
                let reply = usual(&self.setup, first);
                self.heard(at, 0, reply);
            }
        }
        self.poll_process(at.0);
    }

    fn carry(&mut self, at: At, i: usize) {
        let (body, task) = (self.processes[at.0].workers[at.1].body, self.job(at).task);
        let effect = self.job(at).under_way.remove(i);
        let answer = match effect {
            Effect::ReadReceipts => {
                let recorded = self.broker.receipts.get(&task).cloned();
                return self.receipts_read(at, recorded);
            }
            Effect::Append { receipt, after } => {
                let seq = self.append(task, &receipt, after);
                Input::Appended(seq.map_or(Appended::Fenced, Appended::Stored))
            }
            Effect::WakeUp { pass, .. } => {
                self.broker.schedules.insert((task, pass));
                Input::WokenUp(true)
            }
            Effect::Bury { .. } => {
                self.breaks(Invariant::NothingPoisonedByFaults);
                Input::Buried(true)
            }
            Effect::Settle(settle) => {
                let by = self.processes[at.0].workers[at.1].id;
                self.settle(body, settle, by);
                return self.tidy(at.0);
            }
            Effect::Load
            | Effect::RunAlone
            | Effect::Look
            | Effect::AwaitIndex
            | Effect::Walk { .. }
            | Effect::Send { .. } => return, // Done at once, by `poll`.
        };
        self.on(at, answer);
    }

    fn receipts_read(&mut self, at: At, recorded: Option<(u64, fanfare_nats::Receipt)>) {
        let read = match recorded {
            Some((seq, receipt)) => (Some(Box::new(receipt)), seq),
            None => (None, 0),
        };
        self.on(at, Input::Receipts(Ok(read)));
    }

    fn answer(&mut self, at: At, i: usize, reply: Reply) {
        self.heard(at, i, reply);
        self.poll_process(at.0);
    }

    fn heard(&mut self, at: At, i: usize, reply: Reply) {
        let event = self.job(at).task.event;
        let (device, attempts) = self.job(at).in_flight.remove(i);
        if reply == Reply::Lost && !self.setup.is_at_most_once {
            self.allowed += 1; // It is sent again: nobody can know better.
        }
        if reply.is_delivered() {
            self.deliver(event, device);
        }
        let came = match reply {
            Reply::Accepted => Came::Marked(Reply::DONE, None),
            Reply::Later => Came::Later {
                due: Timestamp::UNIX_EPOCH,
                reason: "unavailable".into(),
            },
            Reply::Lost if self.setup.is_at_most_once => {
                Came::Marked(fanfare_nats::receipt::Mark::Unclear, None)
            }
            Reply::NoTurn | Reply::Lost => Came::NoTurn,
            Reply::HandBack => Came::HandBack(Duration::from_secs(1)),
        };
        let ended = Ended {
            device,
            attempts,
            at: Timestamp::UNIX_EPOCH,
            came,
        };
        let moment = self.at(at.0);
        let process = &mut self.processes[at.0];
        if let Job::Task(job) = &mut process.workers[at.1].job {
            let ended = Input::Ended(ended);
            job.machine.on(ended, &moment, &mut process.credits);
        }
    }

    fn kill(&mut self, p: usize, arrived: bool) {
        let taken = u32::try_from(self.processes[p].credits.taken).unwrap();
        self.fault(taken);
        let process = &mut self.processes[p];
        process.credits.taken = 0;
        process.is_frozen = false;
        process.is_draining = false;
        if !self.setup.is_wild {
            process.jumps = 0;
        }
        let workers = std::mem::take(&mut process.workers);
        for worker in workers {
            self.broker.forget(worker.id);
            let Job::Task(job) = worker.job else { continue };
            for (device, attempts) in job.in_flight {
                let waits = self.setup.waits.contains(&device) && attempts == 0;
                if arrived && !waits {
                    self.deliver(job.task.event, device);
                }
            }
        }
    }

    fn overdue(&mut self, body: Body, jump: bool) {
        self.fault(u32::try_from(self.setup.window).unwrap());
        let Delivery::Out(Some(holder)) = self.broker.messages[&body].state else {
            return;
        };
        self.redeliver(body);
        self.overdue.insert(body);
        let of_holder = |it: &Process| it.workers.iter().any(|it| it.id == holder);
        let p = self.processes.iter().position(of_holder);
        if let Some(p) = p.filter(|_| jump) {
            self.processes[p].jumps += 1;
            self.poll_process(p);
        }
    }

    fn lose_append(&mut self, at: At, i: usize, stored: bool) {
        self.fault(u32::try_from(self.processes[at.0].credits.taken).unwrap());
        let task = self.job(at).task;
        if let Effect::Append { receipt, after } = self.job(at).under_way.remove(i) {
            if stored {
                self.append(task, &receipt, after);
            }
            self.on(at, Input::Appended(Appended::Unknown));
        }
    }

    fn plan(&mut self, (p, w): At) {
        let worker = &mut self.processes[p].workers[w];
        let (body, Body::Event(event)) = (worker.body, worker.body) else {
            return;
        };
        let Job::Plan(_, step) = &mut worker.job else {
            return;
        };
        let next = match std::mem::replace(step, PlanStep::Done) {
            PlanStep::Done => return,
            PlanStep::Answer(input) => {
                if let Job::Plan(machine, _) = &mut worker.job {
                    machine.on(input, Timestamp::UNIX_EPOCH);
                }
                return self.poll_process(p);
            }
            PlanStep::Asked(PlanEffect::Settle(settle)) => {
                let by = worker.id;
                self.settle(body, settle, by);
                return self.poll_process(p); // A broken machine goes on.
            }
            PlanStep::Asked(PlanEffect::Look) => PlanStep::Answer(PlanInput::Looked(None)),
            PlanStep::Asked(PlanEffect::Count) => {
                PlanStep::Answer(PlanInput::Counted(super::world::audience(p), 1))
            }
            PlanStep::Asked(PlanEffect::StorePlan(plan, way)) => {
                let found = self.broker.plans.get(&event).cloned();
                let planned = found.map_or(Planned::Ours, Planned::Found);
                if planned == Planned::Ours {
                    self.broker.plans.insert(event, plan.clone());
                    if way == Way::Together {
                        plan.tasks()
                            .for_each(|it| self.store_task(task_id(event, it.range)));
                    }
                }
                PlanStep::Answer(PlanInput::Planned(planned))
            }
            PlanStep::Asked(effect @ PlanEffect::StoreTasks(_)) => PlanStep::Tasks(effect, 0),
            PlanStep::Tasks(effect, n) => {
                let PlanEffect::StoreTasks(plan) = &effect else {
                    return;
                };
                let next = plan.tasks().nth(usize::try_from(n).unwrap());
                match next {
                    Some(it) => {
                        self.store_task(task_id(event, it.range));
                        PlanStep::Tasks(effect, n + 1)
                    }
                    None => PlanStep::Answer(PlanInput::TasksStored(true)),
                }
            }
        };
        if let Job::Plan(_, step) = &mut self.processes[p].workers[w].job {
            *step = next;
        }
    }
}
