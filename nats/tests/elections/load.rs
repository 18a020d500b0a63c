//! All loads together, faults one after another, the audit in the end.

use fanfare_nats::Broker;
use fanfare_nats_server::Options;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Pulse, Report};
use super::chains::Chains;
use super::churn::Churn;
use super::control::Control;
use super::events::Events;
use super::faults::{Order, Scene};
use super::in_flight::Lost;
use super::leases::Leases;
use super::plans::Plans;
use super::rig::Rig;
use super::trap::{Early, Hand};
use super::values::Chance;
use super::wakeups::WakeUps;

/// Every load, each with its ledger.
struct Loads {
    events: Events,
    plans: Plans,
    chains: Chains,
    churn: Churn,
    control: Control,
    leases: Leases,
    wakeups: WakeUps,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Loads {
    async fn start(brokers: &[Broker]) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let plans = Plans::new(brokers[0].names());
        plans.know(Churn::plan());
        let churn = Churn::start(brokers, &mut tasks, &stop).await;
        let wakeups = WakeUps::start(brokers, &mut tasks, &stop).await;
        plans.start(&brokers[..2], &mut tasks, &stop);
        Self {
            events: Events::start(brokers, &mut tasks, &stop),
            plans,
            chains: Chains::start(brokers, &mut tasks, &stop),
            churn,
            control: Control::start(brokers, &mut tasks, &stop),
            leases: Leases::start(brokers, &mut tasks, &stop),
            wakeups,
            tasks,
            stop,
        }
    }

    /// Ends the loads and compares each ledger with what stands.
    async fn audit(mut self, rig: &Rig, broker: &Broker) -> Vec<Account> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let raw = rig.raw_beside(0);
        vec![
            self.events.audit(raw).await,
            self.plans.audit(raw).await,
            self.chains.audit(broker).await,
            self.churn.audit(),
            self.wakeups.audit(),
            self.control.audit(broker).await,
            self.leases.audit(),
        ]
    }
}

/// Runs the faults of an order under every load; `told` hears of each fault that is over.
pub(crate) async fn run(
    options: &Options,
    order: &Order,
    mut told: impl FnMut(&[&'static str], [u64; 4]),
) -> Report {
    let mut rig = Rig::start(options, order.held).await;
    let mut brokers = Vec::new();
    for server in 0..3 {
        brokers.push(rig.broker(&format!("n{server}"), server).await);
    }
    let loads = Loads::start(&brokers).await;
    let mut chance = Chance(order.seed);
    let mut faults = Vec::new();
    let mut scene = Scene {
        rig: &mut rig,
        plans: &loads.plans,
        wakeups: &loads.wakeups,
        brokers: &brokers,
        early: Early::default(),
        n_not_greater: 0,
        n_incomplete: 0,
        lost: Lost::default(),
    };
    let began = Instant::now();
    for (round, fault) in order.faults.iter().cycle().take(order.n_faults).enumerate() {
        if began.elapsed() >= order.time {
            break;
        }
        Box::pin(scene.strike(*fault, round, &mut chance)).await;
        faults.push(fault.as_str());
        told(&faults, scene.rig.unknown());
    }
    let in_hand = in_hand(&scene.early, scene.n_not_greater);
    let (n_incomplete, lost) = (scene.n_incomplete, scene.lost);
    let mut accounts = Box::pin(loads.audit(&rig, &brokers[1])).await;
    accounts[1].figures.push(("begun anew", n_incomplete));
    accounts.push(in_hand);
    accounts.extend(lost.account());
    Report {
        faults,
        elections: rig.witness.elections(),
        unknown: rig.unknown(),
        accounts,
    }
}

fn in_hand(early: &Early, n_not_greater: u64) -> Account {
    let mut account = Account::of("in hand", Pulse::new());
    let of = |hand| early.get(&hand).copied().unwrap_or_default();
    let (first, back) = (of(Hand::First), of(Hand::HandedBack));
    let (silent, extended) = (of(Hand::Silent), of(Hand::Extended));
    account.n_acknowledged = first.0 + back.0 + silent.0 + extended.0;
    account.figures = vec![
        ("first, early", first.1),
        ("handed back, early", back.1),
        ("silent, early", silent.1),
        ("extended, early", extended.1),
    ];
    account.check(n_not_greater == 0, || {
        format!("{n_not_greater} counts did not grow")
    });
    account
}
