//! A broker double: subjects with a last message and compare-and-set, durables that redeliver,
//! schedules. It has JetStream's habits: late answers of old deliveries are honoured, a message comes
//! again when nobody holds it, delivery counts may fall after a hard restart of a single server.

use std::collections::{BTreeMap, BTreeSet};

use fanfare_nats::plan::Plan;
use fanfare_nats::{DeviceHash, HashRange, Receipt};

/// Which task: event and part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TaskId {
    pub(super) event: usize,
    pub(super) range: (u32, u8),
}

impl TaskId {
    pub(super) fn range(self) -> HashRange {
        HashRange::new(self.range.0, self.range.1).unwrap()
    }

    pub(super) fn has(self, device: DeviceHash) -> bool {
        self.range().contains(device)
    }
}

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Body {
    Event(usize),
    /// A task's pass; a schedule that fires twice makes two messages of it.
    Task(TaskId, u32, u64),
}

/// A message as its durable sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) delivered: u64,
    pub(super) state: Delivery,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Delivery {
    /// To be delivered.
    Waiting,
    /// With somebody: the worker that got it last, if it lives.
    Out(Option<u32>),
    /// Acknowledged.
    Settled,
}

/// See the module.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Broker {
    pub(super) messages: BTreeMap<Body, Stored>,
    pub(super) plans: BTreeMap<usize, Plan>,
    /// The last receipt of each task, without its lines, and its sequence.
    pub(super) receipts: BTreeMap<TaskId, (u64, Receipt)>,
    /// The one before it: what a frozen leader may still say.
    pub(super) older: BTreeMap<TaskId, (u64, Receipt)>,
    pub(super) schedules: BTreeSet<(TaskId, u32)>,
}

impl Broker {
    /// Stores a message, create-only; one that was stored stays as it is.
    pub(super) fn publish(&mut self, body: Body) {
        self.messages.entry(body).or_insert(Stored {
            delivered: 0,
            state: Delivery::Waiting,
        });
    }

    /// A schedule fires: not create-only, so there may be two messages of a pass.
    pub(super) fn fire(&mut self, task: TaskId, pass: u32) {
        self.schedules.remove(&(task, pass));
        let is_new = |it: &u64| !self.messages.contains_key(&Body::Task(task, pass, *it));
        let number = (1..=u64::MAX).find(is_new).unwrap();
        self.publish(Body::Task(task, pass, number));
    }

    /// An acknowledgement, of whichever delivery.
    pub(super) fn settle(&mut self, body: Body) {
        if let Some(it) = self.messages.get_mut(&body) {
            it.state = Delivery::Settled;
        }
    }

    /// A negative one.
    pub(super) fn hand_back(&mut self, body: Body) {
        if let Some(it) = self.messages.get_mut(&body)
            && it.state != Delivery::Settled
        {
            it.state = Delivery::Waiting;
        }
    }

    /// Somebody who had it before says that it is still at work.
    pub(super) fn extend(&mut self, body: Body, holder: u32) {
        if let Some(it) = self.messages.get_mut(&body)
            && it.state != Delivery::Settled
        {
            it.state = Delivery::Out(Some(holder));
        }
    }

    /// A worker is gone: nobody extends what it had.
    pub(super) fn forget(&mut self, worker: u32) {
        for it in self.messages.values_mut() {
            if it.state == Delivery::Out(Some(worker)) {
                it.state = Delivery::Out(None);
            }
        }
    }

    /// A hard restart of a single server: counts fall, confirmed acknowledgements are forgotten.
    pub(super) fn restart(&mut self, forgets: bool) {
        for it in self.messages.values_mut() {
            let was_out = matches!(it.state, Delivery::Out(_));
            if it.delivered > 0 && (was_out || (forgets && it.state == Delivery::Settled)) {
                it.delivered -= 1;
                it.state = Delivery::Waiting;
            }
        }
    }
}
