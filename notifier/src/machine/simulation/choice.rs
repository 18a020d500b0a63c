//! What may happen next in a world.

use std::time::Duration;

use fanfare_nats::DeviceHash;

use super::broker::{Body, Delivery, TaskId};
use super::process::{Job, PlanStep, Reply, TaskJob, Worker};
use super::setup::Setup;
use super::world::World;
use crate::machine::{Effect, Settle};

/// A worker: its process and its place there.
pub(super) type At = (usize, usize);

/// One thing that may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A process takes a message.
    Take(usize, Body),
    /// Nobody extends a message: it comes again.
    Lapse(Body),
    /// An effect reaches the broker, and its answer the worker. That the answer is lost, or the
    /// worker, is a fault of its own.
    Carry(At, usize),
    /// The provider's answer reaches the worker.
    Answer(At, usize, Reply),
    /// A planner goes on.
    Plan(At),
    Fire(TaskId, u32),
    /// The clock goes on to a machine's deadline.
    Tick(Duration),
    Thaw(usize),
    Drain(usize),
    /// Faults. What was in flight arrived, or not.
    Kill(usize, bool),
    Freeze(usize),
    /// A message comes again although its worker lives; the worker's clock went on, or not.
    Overdue(Body, bool),
    /// The same, and nobody's time is up: another leader of the durable knows of no delivery.
    Early(Body),
    /// An append is not answered; it is stored, or not.
    LoseAppend(At, usize, bool),
    LoseAck(At, usize),
    StaleRead(At, usize),
    /// A single server restarts hard; acknowledgements of the last moment are forgotten, or not.
    Restart(bool),
}

/// What may happen without a fault.
pub(super) fn choices(world: &World) -> Vec<Choice> {
    let mut found = Vec::new();
    let setup = &world.setup;
    for (body, message) in &world.broker.messages {
        match message.state {
            Delivery::Waiting => takers(world, *body, &mut found),
            Delivery::Out(holder) if is_gone(world, holder) => found.push(Choice::Lapse(*body)),
            Delivery::Out(_) | Delivery::Settled => {}
        }
    }
    for (task, pass) in &world.broker.schedules {
        found.push(Choice::Fire(*task, *pass));
    }
    for (p, process) in world.processes.iter().enumerate() {
        if process.is_frozen {
            found.push(Choice::Thaw(p));
            continue;
        }
        for (w, worker) in process.workers.iter().enumerate() {
            match &worker.job {
                Job::Plan(_, PlanStep::Done) => {}
                Job::Plan(..) => found.push(Choice::Plan((p, w))),
                Job::Task(job) => of_task(world, (p, w), job, &mut found),
            }
        }
    }
    if setup.is_wild && found.iter().all(|it| matches!(it, Choice::Thaw(_))) {
        found.extend(tick(world));
    }
    found
}

fn takers(world: &World, body: Body, found: &mut Vec<Choice>) {
    if matches!(body, Body::Task(..)) && !world.setup.sends {
        return;
    }
    for (p, process) in world.processes.iter().enumerate() {
        let is_free = process.workers.len() < world.setup.places;
        if is_free && !process.is_frozen && !process.is_draining {
            found.push(Choice::Take(p, body));
        }
    }
}

fn is_gone(world: &World, holder: Option<u32>) -> bool {
    let Some(holder) = holder else { return true };
    let mut living = world.processes.iter().filter(|it| !it.is_frozen);
    !living.any(|it| it.workers.iter().any(|it| it.id == holder))
}

fn of_task(world: &World, at: At, job: &TaskJob, found: &mut Vec<Choice>) {
    found.extend((0..job.under_way.len()).map(|i| Choice::Carry(at, i)));
    for (i, (device, attempts)) in job.in_flight.iter().enumerate() {
        let usual = usual(&world.setup, (*device, *attempts));
        found.push(Choice::Answer(at, i, usual));
    }
}

pub(super) fn usual(setup: &Setup, (device, attempts): (DeviceHash, u32)) -> Reply {
    if setup.waits.contains(&device) && attempts == 0 {
        Reply::Later
    } else {
        Reply::Accepted
    }
}

/// The next deadline of all machines, for worlds whose clock goes on.
pub(super) fn tick(world: &World) -> Option<Choice> {
    let deadlines = world.processes.iter().enumerate().flat_map(|(p, process)| {
        let ahead = world.at(p).mono.saturating_sub(world.clock);
        process.workers.iter().filter_map(move |it| match &it.job {
            Job::Task(job) => job.machine.deadline()?.checked_sub(ahead),
            Job::Plan(..) => None,
        })
    });
    let next = deadlines.filter(|it| *it > world.clock).min()?;
    Some(Choice::Tick(next))
}

/// What may go wrong.
pub(super) fn faults(world: &World) -> Vec<Choice> {
    let mut found = Vec::new();
    if world.faults_left == 0 {
        return found;
    }
    for (p, process) in world.processes.iter().enumerate() {
        if process.workers.is_empty() {
            continue;
        }
        let is_flying = |it: &Worker| match &it.job {
            Job::Task(job) => !job.in_flight.is_empty(),
            Job::Plan(..) => false,
        };
        found.push(Choice::Kill(p, false));
        if process.workers.iter().any(is_flying) {
            found.push(Choice::Kill(p, true));
        }
        if world.setup.is_wild && !process.is_frozen {
            found.push(Choice::Freeze(p));
        }
        if process.is_frozen {
            continue;
        }
        for (w, worker) in process.workers.iter().enumerate() {
            if let Job::Task(job) = &worker.job {
                on_the_way(world, (p, w), job, &mut found);
            }
        }
    }
    let mut was_delivered = false;
    for (body, message) in &world.broker.messages {
        was_delivered |= message.delivered > 0;
        if let Delivery::Out(holder) = message.state
            && !is_gone(world, holder)
        {
            found.push(Choice::Overdue(*body, false));
            found.push(Choice::Overdue(*body, true));
            if world.setup.clocks_agree {
                found.push(Choice::Early(*body));
            }
        }
    }
    if was_delivered {
        found.push(Choice::Restart(false));
        found.push(Choice::Restart(true));
    }
    found
}

/// What may go wrong with a worker's effects on their way to the broker.
fn on_the_way(world: &World, at: At, job: &TaskJob, found: &mut Vec<Choice>) {
    for (i, effect) in job.under_way.iter().enumerate() {
        match effect {
            Effect::Append { .. } => {
                found.push(Choice::LoseAppend(at, i, false));
                found.push(Choice::LoseAppend(at, i, true));
            }
            Effect::Settle(Settle::Ack) => found.push(Choice::LoseAck(at, i)),
            Effect::ReadReceipts if world.broker.older.contains_key(&job.task) => {
                found.push(Choice::StaleRead(at, i));
            }
            Effect::Load
            | Effect::ReadReceipts
            | Effect::RunAlone
            | Effect::Look
            | Effect::AwaitIndex
            | Effect::Walk { .. }
            | Effect::Send { .. }
            | Effect::Bury { .. }
            | Effect::WakeUp { .. }
            | Effect::Settle(_) => {}
        }
    }
}
