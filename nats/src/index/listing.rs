//! What is asked of the devices besides sending: whose they are, what is followed, who would get
//! something.

use std::collections::BTreeMap;

use super::columns::{Slot, place};
use super::{Index, Interest};
use crate::device::{AppName, DeviceId};
use crate::hash::DeviceHash;
use crate::plan::HashRange;
use crate::topic;

/// A device that an event would reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Which device.
    pub id: DeviceId,
    /// Through which app.
    pub app: AppName,
}

/// A pattern, and how many devices follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followers {
    /// The pattern as text.
    pub pattern: String,
    /// Devices; one that follows it with several filters is one.
    pub n_devices: u64,
}

impl Index {
    /// The devices of a user, by id.
    pub fn devices_of(&self, user: &str) -> Vec<DeviceId> {
        let ids = self.slots_of(user).filter_map(|it| self.id(it));
        let mut ids: Vec<DeviceId> = ids.collect();
        ids.sort_unstable();
        ids
    }

    /// Devices of a user, at most `limit`, in no order.
    pub fn hashes_of(&self, user: &str, limit: usize) -> Vec<DeviceHash> {
        let slots = self.slots_of(user).take(limit);
        let hashes = slots.filter_map(|it| self.hashes.get(place(it)));
        hashes.copied().map(DeviceHash).collect()
    }

    fn slots_of(&self, user: &str) -> impl Iterator<Item = Slot> + '_ {
        let user = topic::user_hash(user);
        let slots = self.users.iter_hash(user).copied();
        slots.filter(move |it| self.record(*it).is_some_and(|it| it.user == user))
    }

    /// The next devices in the order of the walk, from a hash on; at most `limit`.
    pub fn devices_from(&self, from: DeviceHash, limit: usize) -> Vec<DeviceId> {
        let buckets = self.order.iter().skip(Self::bucket(from.0));
        let slots = buckets.flatten().copied();
        let is_next = |it: &Slot| {
            let hash = self.hashes.get(place(*it));
            hash.is_some_and(|it| *it >= from.0)
        };
        let ids = slots.filter(is_next).filter_map(|it| self.id(it));
        ids.take(limit).collect()
    }

    /// The patterns that are followed behind `after`, in their order as texts; at most `limit`, of
    /// those that `is_wanted` takes.
    pub fn patterns(
        &self,
        after: Option<&str>,
        limit: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Vec<Followers> {
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for (pattern, n_devices) in self.subscriptions.each() {
            let is_behind = after.is_none_or(|it| it < pattern);
            let is_near = found.len() < limit
                || found
                    .last_key_value()
                    .is_some_and(|(last, _)| pattern <= *last);
            if !(is_behind && is_near && is_wanted(pattern)) {
                continue;
            }
            *found.entry(pattern).or_default() += u64::from(n_devices);
            if found.len() > limit {
                found.pop_last();
            }
        }
        let followers = found.into_iter().map(|(pattern, n)| Followers {
            n_devices: n.saturating_sub(self.subscriptions.n_repeats(pattern)),
            pattern: pattern.to_owned(),
        });
        followers.collect()
    }

    /// The patterns by which an event concerns somebody, in their order as texts.
    pub fn patterns_of(&self, interest: &Interest) -> Vec<&str> {
        let matched = interest.subscriptions.iter();
        let mut patterns: Vec<&str> = matched
            .filter_map(|it| self.subscriptions.pattern(*it))
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    /// Those whom an event would reach, in the order of the walk from a hash on; at most `limit`.
    pub fn listeners(&self, interest: &Interest, from: DeviceHash, limit: usize) -> Vec<Listener> {
        let Some(whole) = HashRange::new(0, 0) else {
            return Vec::new();
        };
        let may_reach = |it: &Slot| self.may_reach(*it);
        let found = self.gather(interest, whole, from, limit, may_reach);
        let listener = |it: Slot| {
            let app = self.apps.get(place(it)).copied()?;
            Some(Listener {
                id: self.id(it)?,
                app: self.app_names.get(usize::from(app))?.clone(),
            })
        };
        found.into_iter().filter_map(listener).collect()
    }

    fn id(&self, slot: Slot) -> Option<DeviceId> {
        DeviceId::parse_stored(self.record(slot)?.id()).ok()
    }
}
