//! Every order of everything, in a small world: all reachable states, each visited once.

use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::Invariant;
use super::broker::Delivery;
use super::choice::{Choice, choices, faults};
use super::process::{Job, Process};
use super::setup::Setup;
use super::world::World;

/// What an exploration came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Explored {
    pub(super) n_states: usize,
    pub(super) n_transitions: usize,
    pub(super) n_ends: usize,
    pub(super) most_repeats: u32,
    /// The first invariant that broke, and what led there.
    pub(super) broken: Option<(Invariant, Vec<Choice>)>,
}

struct Node {
    world: World,
    trace: Option<Rc<Trace>>,
}

struct Trace {
    choice: Choice,
    before: Option<Rc<Trace>>,
}

/// Which state is looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The nearest: whatever is found has the shortest story.
    Nearest,
    /// The last one found: few are kept waiting.
    Last,
}

/// Visits all states that can be reached, or as many as it takes to break an invariant.
pub(super) fn explore(setup: Setup, order: Order) -> Explored {
    let first = World::new(setup);
    let mut explored = Explored::default();
    let mut seen = HashSet::from([key(&first)]);
    let mut queue = VecDeque::from([Node {
        world: first,
        trace: None,
    }]);
    let next = |queue: &mut VecDeque<Node>| match order {
        Order::Nearest => queue.pop_front(),
        Order::Last => queue.pop_back(),
    };
    while let Some(Node { mut world, trace }) = next(&mut queue) {
        explored.n_states += 1;
        let usual = choices(&world);
        if usual.is_empty() {
            world.check_end();
            explored.n_ends += 1;
            if let Some(invariant) = world.broken {
                explored.broken = Some((invariant, told(trace)));
                return explored;
            }
        }
        for choice in usual.into_iter().chain(faults(&world)) {
            explored.n_transitions += 1;
            let mut next = world.clone();
            next.apply(&choice);
            let trace = Some(Rc::new(Trace {
                choice,
                before: trace.clone(),
            }));
            if let Some(invariant) = next.broken {
                explored.broken = Some((invariant, told(trace)));
                return explored;
            }
            explored.most_repeats = explored.most_repeats.max(next.repeats());
            if seen.insert(key(&next)) {
                queue.push_back(Node { world: next, trace });
            }
        }
    }
    explored
}

fn told(mut trace: Option<Rc<Trace>>) -> Vec<Choice> {
    let mut choices = Vec::new();
    while let Some(it) = trace {
        choices.push(it.choice.clone());
        trace = it.before.clone();
    }
    choices.reverse();
    choices
}

/// A state's number: equal for states that go on alike. Which process is which does not matter,
/// unless they plan.
fn key(world: &World) -> u128 {
    let mut hasher = Wide::default();
    for (body, message) in &world.broker.messages {
        if world.faults_left == 0 && message.state == Delivery::Settled {
            continue; // It never comes again.
        }
        body.hash(&mut hasher);
        message.delivered.hash(&mut hasher);
        std::mem::discriminant(&message.state).hash(&mut hasher);
    }
    world.broker.plans.hash(&mut hasher);
    world.broker.receipts.hash(&mut hasher);
    world.broker.older.hash(&mut hasher);
    world.broker.schedules.hash(&mut hasher);
    world.overdue.hash(&mut hasher);
    world.ledger.keys().for_each(|it| it.hash(&mut hasher));
    if world.setup.is_at_most_once {
        world.marks.hash(&mut hasher);
    }
    world.faults_left.hash(&mut hasher);
    (world.allowed - world.repeats().min(world.allowed)).hash(&mut hasher);
    let mut whole = hasher.0;
    for (p, process) in world.processes.iter().enumerate() {
        let mut hasher = Wide::default();
        if !world.setup.is_planned {
            p.hash(&mut hasher);
        }
        process_key(world, process, &mut hasher);
        whole = whole.wrapping_add(
            hasher
                .0
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        );
    }
    whole
}

fn process_key(world: &World, process: &Process, hasher: &mut Wide) {
    process.credits.hash(hasher);
    process.is_frozen.hash(hasher);
    process.jumps.hash(hasher);
    for worker in &process.workers {
        worker.body.hash(hasher);
        let holds = world.broker.messages.get(&worker.body);
        let holds = holds.is_some_and(|it| it.state == Delivery::Out(Some(worker.id)));
        holds.hash(hasher);
        match &worker.job {
            Job::Plan(machine, step) => (machine, step).hash(hasher),
            Job::Task(job) => job.hash(hasher),
        }
    }
}

/// A hash of 128 bits: among millions of states none is taken for another.
#[derive(Clone, Copy)]
struct Wide(u128);

impl Default for Wide {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Wide {
    fn add(&mut self, word: u64) {
        let mixed =
            (self.0 ^ u128::from(word)).wrapping_mul(0xda94_2042_e4dd_58b5_9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 64);
    }
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or_default()
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, it: u8) {
        self.add(u64::from(it));
    }

    fn write_u32(&mut self, it: u32) {
        self.add(u64::from(it));
    }

    fn write_u64(&mut self, it: u64) {
        self.add(it);
    }

    fn write_usize(&mut self, it: usize) {
        self.add(u64::try_from(it).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Explores, says how much that was, and finds nothing broken.
    #[track_caller]
    fn holds(what: &str, setup: Setup) -> Explored {
        let faults = setup.faults;
        let window = u32::try_from(setup.window).unwrap();
        let explored = explore(setup, Order::Last);
        println!(
            "{what}: {} states, {} transitions, {} ends, at most {} repeats",
            explored.n_states, explored.n_transitions, explored.n_ends, explored.most_repeats
        );
        if let Some((invariant, trace)) = &explored.broken {
            panic!("{invariant:?} is broken by {trace:#?}");
        }
        assert!(explored.most_repeats <= window * faults);
        explored
    }

    /// A small world: for a check in passing, or the full one in an optimized build.
    fn small() -> Setup {
        if cfg!(debug_assertions) {
            Setup::small(3, 1)
        } else {
            Setup::small(4, 2)
        }
    }

    /// Explores, and some fault repeats something.
    #[track_caller]
    fn holds_where_faults_bite(what: &str, setup: Setup) {
        let explored = holds(what, setup);
        assert!(explored.most_repeats > 0, "void: no fault bit");
    }

    #[test]
    fn two_workers_lose_nothing_and_repeat_no_more_than_their_windows() {
        holds_where_faults_bite("at least once", small());
    }

    #[test]
    fn where_clocks_disagree_they_lose_nothing_and_repeat_no_more() {
        let setup = Setup {
            clocks_agree: false,
            ..small()
        };
        holds_where_faults_bite("at least once, clocks apart", setup);
    }

    #[test]
    fn two_workers_send_nothing_twice_at_most_once() {
        let setup = Setup {
            is_at_most_once: true,
            ..small()
        };
        let explored = holds("at most once", setup);
        assert_eq!(explored.most_repeats, 0);
    }

    #[test]
    fn two_planners_cut_an_event_once() {
        holds("planning", Setup::planning(2));
    }
}
