//! Long, wild lives of larger worlds, each from a seed: several processes and events, tasks that
//! share a window, failing providers, clocks that go on, drains, freezes.

use super::Invariant;
use super::choice::{Choice, choices, faults, tick};
use super::process::Reply;
use super::setup::Setup;
use super::world::World;

/// A world that has not come to its end by then never will.
const MANY: u32 = 60_000;
/// From here on providers answer and nothing drains.
const CALM_FROM: u32 = 3_000;

/// What a life came to.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) broken: Option<Invariant>,
    pub(super) repeats: u32,
    pub(super) n_steps: u32,
    /// The last things that happened.
    pub(super) trace: Vec<Choice>,
}

/// `SplitMix64`: the same on every machine and in every version.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n.max(1)).unwrap();
        usize::try_from(self.throw() % n).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A world for a seed: sizes, guarantee and the provider's mood come from it.
pub(super) fn setup(seed: u64) -> Setup {
    let mut dice = Dice(seed.wrapping_mul(77));
    let n_processes = 2 + dice.below(3);
    Setup {
        n_processes,
        places: 1 + dice.below(3),
        n_devices: 4 + u64::try_from(dice.below(9)).unwrap(),
        n_events: 1 + dice.below(3),
        window: 2 + dice.below(4),
        stride: 1 + dice.below(3),
        faults: u32::try_from(dice.below(5)).unwrap(),
        waits: std::collections::BTreeSet::new(),
        is_at_most_once: dice.one_in(3),
        is_planned: false,
        sends: true,
        clocks_agree: !dice.one_in(4),
        is_wild: true,
        mutant: None,
        watches: None,
    }
}

/// A small world with many tasks in each process and one fault.
pub(super) fn freezing(seed: u64) -> Setup {
    Setup {
        n_processes: 2,
        places: 3,
        n_events: 2,
        window: 2,
        stride: 1,
        faults: 1,
        ..setup(seed)
    }
}

/// Lives until nothing more can happen, or something is broken.
pub(super) fn live(seed: u64, setup: Setup) -> Life {
    let mut dice = Dice(seed);
    let mut world = World::new(setup);
    let is_outage = dice.one_in(3);
    let mut trace = std::collections::VecDeque::new();
    for step in 0..MANY {
        let usual = choices(&world);
        if usual.is_empty() {
            world.check_end();
        }
        if world.broken.is_some() || usual.is_empty() {
            return Life {
                broken: world.broken,
                repeats: world.repeats(),
                n_steps: step,
                trace: trace.into(),
            };
        }
        let choice = choose(&mut dice, &world, usual, is_outage && step < 400, step);
        world.apply(&choice);
        trace.push_back(choice);
        if trace.len() > 80 {
            trace.pop_front();
        }
    }
    Life {
        broken: Some(Invariant::ComesToAnEnd),
        repeats: world.repeats(),
        n_steps: MANY,
        trace: trace.into(),
    }
}

fn choose(
    dice: &mut Dice,
    world: &World,
    usual: Vec<Choice>,
    is_outage: bool,
    step: u32,
) -> Choice {
    let is_calm = step >= CALM_FROM;
    if !is_calm && dice.one_in(25) {
        let mut faults = faults(world);
        if !faults.is_empty() {
            return faults.swap_remove(dice.below(faults.len()));
        }
    }
    if !is_calm
        && dice.one_in(20)
        && let Some(tick) = tick(world)
    {
        return tick;
    }
    if !is_calm && dice.one_in(150) {
        let p = dice.below(world.processes.len());
        let process = &world.processes[p];
        if !process.workers.is_empty() && !process.is_frozen {
            return Choice::Drain(p);
        }
    }
    let mut usual = usual;
    let choice = usual.swap_remove(dice.below(usual.len()));
    let Choice::Answer(at, i, _) = choice else {
        return choice;
    };
    let reply = match (is_calm, is_outage) {
        (true, _) => Reply::Accepted,
        (false, true) => Reply::HandBack,
        (false, false) => mood(dice),
    };
    Choice::Answer(at, i, reply)
}

fn mood(dice: &mut Dice) -> Reply {
    match dice.below(20) {
        0 | 1 => Reply::Later,
        2 => Reply::NoTurn,
        3 => Reply::HandBack,
        4 if dice.one_in(3) => Reply::Lost,
        _ => Reply::Accepted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_happens_in_many_lives_no_invariant_breaks() {
        let seeds = if cfg!(debug_assertions) {
            2_000
        } else {
            100_000
        };
        let (mut n_steps, mut repeats, mut n_faulty) = (0_u64, 0_u64, 0_u64);
        // Two that once broke a bound: credits of announced intents came back early, and a process
        // went on after a freeze with a task whose message another had, who had not claimed it yet.
        // (A third one named an intent that was given up: `recording` has it as a test of its own.)
        for seed in (0..seeds).chain([7_173, 26_712]) {
            let setup = setup(seed);
            n_faulty += u64::from(setup.faults > 0);
            let life = live(seed, setup.clone());
            assert_eq!(
                life.broken, None,
                "seed {seed}: {setup:?} after {:#?}",
                life.trace
            );
            n_steps += u64::from(life.n_steps);
            repeats += u64::from(life.repeats);
        }
        println!(
            "{} lives, {n_faulty} with faults, {n_steps} steps, {repeats} repeats",
            seeds + 2
        );
        assert!(repeats > 0, "void: no fault bit");
    }
}
