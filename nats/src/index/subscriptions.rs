//! Distinct subscriptions, numbered: a pattern with its filters is judged once per event, not once
//! per device.

use std::borrow::Cow;
use std::collections::HashMap;

use roaring::RoaringBitmap;
use serde_json::{Map, Value};

use super::trie::Trie;
use crate::device::Subscription;
use crate::topic::Topic;

/// One distinct subscription and who has it.
#[derive(Debug)]
struct Entry {
    key: Box<str>,
    subscription: Subscription,
    /// Prefixes of the hashes of the devices that have it.
    devices: RoaringBitmap,
    /// Devices that have it; more than the bitmap holds where Prefixes collide.
    n_devices: u32,
}

/// All distinct subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    numbers: HashMap<Box<str>, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    trie: Trie,
    /// How many times a pattern stands in devices that have it already, with other filters.
    repeats: HashMap<Box<str>, u64>,
    /// Raised whenever a number begins or ceases to mean something.
    pub(super) generation: u64,
}

fn key(subscription: &Subscription) -> Cow<'_, str> {
    if subscription.filters.is_empty() {
        return subscription.pattern.as_str().into();
    }
    let filters = serde_json::to_string(&subscription.filters).unwrap_or_default();
    format!("{} {filters}", subscription.pattern).into()
}

impl Subscriptions {
    /// Notes what a device follows; returns the subscriptions' numbers, ascending. The same
    /// interest written twice is one.
    pub(super) fn add_all(&mut self, subscriptions: &[Subscription], prefix: u32) -> Vec<u32> {
        let added = subscriptions.iter().map(|it| self.add(it, prefix));
        let mut numbers: Vec<u32> = added.collect();
        numbers.sort_unstable();
        numbers.dedup_by(|later, kept| {
            let is_same = later == kept;
            if is_same {
                self.remove(*later, prefix, true);
            }
            is_same
        });
        for pattern in self.repeated(&numbers) {
            *self.repeats.entry(pattern).or_default() += 1;
        }
        numbers
    }

    /// Notes that a device no longer has these subscriptions; call it before [`Self::remove`].
    pub(super) fn forget_repeats(&mut self, numbers: &[u32]) {
        for pattern in self.repeated(numbers) {
            if let Some(n) = self.repeats.get_mut(&pattern) {
                *n -= 1;
                if *n == 0 {
                    self.repeats.remove(&pattern);
                }
            }
        }
    }

    /// The patterns that these subscriptions of one device have in common, each as often as it
    /// stands there a second time.
    fn repeated(&self, numbers: &[u32]) -> Vec<Box<str>> {
        let entries = numbers.iter().filter_map(|it| self.entry(*it));
        let subscriptions = entries.map(|it| &it.subscription);
        // Without filters the same pattern is the same subscription.
        if !subscriptions.clone().any(|it| !it.filters.is_empty()) {
            return Vec::new();
        }
        let mut patterns: Vec<&str> = subscriptions.map(|it| it.pattern.as_str()).collect();
        patterns.sort_unstable();
        let pairs = patterns.windows(2);
        let same = pairs.filter_map(|it| match it {
            [one, other] if one == other => Some(Box::from(*one)),
            _ => None,
        });
        same.collect()
    }

    /// Notes that a device has a subscription; returns the subscription's number.
    fn add(&mut self, subscription: &Subscription, prefix: u32) -> u32 {
        let key = key(subscription);
        let number = match self.numbers.get(key.as_ref()) {
            Some(number) => *number,
            None => self.begin(key.into(), subscription),
        };
        if let Some(entry) = self.entry_mut(number) {
            entry.devices.insert(prefix);
            entry.n_devices += 1;
        }
        number
    }

    fn begin(&mut self, key: Box<str>, subscription: &Subscription) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        self.trie.insert(subscription.pattern.as_str(), number);
        self.numbers.insert(key.clone(), number);
        self.generation += 1;
        let entry = Entry {
            key,
            subscription: subscription.clone(),
            devices: RoaringBitmap::new(),
            n_devices: 0,
        };
        if let Some(place) = usize::try_from(number)
            .ok()
            .and_then(|it| self.entries.get_mut(it))
        {
            *place = Some(entry);
        }
        number
    }

    /// Notes that a device no longer has a subscription. `is_shared`: another device with the same
    /// prefix of its hash still has it.
    pub(super) fn remove(&mut self, number: u32, prefix: u32, is_shared: bool) {
        let Some(entry) = self.entry_mut(number) else {
            return;
        };
        entry.n_devices -= 1;
        if !is_shared {
            entry.devices.remove(prefix);
        }
        if entry.n_devices > 0 {
            return;
        }
        let place = usize::try_from(number)
            .ok()
            .and_then(|it| self.entries.get_mut(it));
        if let Some(entry) = place.and_then(Option::take) {
            self.trie
                .remove(entry.subscription.pattern.as_str(), number);
            self.numbers.remove(&entry.key);
            self.free.push(number);
            self.generation += 1;
        }
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry> {
        let place = usize::try_from(number).ok()?;
        self.entries.get_mut(place)?.as_mut()
    }

    fn entry(&self, number: u32) -> Option<&Entry> {
        let place = usize::try_from(number).ok()?;
        self.entries.get(place)?.as_ref()
    }

    /// The numbers of the subscriptions that an event with these topics and data concerns,
    /// ascending.
    pub(super) fn matching(&self, topics: &[Topic], data: &Map<String, Value>) -> Vec<u32> {
        let mut found = Vec::new();
        for topic in topics {
            self.trie.find(topic, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        let passes = |it: &Entry| {
            let filters = &it.subscription.filters;
            filters.iter().all(|filter| filter.passes(data))
        };
        found.retain(|number| self.entry(*number).is_some_and(passes));
        found
    }

    /// Prefixes of the hashes of the devices that have a subscription.
    pub(super) fn devices(&self, number: u32) -> Option<&RoaringBitmap> {
        self.entry(number).map(|it| &it.devices)
    }

    /// Devices that have a subscription.
    pub(super) fn n_devices(&self, number: u32) -> u32 {
        self.entry(number).map_or(0, |it| it.n_devices)
    }

    /// The pattern of a subscription.
    pub(super) fn pattern(&self, number: u32) -> Option<&str> {
        self.entry(number)
            .map(|it| it.subscription.pattern.as_str())
    }

    /// The pattern of every distinct subscription, and devices that have it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, u32)> {
        let entries = self.entries.iter().flatten();
        entries.map(|it| (it.subscription.pattern.as_str(), it.n_devices))
    }

    /// By how much the sum over a pattern's subscriptions exceeds the devices that have it.
    pub(super) fn n_repeats(&self, pattern: &str) -> u64 {
        self.repeats.get(pattern).copied().unwrap_or(0)
    }

    /// Number of distinct subscriptions.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
