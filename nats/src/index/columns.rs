//! The columns and the order of the walk: where a device stands.

use super::arena::{Address, Arena};
use super::record::Record;
use super::{BUCKET_BITS, Index};
use crate::device::AppName;
use crate::hash::DeviceHash;

/// Number of a device in the columns.
pub(super) type Slot = u32;

/// Bits of a hash that the postings know. A bitmap of random numbers of 32 bits falls into 65,536
/// containers, whose list is moved at each new one: a million devices took 10 s longer to load. With
/// 24 bits there are 256; who shares a prefix is told apart by the columns.
const PREFIX_BITS: u32 = 24;

/// The upper bits of a hash.
pub(super) fn prefix(hash: DeviceHash) -> u32 {
    u32::try_from(hash.0 >> (64 - PREFIX_BITS)).unwrap_or(0)
}

pub(super) fn place(slot: Slot) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

impl Index {
    pub(super) fn revision(&self, slot: Slot) -> u64 {
        self.revisions.get(place(slot)).copied().unwrap_or(0)
    }

    pub(super) fn record(&self, slot: Slot) -> Option<Record<'_>> {
        let address = self.records.get(place(slot))?;
        Record::read(self.arena.from(*address))
    }

    pub(super) fn bucket(hash: u64) -> usize {
        usize::try_from(hash >> (64 - BUCKET_BITS)).unwrap_or(0)
    }

    /// Whether a slot holds a device; revisions count from 1.
    pub(super) fn is_taken(&self, slot: Slot) -> bool {
        self.revisions.get(place(slot)).is_some_and(|it| *it > 0)
    }

    pub(super) fn find(&self, hash: DeviceHash) -> Option<Slot> {
        let bucket = self.order.get(Self::bucket(hash.0))?;
        let key = |slot: &Slot| self.hashes.get(place(*slot)).copied().unwrap_or(0);
        let at = bucket.binary_search_by_key(&hash.0, key).ok()?;
        bucket.get(at).copied()
    }

    /// Slots whose hash has this prefix.
    pub(super) fn with_prefix(&self, prefix: u32) -> impl Iterator<Item = Slot> + '_ {
        let first = u64::from(prefix) << (64 - PREFIX_BITS);
        let bucket = self
            .order
            .get(Self::bucket(first))
            .map_or(&[][..], Vec::as_slice);
        let key = |slot: &Slot| self.hashes.get(place(*slot)).copied().unwrap_or(0);
        let from = bucket.partition_point(|slot| key(slot) < first);
        bucket
            .get(from..)
            .unwrap_or(&[])
            .iter()
            .copied()
            .take_while(move |slot| key(slot) >> (64 - PREFIX_BITS) == u64::from(prefix))
    }

    pub(super) fn app_number(&mut self, app: &AppName) -> u16 {
        let number = self
            .app_names
            .iter()
            .position(|it| it == app)
            .unwrap_or_else(|| {
                self.app_names.push(app.clone());
                self.app_names.len() - 1
            });
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    /// Puts a device into the columns and the order; one with the same hash keeps its slot.
    pub(super) fn occupy(
        &mut self,
        hash: DeviceHash,
        revision: u64,
        record: Address,
        app: u16,
    ) -> Slot {
        if let Some(slot) = self.find(hash) {
            self.write(slot, hash, revision, record, app);
            return slot;
        }
        let slot = if let Some(slot) = self.free.pop() {
            self.write(slot, hash, revision, record, app);
            slot
        } else {
            self.hashes.push(hash.0);
            self.revisions.push(revision);
            self.records.push(record);
            self.apps.push(app);
            u32::try_from(self.hashes.len() - 1).unwrap_or(u32::MAX)
        };
        let hashes = &self.hashes;
        if let Some(bucket) = self.order.get_mut(Self::bucket(hash.0)) {
            let at =
                bucket.partition_point(|it| hashes.get(place(*it)).is_some_and(|h| *h < hash.0));
            bucket.insert(at, slot);
        }
        self.n_devices += 1;
        slot
    }

    fn write(&mut self, slot: Slot, hash: DeviceHash, revision: u64, record: Address, app: u16) {
        let at = place(slot);
        if let (Some(h), Some(r), Some(a), Some(p)) = (
            self.hashes.get_mut(at),
            self.revisions.get_mut(at),
            self.records.get_mut(at),
            self.apps.get_mut(at),
        ) {
            (*h, *r, *a, *p) = (hash.0, revision, record, app);
        }
    }

    /// Takes a device out of the columns and the order.
    pub(super) fn vacate(&mut self, slot: Slot) {
        let hash = self.hashes.get(place(slot)).copied().unwrap_or(0);
        if let Some(bucket) = self.order.get_mut(Self::bucket(hash)) {
            bucket.retain(|it| *it != slot);
        }
        if let Some(revision) = self.revisions.get_mut(place(slot)) {
            *revision = 0;
        }
        self.free.push(slot);
        self.n_devices -= 1;
    }

    /// Writes all records into a new arena.
    pub(super) fn compact(&mut self) {
        let mut arena = Arena::default();
        for slot in self.order.iter().flatten() {
            let Some(address) = self.records.get_mut(place(*slot)) else {
                continue;
            };
            let bytes = self.arena.from(*address);
            let len = Record::read(bytes).map_or(0, |it| it.len);
            if let Some(moved) = bytes.get(..len).and_then(|it| arena.push(it)) {
                *address = moved;
            }
        }
        self.arena = arena;
    }
}
