//! What is asked besides sending, against the same model.

use super::*;

/// All devices a few at a time, as an export walks them.
fn all_devices(index: &Index, limit: usize) -> Vec<DeviceHash> {
    let (mut found, mut from) = (Vec::new(), DeviceHash(0));
    loop {
        let some = index.devices_from(from, limit);
        assert!(some.len() <= limit);
        found.extend(some.iter().map(DeviceId::hash));
        match some.last() {
            Some(last) => from = DeviceHash(last.hash().0 + 1),
            None => return found,
        }
    }
}

fn all_patterns(index: &Index, limit: usize) -> BTreeMap<String, u64> {
    let (mut found, mut after) = (BTreeMap::new(), None);
    loop {
        let some = index.patterns(after.as_deref(), limit, |it| it != "news.it");
        assert!(some.len() <= limit);
        after = match some.last() {
            Some(last) => Some(last.pattern.clone()),
            None => return found,
        };
        for it in some {
            assert_eq!(found.insert(it.pattern, it.n_devices), None);
        }
    }
}

fn all_listeners(index: &Index, interest: &Interest) -> BTreeMap<AppName, u64> {
    let (mut counts, mut from) = (BTreeMap::new(), DeviceHash(0));
    loop {
        let some = index.listeners(interest, from, 2);
        for it in &some {
            *counts.entry(it.app.clone()).or_insert(0) += 1;
        }
        match some.last() {
            Some(last) => from = DeviceHash(last.id.hash().0 + 1),
            None => return counts,
        }
    }
}

#[track_caller]
pub(super) fn check_listing(index: &Index, model: &Model) {
    let mut hashes: Vec<_> = model.documents.keys().map(|it| id(it).hash()).collect();
    hashes.sort_unstable();
    assert_eq!(all_devices(index, 3), hashes);
    for user in USERS {
        let documents = model.documents.iter();
        let his = documents.filter(|(_, (device, _))| device.user.as_deref() == Some(user));
        let his: Vec<DeviceId> = his.map(|(it, _)| id(it)).collect();
        assert_eq!(index.devices_of(user), his);
        let mut hashes = index.hashes_of(user, his.len());
        hashes.sort_unstable();
        let mut expected: Vec<DeviceHash> = his.iter().map(DeviceId::hash).collect();
        expected.sort_unstable();
        assert_eq!(hashes, expected);
        assert_eq!(index.hashes_of(user, 1).len(), his.len().min(1));
    }
    assert!(index.devices_of("nobody").is_empty());
    let mut followers: BTreeMap<String, u64> = BTreeMap::new();
    for (device, _) in model.documents.values() {
        let patterns = device.subscriptions.iter().map(|it| it.pattern.to_string());
        let patterns: std::collections::BTreeSet<String> = patterns.collect();
        for pattern in patterns.into_iter().filter(|it| it != "news.it") {
            *followers.entry(pattern).or_default() += 1;
        }
    }
    for limit in [1, 2, 100] {
        assert_eq!(all_patterns(index, limit), followers);
    }
    for event in events() {
        let interest = index.interest(&event);
        assert_eq!(all_listeners(index, &interest), model.count(&event));
        let matched = index.patterns_of(&interest);
        let documents = model.documents.values();
        let subscriptions = documents.flat_map(|(device, _)| &device.subscriptions);
        let concerned = subscriptions.filter(|it| it.matches(&event.topics, &event.content.data));
        let expected: std::collections::BTreeSet<&str> =
            concerned.map(|it| it.pattern.as_str()).collect();
        assert_eq!(matched, expected.into_iter().collect::<Vec<_>>());
    }
}
