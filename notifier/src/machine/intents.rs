//! Devices on the way to a request whose intent must be recorded first: at most once.
//!
//! A device is gathered with the credit it got, announced by the next append, and ready when that
//! append is confirmed. One append announces as many as the window gave.

use std::collections::VecDeque;

use fanfare_nats::DeviceHash;
use fanfare_nats::index::Step;

/// A device, the attempts before, and its leave.
pub(super) type Intent<L> = (Step, u32, L);

/// See the module.
#[derive(Clone, Debug, Hash)]
pub(super) struct Intents<L> {
    gathered: VecDeque<Intent<L>>,
    announced: VecDeque<Intent<L>>,
    ready: VecDeque<Intent<L>>,
}

impl<L> Default for Intents<L> {
    fn default() -> Self {
        Self {
            gathered: VecDeque::new(),
            announced: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }
}

impl<L> Intents<L> {
    pub(super) fn gather(&mut self, intent: Intent<L>) {
        self.gathered.push_back(intent);
    }

    /// An append is begun that names all that are gathered.
    pub(super) fn announce(&mut self) {
        self.announced.append(&mut self.gathered);
    }

    /// The append is stored.
    pub(super) fn confirm(&mut self) {
        self.ready.append(&mut self.announced);
    }

    pub(super) fn next_ready(&mut self) -> Option<Intent<L>> {
        self.ready.pop_front()
    }

    /// Devices that an append names, stored or under way.
    pub(super) fn announced(&self) -> impl Iterator<Item = DeviceHash> + '_ {
        let all = self.ready.iter().chain(&self.announced);
        all.map(|(step, _, _)| step.device)
    }

    /// Devices that no append names yet.
    pub(super) fn gathered(&self) -> impl Iterator<Item = DeviceHash> + '_ {
        self.gathered.iter().map(|(step, _, _)| step.device)
    }

    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.announced.is_empty() && self.ready.is_empty()
    }
}
