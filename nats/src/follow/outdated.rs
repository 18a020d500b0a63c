//! Device documents that only a later version can read. A notifier that met one plans and sends
//! nothing until it is gone: the device would be left out, and nobody would know. What it has in hand
//! goes back, to notifiers of that later version. An API counts nobody meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{DeviceId, Readiness};

/// The condition of readiness that all devices can be read.
const CONDITION: &str = "schema";

/// The documents that cannot be read, and their schemas.
#[derive(Debug, Default)]
pub(super) struct Unread(BTreeMap<DeviceId, u32>);

impl Unread {
    /// Notes a document of a later version; returns whether that is news.
    pub(super) fn is_later(&mut self, id: DeviceId, schema: u32) -> bool {
        self.0.insert(id, schema) != Some(schema)
    }

    /// Notes that a device is readable, or gone; returns whether that is news.
    pub(super) fn is_read(&mut self, id: &DeviceId) -> bool {
        !self.0.is_empty() && self.0.remove(id).is_some()
    }
}

/// Whether there are any; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Outdated {
    is_it: Arc<AtomicBool>,
    readiness: Readiness,
}

impl Outdated {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self {
            is_it: Arc::default(),
            readiness,
        }
    }

    pub(super) fn is_it(&self) -> bool {
        self.is_it.load(Ordering::Acquire)
    }

    /// Takes over how it is now, and tells when it begins and ends.
    pub(super) fn tell(&self, unread: &Unread) {
        let schema = unread.0.values().max();
        let was_it = self.is_it.swap(schema.is_some(), Ordering::AcqRel);
        match schema {
            Some(schema) => {
                let n = unread.0.len();
                let why = format!(
                    "{n} devices have documents of schema {schema}, which this version cannot read: \
                     it plans and sends nothing; run the later version"
                );
                if !was_it {
                    tracing::error!(why, "a later version wrote device documents");
                }
                self.readiness.unmet(CONDITION, why);
            }
            None if was_it => {
                tracing::info!("all device documents can be read again");
                self.readiness.met(CONDITION);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unread_document_stops_it_until_the_last_is_gone() {
        let readiness = Readiness::new();
        let (outdated, mut unread) = (Outdated::new(readiness.clone()), Unread::default());
        let (one, two) = (DeviceId::parse("a").unwrap(), DeviceId::parse("b").unwrap());
        outdated.tell(&unread);
        assert!(!outdated.is_it() && readiness.conditions().is_empty());
        assert!(!unread.is_read(&one));
        assert!(unread.is_later(one.clone(), 2) && unread.is_later(two.clone(), 3));
        assert!(!unread.is_later(one.clone(), 2));
        outdated.tell(&unread);
        assert!(outdated.is_it());
        let why = readiness.waits_for().unwrap();
        assert!(
            why.contains("2 devices have documents of schema 3"),
            "{why}"
        );
        assert!(unread.is_read(&one));
        outdated.tell(&unread);
        assert!(outdated.is_it());
        assert!(unread.is_read(&two));
        outdated.tell(&unread);
        assert!(!outdated.is_it() && readiness.is_ready());
    }
}
