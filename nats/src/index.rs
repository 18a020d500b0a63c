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
pub use self::ownership::Owner;
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
    /// Devices whose token belongs to a device with a later document.
    lost: HashSet<Slot>,
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
        let old = self.find(hash);
        let keeps_token = old.is_some_and(|it| self.owns(it, &device.token));
        let moved = old.and_then(|it| self.moved.get(&it).copied());
        if let Some(slot) = old {
            self.detach(slot, revision);
        }
        let numbers = self
            .subscriptions
            .add_all(&device.subscriptions, prefix(hash));
        let user = device.user.as_deref().map(topic::user_hash);
        let pending = device.pending.as_ref();
        let token = pending.map_or(&device.token, |it| &it.token);
        let record = record::encode(id.as_str(), token, user, &numbers);
        let app = self.app_number(&device.app);
        let Some(address) = self.arena.push(&record) else {
            // 4 GiB of records: far beyond what one bucket holds.
            if let Some(slot) = old {
                self.vacate(slot);
            }
            return;
        };
        let slot = self.occupy(hash, revision, address, app);
        if pending.is_some() {
            self.hold(slot);
        } else {
            let has_rivals = self.attach(slot);
            if keeps_token {
                self.moved.extend(moved.map(|since| (slot, since)));
            } else if has_rivals {
                self.moved.insert(slot, revision);
            }
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
            self.detach(slot, revision);
            self.vacate(slot);
        }
    }
}

#[cfg(test)]
mod tests;
