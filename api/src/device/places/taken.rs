//! Places that are taken and that the devices in memory may not know of yet. Pure.

use std::collections::{HashMap, VecDeque};

use fanfare_nats::DeviceHash;

/// By user, as he is stored. It is as large as what this process has under way, and what it stored since
/// the revision that the devices in memory have reached.
#[derive(Debug, Default)]
pub(super) struct Taken {
    of: HashMap<String, Vec<Entry>>,
    /// What is stored, in about the order of revisions.
    stored: VecDeque<Stored>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    device: DeviceHash,
}

#[derive(Debug)]
struct Stored {
    revision: u64,
    user: String,
    ticket: u64,
}

impl Taken {
    /// Takes a place; tickets count up.
    pub(super) fn enter(&mut self, user: &str, device: DeviceHash) -> u64 {
        let ticket = self.next;
        self.next += 1;
        let entry = Entry { ticket, device };
        self.of.entry(user.to_owned()).or_default().push(entry);
        ticket
    }

    /// A user's devices that took their places before a ticket: of two that want the last place the
    /// first one gets it.
    pub(super) fn before(&self, user: &str, ticket: u64) -> impl Iterator<Item = DeviceHash> {
        let entries = self.of.get(user).into_iter().flatten();
        entries
            .filter(move |it| it.ticket < ticket)
            .map(|it| it.device)
    }

    /// Gives a place up, or keeps it for what was stored.
    pub(super) fn leave(&mut self, user: &str, ticket: u64, revision: Option<u64>) {
        match revision {
            None => self.end(user, ticket),
            Some(revision) => self.stored.push_back(Stored {
                revision,
                user: user.to_owned(),
                ticket,
            }),
        }
    }

    /// Forgets what the devices in memory contain; everything that is stored where there are none.
    pub(super) fn forget(&mut self, reached: Option<u64>) {
        let is_known = |it: &mut Stored| reached.is_none_or(|reached| it.revision <= reached);
        while let Some(stored) = self.stored.pop_front_if(is_known) {
            self.end(&stored.user, stored.ticket);
        }
    }

    fn end(&mut self, user: &str, ticket: u64) {
        let Some(entries) = self.of.get_mut(user) else {
            return;
        };
        entries.retain(|it| it.ticket != ticket);
        if entries.is_empty() {
            self.of.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "ada";

    fn before(taken: &Taken, ticket: u64) -> Vec<u64> {
        taken.before(ADA, ticket).map(|it| it.0).collect()
    }

    #[test]
    fn who_came_first_is_counted_by_who_comes_later_and_not_the_other_way() {
        let mut taken = Taken::default();
        let first = taken.enter(ADA, DeviceHash(1));
        let others = taken.enter("bob", DeviceHash(2));
        let second = taken.enter(ADA, DeviceHash(3));
        assert!(before(&taken, first).is_empty());
        assert_eq!(before(&taken, second), [1]);
        assert_eq!(taken.before("bob", others).count(), 0);
        taken.leave(ADA, first, None);
        assert!(before(&taken, second).is_empty());
    }

    #[test]
    fn what_is_stored_is_counted_until_it_is_known_elsewhere_and_then_nothing_is_left() {
        let mut taken = Taken::default();
        for (device, revision) in [(1, 7), (2, 9)] {
            let ticket = taken.enter(ADA, DeviceHash(device));
            taken.leave(ADA, ticket, Some(revision));
        }
        let last = taken.enter(ADA, DeviceHash(3));
        taken.forget(Some(6));
        assert_eq!(before(&taken, last), [1, 2]);
        taken.forget(Some(8));
        assert_eq!(before(&taken, last), [2]);
        taken.forget(None);
        assert!(before(&taken, last).is_empty());
        taken.leave(ADA, last, None);
        assert!(taken.of.is_empty() && taken.stored.is_empty(), "{taken:?}");
    }
}
