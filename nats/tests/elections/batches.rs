//! The moment of a batch at which its leader dies: before each of its messages, before its commit,
//! behind it; with the planner on the leader itself or on another server.

use std::time::Duration;

use fanfare_nats::Plan;
use fanfare_nats::subject::Names;
use fanfare_nats_server::Options;
use tokio::task::JoinSet;

use super::account::Report;
use super::plans::Plans;
use super::rig::Rig;
use super::tap::{Hold, Tap};
use super::values::plan;

/// A plan and four tasks.
const LOG2_TASKS: u8 = 2;
const MESSAGES: u32 = 5;

/// When a held planner may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// As soon as the leader is gone: there is none.
    AtOnce,
    /// When another server leads: the rest of the batch comes to one that knows nothing of it.
    Late,
}

/// Planners that wait in the middle of their batches.
pub(crate) struct HeldBatches {
    taps: Vec<(Tap, Release)>,
    planners: JoinSet<()>,
    plans: Vec<Plan>,
    round: usize,
}

fn item(round: usize, n: usize) -> String {
    format!("held-{round}-{n}")
}

impl HeldBatches {
    /// Brings a planner to each moment; `leader` leads the stream of tasks.
    pub(crate) async fn arm(rig: &Rig, leader: usize, round: usize, plans: &Plans) -> Self {
        let before = (1..=MESSAGES).map(Hold::Before);
        let holds: Vec<Hold> = before.chain([Hold::After(MESSAGES)]).collect();
        let urls = rig.urls();
        let seats = [
            (leader, Release::AtOnce),
            ((leader + 1) % 3, Release::AtOnce),
            ((leader + 2) % 3, Release::Late),
        ];
        let (mut taps, mut planners, mut all) = (Vec::new(), JoinSet::new(), Vec::new());
        for (seat, release) in seats {
            for hold in &holds {
                let tap = Tap::start(&urls[seat], *hold).await;
                let mut servers = urls.clone();
                servers.rotate_left(seat);
                servers[0] = tap.url();
                let broker = rig.broker_by("held", servers).await;
                let plan = plan(&item(round, all.len()), "planned", LOG2_TASKS, 1);
                let (plans, own) = (plans.clone(), plan.clone());
                planners.spawn(async move { plans.commit(&broker, &own).await });
                taps.push((tap, release));
                all.push(plan);
            }
        }
        for (tap, _) in &taps {
            tap.held().await;
        }
        Self {
            taps,
            planners,
            plans: all,
            round,
        }
    }

    /// The leader is gone.
    pub(crate) fn release_at_once(&self) {
        self.release(Release::AtOnce);
    }

    /// Another server leads.
    pub(crate) fn release_late(&self) {
        self.release(Release::Late);
    }

    fn release(&self, which: Release) {
        for (tap, _) in self.taps.iter().filter(|(_, it)| *it == which) {
            tap.release();
        }
    }

    /// Waits for every planner, and lets another one plan the same events differently. Returns how
    /// many batches were refused because their leader had changed.
    pub(crate) async fn finish(mut self, rig: &Rig, plans: &Plans) -> u64 {
        while let Some(planned) = self.planners.join_next().await {
            planned.unwrap();
        }
        let broker = rig.broker("rival", self.round % 3).await;
        for n in 0..self.plans.len() {
            let rival = plan(&item(self.round, n), "planned", LOG2_TASKS + 1, 2);
            plans.commit(&broker, &rival).await;
        }
        self.taps.iter().map(|(tap, _)| tap.n_incomplete()).sum()
    }
}

/// Batches whose leader hands over in order, at each of their messages: unlike a leader that dies, it
/// is followed at once by one that knows nothing of what was begun.
pub(crate) async fn hand_over(options: &Options) -> Report {
    let rig = Rig::start(options, Duration::from_secs(12)).await;
    let plans = Plans::new(&Names::default());
    rig.gather(0).await;
    let held = HeldBatches::arm(&rig, 0, 0, &plans).await;
    rig.gather(1).await;
    held.release_at_once();
    held.release_late();
    let n_incomplete = held.finish(&rig, &plans).await;
    let mut planned = plans.audit(rig.raw_beside(0)).await;
    planned.figures.push(("begun anew", n_incomplete));
    Report {
        faults: vec!["step-down"],
        elections: rig.witness.elections(),
        unknown: rig.unknown(),
        accounts: vec![planned],
    }
}
