//! Advisories: an Atom feed, and a catalogue in one document.

use fanfare_fetcher::mapping::Mapping;
use serde_json::{Value, json};

use crate::support::{Replay, example, recorded_folder, time_of};
use crate::{at, read};

#[test]
fn reordered_advisories_are_no_news() {
    let files = recorded_folder("rustsec-atom");
    if files.is_empty() {
        return;
    }
    let mut replay = Replay::new(example("rustsec"));
    let mut n_of = std::collections::HashMap::new();
    for file in &files {
        let n = replay
            .take(&std::fs::read(file).unwrap(), time_of(file))
            .unwrap();
        n_of.insert(file.file_stem().unwrap().to_str().unwrap().to_owned(), n);
    }
    assert_eq!(n_of["20260812T101719Z"], 0, "only the order changed");
    assert_eq!(n_of["20260812T103016Z"], 0, "only the order changed");
    assert_eq!(n_of["20260821T062857Z"], 0, "entries changed, none is new");
    assert_eq!(n_of["20260818T061125Z"], 0, "27 entries became 10");
    assert_eq!(
        n_of.values().sum::<usize>(),
        27,
        "every new entry once: {n_of:?}"
    );
}

#[test]
fn every_cut_of_a_recorded_atom_feed_is_an_error() {
    let Some(bytes) = read("rustsec-atom/20260821T062857Z.xml") else {
        return;
    };
    let mapping = Mapping::compile(&example("rustsec")).unwrap();
    let end = bytes.iter().rposition(|it| *it == b'>').unwrap();
    for cut in (0..=end).step_by(997).chain([end]) {
        assert!(
            mapping.observe_document(0, &bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

#[test]
fn own_entries_in_another_order_are_no_news() {
    let entry = |n: u8| {
        format!(
            "<entry><title>T{n}</title><id>urn:{n}</id><published>2026-08-12T12:00:00Z</published><updated>2026-08-12T12:00:00Z</updated><link href='https://example.org/{n}'/><summary>s</summary></entry>"
        )
    };
    let feed = |numbers: &[u8]| {
        let entries: String = numbers.iter().map(|it| entry(*it)).collect();
        format!(
            "<feed xmlns='http://www.w3.org/2005/Atom'><title>t</title><id>f</id><updated>2026-08-12T12:00:00Z</updated>{entries}</feed>"
        )
    };
    let now = at("2026-08-12T13:00:00Z");
    let mut replay = Replay::new(example("rustsec"));
    assert_eq!(replay.take(feed(&[1, 2, 3]).as_bytes(), now).unwrap(), 0);
    assert_eq!(replay.take(feed(&[3, 1, 2]).as_bytes(), now).unwrap(), 0);
    assert_eq!(replay.take(feed(&[4, 3]).as_bytes(), now).unwrap(), 1);
    assert!(replay.take(&feed(&[5, 4]).as_bytes()[..200], now).is_err());
    assert_eq!(replay.take(feed(&[4, 2, 1]).as_bytes(), now).unwrap(), 0);
}

#[test]
fn a_catalogue_cut_off_is_an_error_and_the_next_version_brings_nine_events() {
    let (Some(old), Some(new), Some(cut)) = (
        read("cisa-kev/2025.05.22.json"),
        read("cisa-kev/2025.06.09.json"),
        read("nasty/kev-2025.02.25-2-truncated.json"),
    ) else {
        return;
    };
    let now = at("2025-06-09T12:35:28Z");
    let mut replay = Replay::new(example("kev"));
    assert!(
        replay.take(&cut, now).is_err(),
        "before there is a baseline"
    );
    assert_eq!(replay.baseline_len(), 0);
    assert_eq!(replay.take(&old, now).unwrap(), 0);
    assert_eq!(replay.baseline_len(), 1352);
    assert!(replay.take(&cut, now).is_err());
    assert_eq!(replay.baseline_len(), 1352, "the state is kept");
    assert_eq!(replay.take(&new, now).unwrap(), 9);
    assert_eq!(
        replay.take(&old, now).unwrap(),
        0,
        "a retracted entry comes back"
    );
}

#[test]
fn own_catalogue_without_times_speaks_once_about_each_entry() {
    let entry = |n: u8| json!({"cveID": format!("CVE-2026-{n}"), "vendorProject": "Acme & Sons", "product": "P", "shortDescription": "d", "knownRansomwareCampaignUse": "Known"});
    let catalogue = |numbers: &[u8]| {
        let entries: Vec<Value> = numbers.iter().map(|it| entry(*it)).collect();
        serde_json::to_vec(&json!({"vulnerabilities": entries})).unwrap()
    };
    let now = at("2026-03-01T00:00:00Z");
    let mut replay = Replay::new(example("kev"));
    let whole = catalogue(&[1, 2, 3]);
    assert_eq!(replay.take(&whole, now).unwrap(), 0);
    assert!(replay.take(&whole[..whole.len() / 2], now).is_err());
    assert_eq!(replay.take(&catalogue(&[1, 3]), now).unwrap(), 0);
    assert_eq!(
        replay
            .take(&catalogue(&[2, 4]), at("2031-03-01T00:00:00Z"))
            .unwrap(),
        1
    );
    let observed = replay
        .mapping
        .observe_document(0, &catalogue(&[4]))
        .unwrap();
    let topics: Vec<&str> = observed.observations[0]
        .topics
        .iter()
        .map(fanfare_nats::Topic::as_str)
        .collect();
    assert_eq!(topics, ["kev.all", "kev.vendor.acme-sons"]);
}
