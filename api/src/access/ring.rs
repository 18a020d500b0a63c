//! The keys as this process knows them, and how old that knowledge is.
//!
//! A ring is read by every request and replaced by one task. It says nothing once it is older than
//! [`STALE`]: a key that was taken back meanwhile would still open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fanfare_nats::key::{Key, KeySecret, Standing};
use fanfare_nats::keys::{KeyChange, KeyName};
use jiff::Timestamp;
use tokio::time::Instant;

/// For how long the keys count that were read last while the broker does not answer: longer than an
/// election (4 to 11 s), so that one refuses nobody.
pub(super) const STALE: Duration = Duration::from_secs(30);
/// How often a use of a key is noted.
const NOTE_EVERY_S: i64 = 3600;
/// Of a key that was not used, or not noted.
const NEVER: i64 = i64::MIN;

/// The keys; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring(Arc<RwLock<Arc<Seen>>>);

/// What one reading of the bucket showed.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// When the reading began that this is as new as.
    read_at: Option<Instant>,
    /// Behind what was read last.
    next: u64,
    entries: Arc<HashMap<KeyName, Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// `None` for one that this version cannot read: it is there, and opens nothing.
    key: Option<Arc<Key>>,
    usage: Arc<Usage>,
}

/// When a key was used, and when that was noted, in seconds since 1970.
#[derive(Debug)]
struct Usage {
    used: AtomicI64,
    noted: AtomicI64,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            used: AtomicI64::new(NEVER),
            noted: AtomicI64::new(NEVER),
        }
    }
}

impl Ring {
    /// The keys, unless they are too old to go by.
    pub(super) fn seen(&self, at: Instant) -> Option<Arc<Seen>> {
        let seen = self.last();
        let read_at = seen.read_at?;
        (at.saturating_duration_since(read_at) < STALE).then_some(seen)
    }

    /// The keys, however old.
    pub(super) fn last(&self) -> Arc<Seen> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what a reading showed that began at `read_at`.
    pub(super) fn replace(&self, seen: Seen) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(seen);
    }
}

impl Seen {
    /// No key was ever made, or everything of all keys was removed.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Behind what was read last.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The same, and what was changed since. `is_whole` if `changes` are everything there is.
    pub(super) fn after(
        &self,
        changes: Vec<(u64, KeyChange)>,
        is_whole: bool,
        read_at: Instant,
    ) -> Self {
        let mut next = if is_whole { 1 } else { self.next };
        let mut entries = Arc::clone(&self.entries);
        if is_whole {
            entries = Arc::default();
        }
        for (revision, change) in changes {
            next = next.max(revision + 1);
            // Copied with the first change; usually there is none.
            let entries = Arc::make_mut(&mut entries);
            match change {
                KeyChange::Put(name, key) => {
                    let known = self.entries.get(&name);
                    let usage = known.map(|it| Arc::clone(&it.usage)).unwrap_or_default();
                    let key = key.ok().map(|it| Arc::new(*it));
                    entries.insert(name, Entry { key, usage });
                }
                KeyChange::Removed(name) => {
                    entries.remove(&name);
                }
                KeyChange::Foreign => {}
            }
        }
        Self {
            read_at: Some(read_at),
            next,
            entries,
        }
    }

    /// What a key that was shown is worth, and the key if it is good.
    pub(super) fn judge(&self, shown: &KeySecret, now: Timestamp) -> (Standing, Option<Arc<Key>>) {
        let name = (shown.tenant.clone(), shown.id.clone());
        let entry = self.entries.get(&name);
        let Some(Entry {
            key: Some(key),
            usage,
        }) = entry
        else {
            return (Standing::Wrong, None);
        };
        let standing = key.judge(&shown.hash, now);
        if standing != Standing::Good {
            return (standing, None);
        }
        usage.used.store(now.as_second(), Ordering::Relaxed);
        (standing, Some(Arc::clone(key)))
    }

    /// The uses to be noted: each key's at most once an hour.
    pub(super) fn to_note(&self) -> Vec<(KeyName, Timestamp)> {
        let when = |usage: &Usage| {
            let (used, noted) = (&usage.used, &usage.noted);
            let (used, noted) = (used.load(Ordering::Relaxed), noted.load(Ordering::Relaxed));
            let is_due = used != NEVER && (noted == NEVER || used >= noted + NOTE_EVERY_S);
            is_due.then(|| Timestamp::from_second(used).ok()).flatten()
        };
        let due = self
            .entries
            .iter()
            .filter_map(|(name, it)| Some((name.clone(), when(&it.usage)?)));
        due.collect()
    }

    /// This use is noted.
    pub(super) fn noted(&self, name: &KeyName, at: Timestamp) {
        if let Some(entry) = self.entries.get(name) {
            entry.usage.noted.store(at.as_second(), Ordering::Relaxed);
        }
    }
}
