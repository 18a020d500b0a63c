//! What was already there when a source was read for the first time.
//!
//! All fetchers agree on *one* such record, created once (`baseline.<source>` in the control
//! bucket); the loser of the race reads the winner's. One per fetcher would be wrong: it would
//! silence what appeared between two fetchers' first snapshots.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare_nats::Level;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Most bytes of the record: the broker's default limit of a message is 1 MiB.
pub const MAX_BYTES: usize = 900_000;

/// Group of the items known by distinct field values.
const FIELDS: &str = "fields";

/// The items that are silent until their level rises: a 64-bit hash per item and level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    at: Timestamp,
    /// Level → sorted hashes of items; field values share one group, hashed together with the
    /// item.
    groups: BTreeMap<String, Vec<u64>>,
}

/// Why a baseline cannot be used.
#[derive(Debug, Error)]
pub enum BaselineError {
    /// The first document is too large to be remembered as one record.
    #[error(
        "the baseline of {n_items} items needs {n_bytes} bytes, more than {MAX_BYTES}: narrow the source with `when`, or split it"
    )]
    TooLarge {
        /// How many items there are.
        n_items: usize,
        /// How large their record would be.
        n_bytes: usize,
    },
    /// The record is not one of ours.
    #[error("the stored baseline cannot be read; deleting its key makes the fetchers agree anew")]
    Unreadable,
}

/// The record as it is stored.
#[derive(Deserialize, Serialize)]
struct Wire {
    v: u8,
    at: Timestamp,
    n_items: usize,
    groups: BTreeMap<String, String>,
}

impl Baseline {
    /// The baseline of these items and levels.
    pub fn of<'a>(seen: impl IntoIterator<Item = (&'a str, &'a Level)>, at: Timestamp) -> Self {
        let mut groups: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (item, level) in seen {
            let (group, hash) = place(item, level);
            groups.entry(group).or_default().push(hash);
        }
        for hashes in groups.values_mut() {
            hashes.sort_unstable();
            hashes.dedup();
        }
        Self { at, groups }
    }

    /// True when the item was there at this level or above, or by a policy of another kind.
    pub fn silences(&self, item: &str, level: &Level) -> bool {
        let (_, plain) = place(item, &Level::First);
        match level {
            Level::First => self
                .groups
                .iter()
                .any(|(group, hashes)| group != FIELDS && hashes.binary_search(&plain).is_ok()),
            Level::Step(_) => self.groups.iter().any(|(group, hashes)| {
                Level::parse(group).is_some_and(|known| !level.is_higher_than(&known))
                    && hashes.binary_search(&plain).is_ok()
            }),
            Level::Fields(_) => {
                let (group, hash) = place(item, level);
                self.groups
                    .get(&group)
                    .is_some_and(|hashes| hashes.binary_search(&hash).is_ok())
            }
        }
    }

    /// How many items and levels it holds.
    pub fn len(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    /// True when nothing was there.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// When it was made.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The record to store.
    ///
    /// # Errors
    /// [`BaselineError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, BaselineError> {
        let groups = self.groups.iter().map(|(group, hashes)| {
            let bytes: Vec<u8> = hashes.iter().flat_map(|it| it.to_be_bytes()).collect();
            (group.clone(), STANDARD.encode(bytes))
        });
        let wire = Wire {
            v: 1,
            at: self.at,
            n_items: self.len(),
            groups: groups.collect(),
        };
        let bytes = serde_json::to_vec(&wire).map_err(|_| BaselineError::Unreadable)?;
        if bytes.len() > MAX_BYTES {
            return Err(BaselineError::TooLarge {
                n_items: self.len(),
                n_bytes: bytes.len(),
            });
        }
        Ok(bytes)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`BaselineError::Unreadable`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BaselineError> {
        let unreadable = |_| BaselineError::Unreadable;
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_| BaselineError::Unreadable)?;
        if wire.v != 1 {
            return Err(BaselineError::Unreadable);
        }
        let mut groups = BTreeMap::new();
        for (group, text) in wire.groups {
            let bytes = STANDARD.decode(text).map_err(unreadable)?;
            let (hashes, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(BaselineError::Unreadable);
            }
            let mut hashes: Vec<u64> = hashes.iter().map(|it| u64::from_be_bytes(*it)).collect();
            hashes.sort_unstable();
            groups.insert(group, hashes);
        }
        Ok(Self {
            at: wire.at,
            groups,
        })
    }
}

/// The group of a level, and the hash that stands in it.
fn place(item: &str, level: &Level) -> (String, u64) {
    let mut hasher = Sha256::new();
    hasher.update(item.as_bytes());
    let group = match level {
        Level::First | Level::Step(_) => level.to_string(),
        Level::Fields(digits) => {
            hasher.update([0]);
            hasher.update(digits.as_bytes());
            FIELDS.to_owned()
        }
    };
    let digest: [u8; 32] = hasher.finalize().into();
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    (group, u64::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(items in proptest::collection::btree_set("[a-z]{1,9}", 0..50)) {
            let step = Level::Step(4.5);
            let baseline = Baseline::of(items.iter().map(|it| (it.as_str(), &step)), noon());
            let read = Baseline::decode(&baseline.encode().unwrap()).unwrap();
            prop_assert_eq!(read.len(), items.len());
            prop_assert!(items.iter().all(|it| read.silences(it, &step)));
            prop_assert!(items.iter().all(|it| !read.silences(it, &Level::Step(6.0))));
            prop_assert_eq!(read, baseline);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Baseline::decode(&bytes).is_err());
        }
    }

    #[test]
    fn an_item_is_silent_at_and_below_the_level_it_was_seen_at() {
        let baseline = Baseline::of([("a", &Level::Step(6.0))], noon());
        assert!(baseline.silences("a", &Level::Step(4.5)));
        assert!(baseline.silences("a", &Level::Step(6.0)));
        assert!(!baseline.silences("a", &Level::Step(7.0)));
        assert!(!baseline.silences("b", &Level::Step(4.5)));
    }

    #[test]
    fn other_field_values_of_a_known_item_are_news() {
        let (old, new) = (Level::of_fields(&["Watch"]), Level::of_fields(&["Warning"]));
        let baseline = Baseline::of([("a", &old)], noon());
        assert!(baseline.silences("a", &old));
        assert!(!baseline.silences("a", &new));
        assert!(!baseline.silences("b", &old));
    }

    #[test]
    fn a_baseline_beyond_one_record_is_refused_with_its_size() {
        let ids: Vec<String> = (0..90_000).map(|n| format!("item-{n}")).collect();
        let baseline = Baseline::of(ids.iter().map(|it| (it.as_str(), &Level::First)), noon());
        let error = baseline.encode().unwrap_err().to_string();
        assert!(error.contains("90000 items"), "{error}");
        let baseline = Baseline::of(
            ids[..80_000].iter().map(|it| (it.as_str(), &Level::First)),
            noon(),
        );
        assert!(baseline.encode().is_ok());
    }
}
