//! Who is owed what: what the harness itself registered, posted and served. No code of the product
//! has a part in it.

use std::collections::{BTreeMap, HashMap};

/// Why a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Gets every event posted to all.
    Crowd,
    /// Gets the events that expire soon or are never to be sent twice.
    Few,
    /// Gets the small urgent events by which waits are measured.
    Pulse,
    /// Gets every quake.
    Watcher,
    /// Gets the quakes that cross a level.
    Climber,
    /// Its provider refuses it for good: nothing of it is owed.
    Refused,
}

/// A device as the harness knows it. Times in Unix microseconds.
#[derive(Clone, Debug)]
pub struct Device {
    /// Why it is there.
    pub group: Group,
    /// When its registration was answered.
    pub since_us: i64,
    /// When its removal was asked for and answered.
    pub removed_us: Option<(i64, i64)>,
}

/// An event as the harness knows it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Which devices it is for.
    pub group: Group,
    /// When it was first asked to be stored, or shown by its feed.
    pub asked_us: i64,
    /// After this nobody may be told.
    pub expires_us: Option<i64>,
    /// Never twice, at the price of perhaps never.
    pub is_at_most_once: bool,
}

/// Everything that was registered, posted and served.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// By token.
    pub devices: HashMap<String, Device>,
    /// By title.
    pub events: BTreeMap<String, Event>,
}

/// What follows from a book.
#[derive(Debug, Default)]
pub struct Debts {
    /// Title to the tokens that must have it.
    pub must: BTreeMap<String, Vec<String>>,
    /// Pairs of them.
    pub n: u64,
}

impl Book {
    /// What is owed for certain: whoever was registered before the event was asked for, and was not
    /// asked to be removed since. Expiring events and such of at most once are owed to nobody.
    pub fn debts(&self) -> Debts {
        let mut debts = Debts::default();
        for (title, event) in &self.events {
            if event.expires_us.is_some()
                || event.is_at_most_once
                || event.group == Group::Climber
                || event.group == Group::Refused
            {
                continue;
            }
            let is_owed = |device: &Device| {
                device.group == event.group
                    && device.since_us < event.asked_us
                    && device.removed_us.is_none()
            };
            let owed = self.devices.iter().filter(|(_, it)| is_owed(it));
            let owed: Vec<String> = owed.map(|(token, _)| token.clone()).collect();
            debts.n += owed.len() as u64;
            debts.must.insert(title.clone(), owed);
        }
        debts
    }

    /// Whether a push of this title may go to this token at all.
    pub fn may(&self, title: &str, token: &str) -> bool {
        match (self.events.get(title), self.devices.get(token)) {
            (Some(event), Some(device)) => {
                device.group == event.group
                    || (device.group == Group::Refused && event.group == Group::Crowd)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(since_us: i64, removed_us: Option<(i64, i64)>) -> Device {
        Device {
            group: Group::Crowd,
            since_us,
            removed_us,
        }
    }

    #[test]
    fn owed_is_what_was_registered_before_and_not_removed() {
        let mut book = Book::default();
        let event = Event {
            group: Group::Crowd,
            asked_us: 10,
            expires_us: None,
            is_at_most_once: false,
        };
        book.events.insert("e".into(), event);
        book.devices.insert("early".into(), device(9, None));
        book.devices.insert("late".into(), device(11, None));
        book.devices.insert("gone".into(), device(1, Some((2, 3))));
        let debts = book.debts();
        assert_eq!(debts.must["e"], ["early"]);
        assert_eq!(debts.n, 1);
        assert!(book.may("e", "late") && !book.may("e", "stranger"));
    }
}
