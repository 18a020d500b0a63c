//! How large a simulated world is, and what may happen in it.

use std::collections::BTreeSet;

use fanfare_nats::event::Urgency;
use fanfare_nats::plan::Lane;
use fanfare_nats::{AppName, DeviceHash, EventId};

use super::Invariant;
use crate::machine::mutant::Mutant;

/// A world's constants.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a world of its own")]
pub(super) struct Setup {
    pub(super) n_processes: usize,
    /// Tasks that a process works on at once.
    pub(super) places: usize,
    pub(super) n_devices: u64,
    /// Events; each is planned, and has a task for each half of the devices if there are many.
    pub(super) n_events: usize,
    pub(super) window: usize,
    pub(super) stride: usize,
    pub(super) faults: u32,
    /// Devices whose first attempt the provider refuses for the moment.
    pub(super) waits: BTreeSet<DeviceHash>,
    pub(super) is_at_most_once: bool,
    /// The events are stored and planned; one task each is in the stream.
    pub(super) is_planned: bool,
    /// Tasks are worked on.
    pub(super) sends: bool,
    /// A worker sees from a receipt's time that somebody is at work. Where clocks disagree every
    /// receipt looks old.
    pub(super) clocks_agree: bool,
    /// Clocks go on, providers fail at random, processes drain.
    pub(super) is_wild: bool,
    pub(super) mutant: Option<Mutant>,
    /// The only invariant that is looked at, to see what else a broken rule would lead to.
    pub(super) watches: Option<Invariant>,
}

impl Setup {
    /// The small world of the exhaustive exploration: one task, two workers.
    pub(super) fn small(n_devices: u64, faults: u32) -> Self {
        Self {
            n_processes: 2,
            places: 1,
            n_devices,
            n_events: 1,
            window: 2,
            stride: 1,
            faults,
            waits: BTreeSet::from([device(n_devices - 1, n_devices)]),
            is_at_most_once: false,
            is_planned: true,
            sends: true,
            clocks_agree: true,
            is_wild: false,
            mutant: None,
            watches: None,
        }
    }

    /// The small world of planners: two events, stored in either way, two planners who would cut
    /// them differently.
    pub(super) fn planning(faults: u32) -> Self {
        Self {
            n_events: 2,
            is_planned: false,
            sends: false,
            ..Self::small(4, faults)
        }
    }

    /// The devices, in the order of the walk.
    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceHash> + '_ {
        (0..self.n_devices).map(|it| device(it, self.n_devices))
    }
}

/// The `n`-th of so many devices, spread over all hashes.
pub(super) fn device(n: u64, n_devices: u64) -> DeviceHash {
    DeviceHash(n * (u64::MAX / n_devices) + 1)
}

pub(super) fn lane() -> Lane {
    Lane {
        app: AppName::parse("app").unwrap(),
        urgency: Urgency::Urgent,
    }
}

pub(super) fn event_id(n: usize) -> EventId {
    EventId::parse(&format!("{n:032x}")).unwrap()
}
