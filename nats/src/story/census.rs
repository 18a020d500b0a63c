//! The device documents as they stand now, as far as judging needs them: no token, no index.
//!
//! They are read once and then asked for every event: about 300 bytes a device at the peak
//! (measured with 200,000 of three-dozen-character ids, an event for all of them being judged).

use std::collections::{HashMap, HashSet};

use super::matching::{self, Addressed};
use crate::device::holding::{self, Contender, Standing};
use crate::device::{AppName, Device, DeviceId, Subscription};
use crate::event::Event;
use crate::feed::Change;
use crate::hash::{DeviceHash, digest};
use crate::tenant;

/// One device. Hashes instead of token and user: they are compared, never shown.
#[derive(Clone, Copy, Debug)]
struct Row {
    hash: DeviceHash,
    revision: u64,
    token: u64,
    user: Option<u64>,
    /// Since when it has its token.
    since: u64,
    interests: (u32, u32),
    id: (u32, u32),
    app: u16,
    is_proven: bool,
    /// Its token is not its own yet: only a challenge reaches it.
    is_pending: bool,
}

/// Documents while they are being read.
#[derive(Debug, Default)]
pub struct Draft {
    rows: Vec<Row>,
    removed: Vec<(DeviceHash, u64)>,
    ids: String,
    interests: Vec<u32>,
    distinct: Vec<Subscription>,
    numbers: HashMap<String, u32>,
    apps: Vec<AppName>,
}

/// All documents, in the order of device hashes.
#[derive(Debug)]
pub struct Census {
    draft: Draft,
    /// The highest revision of each token.
    latest: HashMap<u64, u64>,
    /// Places of those whose token is another's.
    lost: HashSet<u32>,
}

/// A device that an event was owed to, as its document says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// Where it stands in the order of tasks.
    pub hash: DeviceHash,
    /// Number of its app in [`Census::apps`].
    pub app: u16,
    /// Its place in the census.
    pub place: usize,
    /// A document that was written after the plan has the same token: whose it was is not known.
    pub is_shared: bool,
}

/// Whom an event was owed to, and how many could not be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Debts {
    /// Everyone owed, in the order of hashes.
    pub owed: Vec<Owed>,
    /// Documents with a revision up to the plan's.
    pub n_judged: u64,
    /// Documents that were written or removed after it.
    pub n_changed: u64,
}

impl Draft {
    /// Takes a document in, in any order; of several of one device the latest counts.
    pub fn note(&mut self, change: &Change, revision: u64) {
        match change {
            Change::Put(id, device) => self.put(id, device, revision),
            Change::Removed(id) => self.removed.push((id.hash(), revision)),
            Change::Later(..) | Change::Other => {}
        }
    }

    /// Number of documents so far.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn put(&mut self, id: &DeviceId, device: &Device, revision: u64) {
        let from = small(self.interests.len());
        for subscription in &device.subscriptions {
            let number = self.number(subscription);
            self.interests.push(number);
        }
        let id_from = small(self.ids.len());
        self.ids.push_str(id.as_str());
        let app = self.app(&device.app);
        self.rows.push(Row {
            hash: id.hash(),
            revision,
            token: token_hash(device.token.reveal()),
            user: device.user.as_deref().map(matching::user_hash),
            since: device.holding.at(revision).since.unwrap_or(revision),
            interests: (from, small(self.interests.len())),
            id: (id_from, small(self.ids.len())),
            app,
            is_proven: device.holding.is_proven,
            is_pending: device.pending.is_some(),
        });
    }

    fn number(&mut self, subscription: &Subscription) -> u32 {
        let mut key = subscription.pattern.to_string();
        if !subscription.filters.is_empty() {
            key.push(' ');
            key.push_str(&serde_json::to_string(&subscription.filters).unwrap_or_default());
        }
        let next = small(self.distinct.len());
        let distinct = &mut self.distinct;
        *self.numbers.entry(key).or_insert_with(|| {
            distinct.push(subscription.clone());
            next
        })
    }

    fn app(&mut self, app: &AppName) -> u16 {
        let place = self.apps.iter().position(|it| it == app);
        let place = place.unwrap_or_else(|| {
            self.apps.push(app.clone());
            self.apps.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    fn contender(&self, row: &Row) -> Contender<'_> {
        let id = self.ids.get(large(row.id.0)..large(row.id.1));
        Contender {
            tenant: tenant::split_id(id.unwrap_or("")).0,
            user: row.user.unwrap_or(0),
            since: row.since,
            revision: row.revision,
            is_proven: row.is_proven,
        }
    }

    /// The places of those whose token is another's, and the highest revision of each token.
    fn lost(&self) -> (HashSet<u32>, HashMap<u64, u64>) {
        let mut latest: HashMap<u64, u64> = HashMap::with_capacity(self.rows.len());
        let mut shared: HashMap<u64, Vec<u32>> = HashMap::new();
        for row in &self.rows {
            let before = latest.get(&row.token).copied();
            if before.is_some() {
                shared.entry(row.token).or_default();
            }
            latest.insert(row.token, row.revision.max(before.unwrap_or(0)));
        }
        for (place, row) in self.rows.iter().enumerate() {
            if let Some(places) = shared.get_mut(&row.token) {
                places.push(small(place));
            }
        }
        let mut lost = HashSet::new();
        for places in shared.into_values() {
            let rows = places.iter().filter_map(|it| self.rows.get(large(*it)));
            let contenders: Vec<Contender<'_>> = rows.map(|it| self.contender(it)).collect();
            let standings = holding::judge(&contenders);
            let others = places.into_iter().zip(standings);
            lost.extend(others.filter_map(|(place, it)| (it != Standing::Owned).then_some(place)));
        }
        (lost, latest)
    }

    /// The census, when everything was read.
    pub fn sealed(mut self) -> Census {
        self.numbers = HashMap::new();
        let removed: HashMap<DeviceHash, u64> = self.removed.iter().copied().collect();
        self.rows
            .sort_unstable_by_key(|it| (it.hash, u64::MAX - it.revision));
        self.rows.dedup_by_key(|it| it.hash); // Keeps the first, which is the latest.
        self.rows
            .retain(|it| removed.get(&it.hash).is_none_or(|at| *at < it.revision));
        let (lost, latest) = self.lost();
        Census {
            draft: self,
            latest,
            lost,
        }
    }
}

impl Census {
    /// Number of devices.
    pub fn len(&self) -> usize {
        self.draft.rows.len()
    }

    /// Whether there is no device.
    pub fn is_empty(&self) -> bool {
        self.draft.rows.is_empty()
    }

    /// The apps that devices name.
    pub fn apps(&self) -> &[AppName] {
        &self.draft.apps
    }

    /// Whom an event was owed to when it was planned at `revision`: everyone it concerns by a
    /// document that is as old, except where the token was another device's by then.
    pub fn debts(&self, event: &Event, revision: u64) -> Debts {
        let concerned: Vec<bool> = self
            .draft
            .distinct
            .iter()
            .map(|it| matching::concerns(it, event))
            .collect();
        let addressed = Addressed::by(event);
        let mut debts = Debts {
            n_changed: count(self.draft.removed.iter().filter(|(_, at)| *at > revision)),
            ..Debts::default()
        };
        for (place, row) in self.draft.rows.iter().enumerate() {
            if row.revision > revision {
                debts.n_changed += 1;
                continue;
            }
            debts.n_judged += 1;
            if !self.is_concerned(row, &concerned, &addressed) {
                continue;
            }
            // Its own is not behind the plan.
            let is_shared = self.latest.get(&row.token).is_some_and(|it| revision < *it);
            if !is_shared && self.lost.contains(&small(place)) {
                continue;
            }
            debts.owed.push(Owed {
                hash: row.hash,
                app: row.app,
                place,
                is_shared,
            });
        }
        debts
    }

    fn is_concerned(&self, row: &Row, concerned: &[bool], addressed: &Addressed) -> bool {
        if row.is_pending {
            return addressed.challenges(row.hash);
        }
        let interests = range(&self.draft.interests, row.interests).unwrap_or_default();
        let is_for = |it: &u32| concerned.get(large(*it)).copied().unwrap_or(false);
        interests.iter().any(is_for) || addressed.names(row.hash, row.user)
    }

    /// The revision of a device's document.
    pub fn revision(&self, device: DeviceHash) -> Option<u64> {
        self.row(self.place(device)?).map(|it| it.revision)
    }

    /// Where a device stands.
    pub fn place(&self, device: DeviceHash) -> Option<usize> {
        self.draft
            .rows
            .binary_search_by_key(&device, |it| it.hash)
            .ok()
    }

    /// The id of the device at a place.
    pub fn id(&self, place: usize) -> &str {
        let Some(row) = self.row(place) else {
            return "";
        };
        let (from, to) = (large(row.id.0), large(row.id.1));
        self.draft.ids.get(from..to).unwrap_or("")
    }

    /// The app of the device at a place.
    pub fn app(&self, place: usize) -> Option<&AppName> {
        self.draft.apps.get(usize::from(self.row(place)?.app))
    }

    /// The hash of the token of the device at a place.
    pub fn token(&self, place: usize) -> Option<u64> {
        self.row(place).map(|it| it.token)
    }

    fn row(&self, place: usize) -> Option<&Row> {
        self.draft.rows.get(place)
    }
}

/// What tokens are compared by. The hash never leaves the process.
pub fn token_hash(token: &str) -> u64 {
    let digest = digest("fanfare.census", &[token.as_bytes()]);
    let (first, _) = digest.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*first)
}

fn small(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn large(place: u32) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

fn range<T>(all: &[T], (from, to): (u32, u32)) -> Option<&[T]> {
    all.get(large(from)..large(to))
}

fn count(them: impl Iterator) -> u64 {
    u64::try_from(them.count()).unwrap_or(u64::MAX)
}
