//! Whom an event concerns: counted for the plan, walked by a task, looked up when its turn comes.

use serde_json::{Map, Value};

use super::Index;
use super::columns::{Slot, place, prefix};
use super::record::Record;
use crate::device::{AppName, DeviceId};
use crate::event::Event;
use crate::hash::DeviceHash;
use crate::plan::HashRange;
use crate::topic::{self, RESERVED, Topic};

/// Whom an event concerns, against one generation of the subscriptions.
#[derive(Clone, Debug)]
pub struct Interest {
    generation: u64,
    pub(super) subscriptions: Vec<u32>,
    devices: Vec<DeviceHash>,
    users: Vec<u64>,
    /// Whose tokens are challenged.
    challenged: Vec<DeviceHash>,
}

/// A device to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub id: String,
    /// Its token. A secret.
    pub token: String,
    /// Revision of its document.
    pub revision: u64,
}

/// A device on the walk, and where it stood when it was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Which device.
    pub device: DeviceHash,
    slot: Slot,
}

impl Step {
    /// A device that was not come by on a walk.
    pub fn to(device: DeviceHash) -> Self {
        Self {
            device,
            slot: Slot::MAX,
        }
    }
}

/// Why a device gets nothing when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// There is no such device any more.
    Gone,
    /// It belongs to another app.
    OtherApp,
    /// It follows the event's topics no longer.
    Unsubscribed,
    /// Its token is another device's.
    TokenLost,
    /// Its token came from another device after the plan, which may have been sent to.
    TokenMoved,
}

impl Dropped {
    /// The reason in a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::OtherApp => "other_app",
            Self::Unsubscribed => "unsubscribed",
            Self::TokenLost => "token_lost",
            Self::TokenMoved => "token_moved",
        }
    }
}

impl Index {
    /// Whom an event concerns.
    pub fn interest(&self, event: &Event) -> Interest {
        self.interest_in(&event.topics, &event.content.data)
    }

    /// Whom an event with these topics and data concerns.
    pub fn interest_in(&self, topics: &[Topic], data: &Map<String, Value>) -> Interest {
        let mut interest = Interest {
            generation: self.subscriptions.generation,
            subscriptions: self.subscriptions.matching(topics, data),
            devices: Vec::new(),
            users: Vec::new(),
            challenged: Vec::new(),
        };
        for topic in topics.iter().filter(|it| it.is_reserved()) {
            interest.add_reserved(topic);
        }
        interest
    }

    /// The same, again, if subscriptions have begun or ceased since.
    pub fn refresh(&self, interest: &mut Interest, event: &Event) {
        if interest.generation != self.subscriptions.generation {
            *interest = self.interest(event);
        }
    }

    /// The audience, counted per app.
    pub fn count(&self, interest: &Interest) -> Vec<(AppName, u64)> {
        let mut counts = vec![0_u64; self.app_names.len()];
        let mut count = |slot: Slot| {
            let app = self.apps.get(place(slot)).copied().unwrap_or(u16::MAX);
            if let Some(n) = counts.get_mut(usize::from(app)) {
                *n += 1;
            }
        };
        let whole = HashRange::new(0, 0);
        if self.concerns_many(interest) {
            // Most are concerned: one pass over all is cheaper than a look-up for each.
            for slot in self.order.iter().flatten() {
                if self.concerns(*slot, interest) && self.may_reach(*slot) {
                    count(*slot);
                }
            }
        } else if let Some(whole) = whole {
            for slot in self.candidates(interest, whole, DeviceHash(0), usize::MAX) {
                if self.may_reach(slot) {
                    count(slot);
                }
            }
        }
        self.app_names.iter().cloned().zip(counts).collect()
    }

    /// The next devices of an app in a range, from a hash on, in the order of the walk: at most
    /// `limit`; fewer mean that the range has ended.
    pub fn walk(
        &self,
        interest: &Interest,
        app: &AppName,
        range: HashRange,
        from: DeviceHash,
        limit: usize,
    ) -> Vec<Step> {
        let Some(app) = self.app_names.iter().position(|it| it == app) else {
            return Vec::new();
        };
        let is_mine = |slot: &Slot| {
            self.apps
                .get(place(*slot))
                .is_some_and(|it| usize::from(*it) == app)
        };
        let step = |slot: Slot| {
            let device = DeviceHash(self.hashes.get(place(slot)).copied()?);
            Some(Step { device, slot })
        };
        let from = from.max(range.first());
        let found = self.gather(interest, range, from, limit, is_mine);
        found.into_iter().filter_map(step).collect()
    }

    /// What to send to when a device's turn has come.
    ///
    /// # Errors
    /// [`Dropped`] says why it gets nothing.
    pub fn target(
        &self,
        interest: &Interest,
        app: &AppName,
        step: Step,
        plan_revision: u64,
    ) -> Result<Target, Dropped> {
        let hash = step.device;
        // The slot is still the device's unless devices came and went since the walk.
        let is_here =
            self.hashes.get(place(step.slot)) == Some(&hash.0) && self.is_taken(step.slot);
        let found = if is_here {
            Some(step.slot)
        } else {
            self.find(hash)
        };
        let slot = found.ok_or(Dropped::Gone)?;
        let record = self.record(slot).ok_or(Dropped::Gone)?;
        let number = self.apps.get(place(slot)).copied().map(usize::from);
        if number.and_then(|it| self.app_names.get(it)) != Some(app) {
            return Err(Dropped::OtherApp);
        }
        if !self.is_concerned(slot, &record, hash, interest) {
            return Err(Dropped::Unsubscribed);
        }
        if !self.may_reach(slot) {
            return Err(Dropped::TokenLost);
        }
        if self.moved.get(&slot).is_some_and(|it| *it > plan_revision) {
            return Err(Dropped::TokenMoved);
        }
        Ok(Target {
            id: record.id().to_owned(),
            token: record.token(),
            revision: self.revision(slot),
        })
    }

    /// The id of the device with this hash.
    pub fn device_id(&self, hash: DeviceHash) -> Option<DeviceId> {
        let record = self.record(self.find(hash)?)?;
        DeviceId::parse_stored(record.id()).ok()
    }
}

impl Interest {
    fn concerns(&self, record: &Record<'_>, hash: DeviceHash) -> bool {
        record.subscriptions().any(|it| self.has(it))
            || self.devices.contains(&hash)
            || (record.user != 0 && self.users.contains(&record.user))
    }

    fn add_reserved(&mut self, topic: &Topic) {
        let (tenant, written) = (topic.tenant(), topic.written());
        match written.as_str().split('.').collect::<Vec<_>>().as_slice() {
            [RESERVED, "device", id] => {
                self.devices
                    .extend(tenant.device_id(id).map(|it| it.hash()));
            }
            [RESERVED, "challenge", id] => {
                self.challenged
                    .extend(tenant.device_id(id).map(|it| it.hash()));
            }
            [RESERVED, "user", hash] => {
                let named = DeviceHash::parse(hash);
                self.users
                    .extend(named.map(|it| topic::addressed_user(&tenant, it)));
            }
            _ => {}
        }
    }

    fn has(&self, subscription: u32) -> bool {
        self.subscriptions.binary_search(&subscription).is_ok()
    }
}

/// Looking through the columns.
impl Index {
    /// Whether an event concerns a device.
    fn concerns(&self, slot: Slot, interest: &Interest) -> bool {
        let hash = self.hashes.get(place(slot)).copied().unwrap_or(0);
        self.record(slot)
            .is_some_and(|it| self.is_concerned(slot, &it, DeviceHash(hash), interest))
    }

    /// The same of what is looked up already. A challenge concerns a pending device alone, and nothing
    /// else does.
    fn is_concerned(
        &self,
        slot: Slot,
        record: &Record<'_>,
        hash: DeviceHash,
        interest: &Interest,
    ) -> bool {
        if self.pending.contains(&slot) {
            interest.challenged.contains(&hash)
        } else {
            interest.concerns(record, hash)
        }
    }

    /// Whether a device that is concerned may be sent to: its token is its own, or challenged.
    pub(super) fn may_reach(&self, slot: Slot) -> bool {
        !self.lost.contains(&slot) || self.pending.contains(&slot)
    }

    /// Whether looking at every device is cheaper than looking up the concerned ones.
    fn concerns_many(&self, interest: &Interest) -> bool {
        let listed: u64 = interest
            .subscriptions
            .iter()
            .map(|it| u64::from(self.subscriptions.n_devices(*it)))
            .sum();
        listed * 8 > u64::try_from(self.n_devices).unwrap_or(u64::MAX)
    }

    /// The same as [`Index::candidates`], by looking at every device of the range.
    fn candidates_one_by_one(
        &self,
        interest: &Interest,
        range: HashRange,
        from: DeviceHash,
        limit: usize,
    ) -> Vec<Slot> {
        let hash = |slot: &Slot| self.hashes.get(place(*slot)).copied().unwrap_or(0);
        let (first, last) = (Self::bucket(from.0), Self::bucket(range.last().0));
        let mut found = Vec::new();
        for at in first..=last {
            let bucket = self.order.get(at).map_or(&[][..], Vec::as_slice);
            let begin = if at == first {
                bucket.partition_point(|slot| hash(slot) < from.0)
            } else {
                0
            };
            for slot in bucket.get(begin..).unwrap_or(&[]) {
                if found.len() >= limit || hash(slot) > range.last().0 {
                    return found;
                }
                if self.concerns(*slot, interest) {
                    found.push(*slot);
                }
            }
        }
        found
    }

    /// Concerned slots of a range that are wanted, from a hash on, in order; at most `limit`, and
    /// fewer only at the range's end.
    pub(super) fn gather(
        &self,
        interest: &Interest,
        range: HashRange,
        mut from: DeviceHash,
        limit: usize,
        is_wanted: impl Fn(&Slot) -> bool,
    ) -> Vec<Slot> {
        let mut found: Vec<Slot> = Vec::new();
        loop {
            let candidates = self.candidates(interest, range, from, limit.max(64));
            let n_candidates = candidates.len();
            let last = candidates.last().and_then(|it| self.hashes.get(place(*it)));
            let next = last.and_then(|it| it.checked_add(1));
            found.extend(candidates.into_iter().filter(&is_wanted));
            match next {
                Some(next) if n_candidates >= limit.max(64) && found.len() < limit => {
                    from = DeviceHash(next);
                }
                Some(_) | None => break,
            }
        }
        found.truncate(limit);
        found
    }

    /// Concerned slots of a range, from a hash on, in order; at most `limit`.
    fn candidates(
        &self,
        interest: &Interest,
        range: HashRange,
        from: DeviceHash,
        limit: usize,
    ) -> Vec<Slot> {
        if from > range.last() {
            return Vec::new(); // The bitmaps' ranges panic where the end is before the beginning.
        }
        if self.concerns_many(interest) {
            return self.candidates_one_by_one(interest, range, from, limit);
        }
        let (first, last) = (prefix(from), prefix(range.last()));
        let mut prefixes: Vec<u32> = interest
            .subscriptions
            .iter()
            .filter_map(|it| self.subscriptions.devices(*it))
            // One more: the first prefix may hold only hashes below `from`.
            .flat_map(|it| it.range(first..=last).take(limit.saturating_add(1)))
            .collect();
        let named = interest.devices.iter().chain(&interest.challenged);
        prefixes.extend(named.map(|it| prefix(*it)));
        for user in &interest.users {
            let slots = self.users.iter_hash(*user);
            let hashes = slots.filter_map(|it| self.hashes.get(place(*it)));
            prefixes.extend(hashes.map(|it| prefix(DeviceHash(*it))));
        }
        prefixes.retain(|it| (first..=last).contains(it));
        prefixes.sort_unstable();
        prefixes.dedup();
        let hash = |slot: &Slot| self.hashes.get(place(*slot)).copied().unwrap_or(0);
        prefixes
            .into_iter()
            .flat_map(|it| self.with_prefix(it))
            .filter(|slot| (from.0..=range.last().0).contains(&hash(slot)))
            .filter(|slot| self.concerns(*slot, interest))
            .take(limit)
            .collect()
    }
}
