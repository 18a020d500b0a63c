//! Whose a token is: the document with the highest revision that contains it, of each tenant. What a
//! tenant registers takes no token away from another.

use super::Index;
use super::columns::{Slot, place, prefix};
use super::record::{self, Record};
use crate::device::{DeviceId, Token};
use crate::hash::DeviceHash;

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Which device.
    pub id: DeviceId,
    /// The hash of its user, as [`crate::topic::user_hash`] makes it.
    pub user: Option<u64>,
}

impl Index {
    /// The device whose token this is, among those of the tenant of `device`. One that waits for a
    /// confirmation owns none.
    pub fn owner(&self, token: &Token, device: &DeviceId) -> Option<Owner> {
        let sought = record::encode(device.as_str(), token, None, &[]);
        let sought = Record::read(&sought)?;
        let is_it = |it: &&Slot| {
            let record = self.record(**it).filter(|_| !self.lost.contains(*it));
            record.is_some_and(|it| it.has_token_of(&sought) && it.tenant() == sought.tenant())
        };
        let owner = self.tokens.iter_hash(sought.token_hash()).find(is_it);
        let record = self.record(*owner?)?;
        Some(Owner {
            id: DeviceId::parse_stored(record.id()).ok()?,
            user: Some(record.user).filter(|it| *it != 0),
        })
    }

    /// Whether a slot holds this token as its own.
    pub(super) fn owns(&self, slot: Slot, token: &Token) -> bool {
        let holds = self
            .record(slot)
            .is_some_and(|it| it.token() == token.reveal());
        holds && !self.lost.contains(&slot)
    }

    /// Enters a slot's token and user into their tables; the token is its own, because its document
    /// is the latest. Returns whether other devices have the token too.
    pub(super) fn attach(&mut self, slot: Slot) -> bool {
        let Some(record) = self.record(slot) else {
            return false;
        };
        let (token_hash, user) = (record.token_hash(), record.user);
        let rivals = self.with_token_of(slot);
        self.lost.extend(rivals.iter().copied());
        let Self {
            tokens,
            users,
            records,
            arena,
            ..
        } = self;
        let read = |slot: &Slot| {
            records
                .get(place(*slot))
                .and_then(|it| Record::read(arena.from(*it)))
        };
        tokens.insert_unique(token_hash, slot, |it| {
            read(it).map_or(0, |it| it.token_hash())
        });
        if user != 0 {
            users.insert_unique(user, slot, |it| read(it).map_or(0, |it| it.user));
        }
        !rivals.is_empty()
    }

    /// Notes that a slot's token is not its own, and is nobody's because of it: it stands in no table.
    pub(super) fn hold(&mut self, slot: Slot) {
        self.lost.insert(slot);
        self.pending.insert(slot);
    }

    /// Other slots of the same tenant with the same token.
    fn with_token_of(&self, slot: Slot) -> Vec<Slot> {
        let Some(record) = self.record(slot) else {
            return Vec::new();
        };
        let is_same = |it: &&Slot| {
            let rival = self.record(**it).filter(|_| **it != slot);
            rival.is_some_and(|it| it.has_token_of(&record) && it.tenant() == record.tenant())
        };
        self.tokens
            .iter_hash(record.token_hash())
            .filter(is_same)
            .copied()
            .collect()
    }

    /// Takes a slot's record out of the tables and gives its token to whoever owns it then.
    pub(super) fn detach(&mut self, slot: Slot, revision: u64) {
        let heirs = self.with_token_of(slot);
        let owned = !self.lost.remove(&slot);
        self.moved.remove(&slot);
        self.pending.remove(&slot);
        if owned && let Some(heir) = heirs.into_iter().max_by_key(|it| self.revision(*it)) {
            self.lost.remove(&heir);
            self.moved.insert(heir, revision);
        }
        let Some(record) = self.record(slot) else {
            return;
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
    }
}
