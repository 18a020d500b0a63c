//! Whether the invariants hold in a world.

use fanfare_nats::DeviceHash;
use fanfare_nats::receipt::{Claim, Mark, Receipt};

use super::Invariant;
use super::broker::{Body, Delivery};
use super::world::{World, task_id};

impl World {
    pub(super) fn check_follows(&mut self, before: &Receipt, after: &Receipt) {
        let key = |it: &Claim| (it.epoch, it.pass, it.delivered);
        let is_own = before.claim == after.claim;
        if !is_own && key(&after.claim) <= key(&before.claim) {
            self.breaks(Invariant::OnlyOwnerRecords);
        }
        let setup = self.setup.clone();
        let is_through = |receipt: &Receipt, device: DeviceHash| {
            receipt.is_marked(device) && !receipt.later.contains_key(&device)
        };
        if setup
            .devices()
            .any(|it| is_through(before, it) && !is_through(after, it))
        {
            self.breaks(Invariant::ReceiptsGrow);
        }
    }

    pub(super) fn check_plan(&mut self, event: usize) {
        let is_whole = self.broker.plans.get(&event).is_some_and(|plan| {
            let mut tasks = plan.tasks();
            tasks.all(|it| {
                let task = task_id(event, it.range);
                self.broker.messages.contains_key(&Body::Task(task, 1, 1))
            })
        });
        if !is_whole {
            self.breaks(Invariant::PlansAreWhole);
        }
    }

    /// Nothing more can happen without a fault: everyone has what they are owed.
    pub(super) fn check_end(&mut self) {
        let settled = |it: &Delivery| *it == Delivery::Settled;
        let waits = self.broker.receipts.iter().any(|(task, (_, receipt))| {
            let has_message = self.broker.messages.iter().any(|(body, it)| {
                matches!(body, Body::Task(of, ..) if of == task) && !settled(&it.state)
            });
            !receipt.later.is_empty() && !has_message
        });
        if waits {
            return self.breaks(Invariant::WakeUpSurvives);
        }
        let is_owed = |body: &Body| self.setup.sends || matches!(body, Body::Event(_));
        let mut owed = self.broker.messages.iter().filter(|(it, _)| is_owed(it));
        if !owed.all(|(_, it)| settled(&it.state)) {
            return self.breaks(Invariant::ComesToAnEnd);
        }
        if !self.setup.sends {
            return;
        }
        let setup = self.setup.clone();
        let mut lost = 0;
        for event in 0..setup.n_events {
            for device in setup.devices() {
                let is_unclear = self.marks.get(&(event, device)) == Some(&Mark::Unclear);
                if self.ledger.contains_key(&(event, device)) {
                    continue;
                }
                if !(setup.is_at_most_once && is_unclear) {
                    return self.breaks(Invariant::NothingLost);
                }
                lost += 1;
            }
        }
        if lost > self.allowed {
            self.breaks(Invariant::LossesWithinWindow);
        }
    }
}
