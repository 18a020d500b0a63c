//! The faults, and what is in the middle of something when they come.

use std::time::Duration;

use fanfare_nats::Broker;
use tokio_util::sync::CancellationToken;

use super::batches::HeldBatches;
use super::in_flight::{Lost, in_flight_fault};
use super::plans::Plans;
use super::rig::Rig;
use super::trap::{Early, Forgotten};
use super::values::{Chance, now};
use super::wakeups::WakeUps;

/// What happens to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of the server that leads everything.
    Kill,
    /// SIGSTOP of the server that leads everything, for longer than the election of another.
    Freeze,
    /// SIGSTOP of the server that leads everything, for two seconds: too short for an election.
    Brief,
    /// SIGKILL of the server that leads the stream of tasks, and whatever else it leads.
    KillOne,
    /// SIGKILL of the leader and of one more: no quorum for two seconds.
    KillTwo,
    /// SIGKILL of all three.
    KillAll,
    /// Each server is stopped in order and started again, one by one.
    Rolling,
    /// The leader of everything hands over in order.
    StepDown,
    /// Both followers are away when the leader dies: what it had proposed is lost.
    InFlight,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::Kill,
        Self::Freeze,
        Self::Brief,
        Self::KillOne,
        Self::KillTwo,
        Self::KillAll,
        Self::Rolling,
        Self::StepDown,
        Self::InFlight,
    ];

    /// The fault of this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Brief => "brief",
            Self::KillOne => "kill-one",
            Self::KillTwo => "kill-two",
            Self::KillAll => "kill-all",
            Self::Rolling => "rolling",
            Self::StepDown => "step-down",
            Self::InFlight => "in-flight",
        }
    }
}

/// Which faults, and where chance begins.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) seed: u64,
    /// The faults, over and over again if there is time.
    pub(crate) faults: Vec<Fault>,
    /// How many faults.
    pub(crate) n_faults: usize,
    /// `ack_wait` of the messages in hand: longer than an election, or it cannot be told which of
    /// them come before their time.
    pub(crate) held: Duration,
    /// No fault begins after so long.
    pub(crate) time: Duration,
}

/// What a fault meets besides the loads.
pub(crate) struct Scene<'a> {
    pub(crate) rig: &'a mut Rig,
    pub(crate) plans: &'a Plans,
    pub(crate) wakeups: &'a WakeUps,
    pub(crate) brokers: &'a [Broker],
    pub(crate) early: Early,
    /// Delivery counts of messages in hand that did not grow.
    pub(crate) n_not_greater: u64,
    /// Batches that were refused because their leader had changed.
    pub(crate) n_incomplete: u64,
    pub(crate) lost: Lost,
}

/// Wake-ups that are due before, at and after the instant of a fault, in milliseconds from it.
const DUE_MS: [i64; 8] = [-300, -50, 0, 0, 0, 50, 1000, 3000];
/// Wake-ups at each of these.
const DUE_EACH: usize = 15;
/// From the arming of wake-ups to the fault.
const LEAD: Duration = Duration::from_millis(3500);
/// How long a server is away where nobody is elected meanwhile.
const OUTAGE: Duration = Duration::from_secs(2);
/// Wake-ups are armed so long before messages in hand come again.
const BEFORE: Duration = Duration::from_secs(1);

impl Scene<'_> {
    /// One fault from its preparation to its end.
    pub(crate) async fn strike(&mut self, fault: Fault, round: usize, chance: &mut Chance) {
        let any = usize::try_from(chance.below(3)).unwrap();
        match fault {
            Fault::Rolling => return self.roll().await,
            Fault::InFlight => {
                self.rig.gather(any).await;
                let fault = in_flight_fault(self.rig, any, round, self.plans);
                let lost = Box::pin(fault).await;
                return self.lost.add(lost);
            }
            Fault::KillOne => {
                let victim = self.rig.leader_of("FANFARE_TASKS").await;
                return Box::pin(self.strike_leader(fault, round, victim, chance)).await;
            }
            Fault::Kill
            | Fault::Freeze
            | Fault::Brief
            | Fault::KillTwo
            | Fault::KillAll
            | Fault::StepDown => {}
        }
        Box::pin(self.strike_leader(fault, round, any, chance)).await;
    }

    async fn strike_leader(
        &mut self,
        fault: Fault,
        round: usize,
        victim: usize,
        chance: &mut Chance,
    ) {
        let beside = (victim + 1) % 3;
        let forgotten = Forgotten::arm(self.rig, beside, round, self.plans).await;
        if fault != Fault::KillOne {
            self.rig.gather(victim).await;
        }
        tokio::time::sleep_until(forgotten.due - BEFORE).await;
        let at = now() + LEAD;
        let due: Vec<_> = DUE_MS
            .iter()
            .flat_map(|ms| [at + jiff::SignedDuration::from_millis(*ms); DUE_EACH])
            .collect();
        let storing = [&self.brokers[victim], &self.brokers[beside]];
        self.wakeups.arm(storing, round, &due).await;
        let (in_hand, batches) = tokio::join!(
            forgotten.come_again(self.rig, beside, self.plans),
            HeldBatches::arm(self.rig, victim, round, self.plans)
        );
        let jitter = Duration::from_millis(chance.below(100));
        let left = at.duration_since(now()).unsigned_abs() + jitter;
        tokio::time::sleep(left).await;

        let led = CancellationToken::new();
        let more = Duration::from_millis(chance.below(6000));
        let (early, ()) = tokio::join!(
            in_hand.finish(&led),
            self.come_and_go(fault, victim, &batches, &led, more)
        );
        for (hand, (n, n_early)) in early.0 {
            let sum = self.early.entry(hand).or_default();
            *sum = (sum.0 + n, sum.1 + n_early);
        }
        self.n_not_greater += early.1;
        self.n_incomplete += batches.finish(self.rig, self.plans).await;
        self.wakeups.finished().await;
        self.settle().await;
    }

    /// The fault itself; `led` when there is a leader again. A frozen server stays so for `more`.
    async fn come_and_go(
        &mut self,
        fault: Fault,
        victim: usize,
        batches: &HeldBatches,
        led: &CancellationToken,
        more: Duration,
    ) {
        let all = [victim, (victim + 1) % 3, (victim + 2) % 3];
        match fault {
            Fault::Kill | Fault::KillOne => {
                self.rig.kill(&[victim]).await;
                batches.release_at_once();
                self.rig.led_without(victim).await;
                batches.release_late();
                led.cancel();
                self.rig.restart(&[victim]).await;
            }
            Fault::Freeze => {
                self.rig.freeze(victim);
                batches.release_at_once();
                self.rig.led_without(victim).await;
                batches.release_late();
                led.cancel();
                tokio::time::sleep(more).await;
                self.rig.thaw(victim);
            }
            Fault::Brief => {
                self.rig.freeze(victim);
                batches.release_at_once();
                tokio::time::sleep(OUTAGE).await;
                self.rig.thaw(victim);
            }
            Fault::KillTwo | Fault::KillAll => {
                let n = if fault == Fault::KillTwo { 2 } else { 3 };
                self.rig.kill(&all[..n]).await;
                batches.release_at_once();
                tokio::time::sleep(OUTAGE).await;
                self.rig.restart(&all[..n]).await;
            }
            Fault::StepDown => {
                batches.release_at_once();
                self.rig.gather(all[1]).await;
            }
            Fault::Rolling | Fault::InFlight => {}
        }
        self.rig.led().await;
        batches.release_late();
        led.cancel();
    }

    async fn roll(&mut self) {
        for server in 0..3 {
            self.rig.restart(&[server]).await;
            self.settle().await;
        }
    }

    async fn settle(&mut self) {
        self.rig.ready().await;
        self.rig.led().await;
    }
}
