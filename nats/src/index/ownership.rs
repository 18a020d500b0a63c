//! Whose a token is: what `device/holding.rs` says of all documents that contain it.

use super::Index;
use super::columns::{Slot, place, prefix};
use super::record::{self, Record};
use crate::device::holding::{self, Contender, Standing};
use crate::device::{Device, DeviceId, Token};
use crate::hash::DeviceHash;
use crate::topic;

impl Index {
    /// Whether a document would be sent nothing as it is, because its token is somebody else's: then
    /// whoever holds the token has to confirm it.
    pub fn must_be_confirmed(&self, id: &DeviceId, device: &Device) -> bool {
        let user = device.user.as_deref().map(topic::user_hash);
        let record = record::encode(id.as_str(), &device.token, user, device.holding, &[]);
        let Some(record) = Record::read(&record) else {
            return false;
        };
        let own = self.find(id.hash());
        let rivals = self.with_token_of(&record, own);
        let mut contenders: Vec<Contender<'_>> = rivals
            .into_iter()
            .filter_map(|it| self.contender(it))
            .collect();
        if contenders.is_empty() {
            return false;
        }
        contenders.push(contender(&record, u64::MAX));
        holding::judge(&contenders).last() != Some(&Standing::Owned)
    }

    /// Devices that are sent nothing because their token is somebody else's, and that were not
    /// challenged for it: whoever took them in did not know yet. At most `limit`, in no order.
    pub fn contested(&self, limit: usize) -> Vec<DeviceId> {
        let ids = self.contested.iter().filter_map(|it| self.record(*it));
        ids.filter_map(|it| DeviceId::parse_stored(it.id()).ok())
            .take(limit)
            .collect()
    }

    /// Whether a slot's document, which does not wait, contains this token.
    pub(super) fn has_token(&self, slot: Slot, token: &Token) -> bool {
        let record = self.record(slot).filter(|_| !self.pending.contains(&slot));
        record.is_some_and(|it| it.token() == token.reveal())
    }

    /// Enters a slot's user into the table.
    pub(super) fn enter_user(&mut self, slot: Slot) {
        let user = self.record(slot).map_or(0, |it| it.user);
        if user == 0 {
            return;
        }
        let Self {
            users,
            records,
            arena,
            ..
        } = self;
        users.insert_unique(user, slot, |slot| {
            let record = records
                .get(place(*slot))
                .and_then(|it| Record::read(arena.from(*it)));
            record.map_or(0, |it| it.user)
        });
    }

    /// Enters a slot's token into the table, and says anew whose it is. `had_it` if the document before
    /// contained it too.
    pub(super) fn attach(&mut self, slot: Slot, had_it: bool, revision: u64) {
        let Some(record) = self.record(slot) else {
            return;
        };
        let token_hash = record.token_hash();
        let mut group = self.with_token_of(&record, Some(slot));
        let is_of_tenant = |it: Record<'_>| it.tenant() == record.tenant();
        let has_rivals = group
            .iter()
            .any(|it| self.record(*it).is_some_and(is_of_tenant));
        if has_rivals && !had_it {
            self.lost.insert(slot); // Until it is settled: what it owns then came from another.
        }
        let Self {
            tokens,
            records,
            arena,
            ..
        } = self;
        tokens.insert_unique(token_hash, slot, |slot| {
            let record = records
                .get(place(*slot))
                .and_then(|it| Record::read(arena.from(*it)));
            record.map_or(0, |it| it.token_hash())
        });
        group.push(slot);
        self.settle(&group, revision);
    }

    /// Notes that a slot's token is not its own, and is nobody's because of it: it stands in no table.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.lost.insert(slot);
        self.pending.insert(slot);
    }

    /// Says anew whose a token is, of all slots that have it.
    pub(super) fn settle(&mut self, group: &[Slot], revision: u64) {
        if let [alone] = group {
            // As nearly all are: a million of them are loaded.
            self.stands(*alone, Standing::Owned, revision);
            return;
        }
        let contenders: Vec<(Slot, Contender<'_>)> = group
            .iter()
            .filter_map(|it| Some((*it, self.contender(*it)?)))
            .collect();
        let (slots, contenders): (Vec<Slot>, Vec<Contender<'_>>) = contenders.into_iter().unzip();
        let standings = holding::judge(&contenders);
        for (slot, standing) in slots.into_iter().zip(standings) {
            self.stands(slot, standing, revision);
        }
    }

    fn stands(&mut self, slot: Slot, standing: Standing, revision: u64) {
        if standing == Standing::Contested {
            self.contested.insert(slot);
        } else {
            self.contested.remove(&slot);
        }
        if standing != Standing::Owned {
            self.lost.insert(slot);
            self.moved.remove(&slot);
        } else if self.lost.remove(&slot) {
            self.moved.insert(slot, revision);
        }
    }

    fn contender(&self, slot: Slot) -> Option<Contender<'_>> {
        Some(contender(&self.record(slot)?, self.revision(slot)))
    }

    /// Slots with this record's token, but for one.
    fn with_token_of(&self, record: &Record<'_>, but: Option<Slot>) -> Vec<Slot> {
        let is_it = |it: &&Slot| {
            let other = self.record(**it).filter(|_| Some(**it) != but);
            other.is_some_and(|it| it.has_token_of(record))
        };
        let slots = self.tokens.iter_hash(record.token_hash());
        slots.filter(is_it).copied().collect()
    }

    /// Takes a slot's record out of the tables; returns the others that have its token, of which it is
    /// to be settled anew whose it is.
    pub(super) fn detach(&mut self, slot: Slot) -> Vec<Slot> {
        let is_pending = self.pending.remove(&slot);
        let Some(record) = self.record(slot) else {
            return Vec::new();
        };
        let others = if is_pending {
            Vec::new()
        } else {
            self.with_token_of(&record, Some(slot))
        };
        let (token_hash, user, len) = (record.token_hash(), record.user, record.len);
        let numbers: Vec<u32> = record.subscriptions().collect();
        let prefix = prefix(DeviceHash(
            self.hashes.get(place(slot)).copied().unwrap_or(0),
        ));
        if let Ok(entry) = self.tokens.find_entry(token_hash, |it| *it == slot) {
            entry.remove();
        }
        if user != 0
            && let Ok(entry) = self.users.find_entry(user, |it| *it == slot)
        {
            entry.remove();
        }
        self.subscriptions.forget_repeats(&numbers);
        for number in numbers {
            let is_shared = self.with_prefix(prefix).any(|it| {
                it != slot
                    && self
                        .record(it)
                        .is_some_and(|it| it.subscriptions().any(|n| n == number))
            });
            self.subscriptions.remove(number, prefix, is_shared);
        }
        self.arena.abandon(len);
        others
    }

    /// Forgets what was known of a slot's token.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.lost.remove(&slot);
        self.contested.remove(&slot);
        self.moved.remove(&slot);
    }
}

fn contender<'a>(record: &Record<'a>, revision: u64) -> Contender<'a> {
    let holding = record.holding;
    Contender {
        tenant: record.tenant(),
        user: record.user,
        since: holding.at(revision).since.unwrap_or(revision),
        revision,
        is_proven: holding.is_proven,
    }
}
