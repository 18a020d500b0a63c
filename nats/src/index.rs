//! The devices in memory: a pure fold over the ordered watch of the bucket.
//!
//! Per device: 22 bytes in columns, a packed record, and an entry in the walking order, the token
//! table and the user table. The order of the walk is the order of the hash of the device id.

mod arena;
mod audience;
mod columns;
mod listing;
mod ownership;
mod record;
mod subscriptions;
mod trie;

use std::collections::{HashMap, HashSet};

use hashbrown::HashTable;

use self::arena::{Address, Arena};
pub use self::audience::{Dropped, Interest, Step, Target};
use self::columns::{Slot, prefix};
pub use self::listing::{Followers, Listener};
use self::subscriptions::Subscriptions;
use crate::device::{AppName, Device, DeviceId};
use crate::topic;

/// The walking order is cut by the highest 12 bits; tasks are cut by at most 9.
const BUCKET_BITS: u32 = 12;

/// The devices, as of the last change that was applied.
#[derive(Debug)]
pub struct Index {
    hashes: Vec<u64>,
    revisions: Vec<u64>,
    records: Vec<Address>,
    apps: Vec<u16>,
    free: Vec<Slot>,
    arena: Arena,
    order: Vec<Vec<Slot>>,
    tokens: HashTable<Slot>,
    users: HashTable<Slot>,
    app_names: Vec<AppName>,
    subscriptions: Subscriptions,
    /// Devices whose token is another's.
    lost: HashSet<Slot>,
    /// Those among them that would have to show that they hold it.
    contested: HashSet<Slot>,
    /// Devices that own a token which came from another device, and since which revision.
    moved: HashMap<Slot, u64>,
    /// Devices whose token is not their own yet: only a challenge reaches them.
    pending: HashSet<Slot>,
    reached: u64,
    n_devices: usize,
}

impl Default for Index {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Index {
    /// An empty index with room for `n_devices`.
    pub fn with_capacity(n_devices: usize) -> Self {
        Self {
            hashes: Vec::with_capacity(n_devices),
            revisions: Vec::with_capacity(n_devices),
            records: Vec::with_capacity(n_devices),
            apps: Vec::with_capacity(n_devices),
            free: Vec::new(),
            arena: Arena::default(),
            order: vec![Vec::new(); 1 << BUCKET_BITS],
            tokens: HashTable::with_capacity(n_devices),
            users: HashTable::new(),
            app_names: Vec::new(),
            subscriptions: Subscriptions::default(),
            lost: HashSet::new(),
            contested: HashSet::new(),
            moved: HashMap::new(),
            pending: HashSet::new(),
            reached: 0,
            n_devices: 0,
        }
    }

    /// Number of devices.
    pub fn len(&self) -> usize {
        self.n_devices
    }

    /// True without devices.
    pub fn is_empty(&self) -> bool {
        self.n_devices == 0
    }

    /// Number of distinct subscriptions.
    pub fn n_subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// The greatest revision that was applied.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// Notes that everything up to `revision` was applied.
    pub fn reach(&mut self, revision: u64) {
        self.reached = self.reached.max(revision);
    }

    /// Applies a document. What is at or below [`Self::reached`] was applied before, so a replay
    /// is harmless.
    pub fn put(&mut self, id: &DeviceId, device: &Device, revision: u64) {
        if revision <= self.reached {
            return;
        }
        self.reach(revision);
        let hash = id.hash();
        let is_pending = device.pending.is_some();
        let old = self.find(hash);
        let has_token = old.is_some_and(|it| !is_pending && self.has_token(it, &device.token));
        let former = old.map(|it| self.detach(it)).unwrap_or_default();
        if let Some(slot) = old.filter(|_| !has_token) {
            self.forget(slot);
            self.settle(&former, revision);
        }
        let numbers = self
            .subscriptions
            .add_all(&device.subscriptions, prefix(hash));
        let user = device.asked_user().map(topic::user_hash);
        let token = device.asked_token();
        let record = record::encode(id.as_str(), token, user, device.holding, &numbers);
        let app = self.app_number(&device.app);
        let Some(address) = self.arena.push(&record) else {
            // 4 GiB of records: far beyond what one bucket holds.
            if let Some(slot) = old {
                self.forget(slot);
                self.vacate(slot);
                self.settle(&former, revision);
            }
            return;
        };
        let slot = self.occupy(hash, revision, address, app);
        self.enter_user(slot);
        if is_pending {
            self.hold(slot);
        } else {
            self.attach(slot, has_token, revision);
        }
        if self.arena.is_wasteful() {
            self.compact();
        }
    }

    /// Applies a deletion; replays are harmless as for [`Self::put`].
    pub fn remove(&mut self, id: &DeviceId, revision: u64) {
        if revision <= self.reached {
            return;
        }
        self.reach(revision);
        if let Some(slot) = self.find(id.hash()) {
            let heirs = self.detach(slot);
            self.forget(slot);
            self.vacate(slot);
            self.settle(&heirs, revision);
        }
    }
}

#[cfg(test)]
mod tests;
