//! Documents that are wrong in part or as a whole.

use bytes::Bytes;
use fanfare_fetcher::mapping::{Mapping, Reason, Tracker};
use serde_json::{Value, json};

use crate::quakes::{quake, quakes};
use crate::support::{Replay, example, recorded_folder, source};
use crate::{at, read};

const ANY_JSON: &str = r#"
    [[source]]
    name = "any"
    id = "{{ item | string | length }}"
    topics = ["any"]
    title = "any"
    [[source.input]]
    http = "https://example.org/any"
    items = "$"
    [[source.input]]
    websocket = "wss://example.org/any"
"#;

#[test]
fn every_malformed_json_document_is_an_error_and_every_good_one_is_read() {
    let files = recorded_folder("nasty/JSONTestSuite");
    if files.is_empty() {
        return;
    }
    assert_eq!(files.len(), 316);
    let mapping = Mapping::compile(&source(ANY_JSON)).unwrap();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let document = mapping.observe_document(0, &bytes);
        let frame = mapping.observe_frames(1, &[Bytes::from(bytes)], &mut Tracker::default());
        match name.as_bytes()[0] {
            b'y' => assert!(document.is_ok() && frame.rejects.is_empty(), "{name}"),
            b'n' => {
                assert!(document.is_err(), "{name}");
                assert_eq!(frame.rejects[0].reason, Reason::Frame, "{name}");
            }
            _ => assert_eq!(document.is_ok(), frame.rejects.is_empty(), "{name}"),
        }
    }
}

const ANY_FEED: &str = r#"
    [[source]]
    name = "feed"
    id = "{{ item.id }}"
    topics = ["feed"]
    title = "{{ item.title | plain }}"
    [[source.input]]
    http = "https://example.org/feed.xml"
"#;

#[test]
fn no_malformed_feed_crashes_and_each_rejection_has_a_reason() {
    let mapping = Mapping::compile(&source(ANY_FEED)).unwrap();
    let mut n_read = 0;
    let files = ["nasty/feedparser-encoding", "nasty/feedparser-illformed"];
    let files: Vec<_> = files.into_iter().flat_map(recorded_folder).collect();
    for file in &files {
        // A feed that cannot be read is an error of its poll; one that can has only known reasons.
        if let Ok(observed) = mapping.observe_document(0, &std::fs::read(file).unwrap()) {
            n_read += 1;
            for reject in observed.rejects {
                assert!(Reason::ALL.contains(&reject.reason) && !reject.detail.is_empty());
            }
        }
    }
    if !files.is_empty() {
        assert_eq!(files.len(), 38);
        assert!(n_read >= 5, "only {n_read} of 38 could be read");
    }
}

#[test]
fn unparsable_dates_reject_their_items_alone_and_a_repeated_id_is_one_event() {
    let Some(bytes) = read("nasty/nws-templated-dates.geojson") else {
        return;
    };
    let mut replay = Replay::new(example("nws"));
    replay
        .take(&quakes(&[]), at("2024-01-08T20:00:00Z"))
        .unwrap();
    let observed = replay.mapping.observe_document(0, &bytes).unwrap();
    assert_eq!(
        observed.observations.len() + observed.rejects.len() + observed.n_left_out,
        38
    );
    assert_eq!(observed.rejects.len(), 34);
    assert!(observed.rejects.iter().all(|it| it.reason == Reason::Time));
    assert_eq!(observed.observations[0].item, observed.observations[1].item);
    assert_eq!(
        replay.judge(observed, at("2024-01-08T20:00:00Z")),
        1,
        "two are three weeks ahead"
    );
}

/// How a quake of our own fares beside a good one.
#[track_caller]
fn check_quake(item: Value, expected: Option<Reason>) {
    let mapping = Mapping::compile(&example("usgs")).unwrap();
    let good = quake("good", json!(5.0), 1);
    let observed = mapping.observe_document(0, &quakes(&[item, good])).unwrap();
    assert_eq!(observed.rejects.first().map(|it| it.reason), expected);
    assert_eq!(observed.observations.last().unwrap().item, "good");
}

#[test]
fn each_own_bad_item_is_rejected_with_its_reason_and_spoils_no_other() {
    let with = |change: fn(&mut Value)| {
        let mut item = quake("bad", json!(5.0), 1);
        change(&mut item);
        item
    };
    check_quake(with(|_| {}), None);
    check_quake(json!(7), Some(Reason::Condition));
    check_quake(json!(null), Some(Reason::Condition));
    check_quake(with(|it| it["id"] = json!("")), Some(Reason::Id));
    check_quake(
        with(|it| it["id"] = json!("x".repeat(600))),
        Some(Reason::Id),
    );
    check_quake(with(|it| it["id"] = json!(null)), Some(Reason::Id));
    check_quake(
        with(|it| it["properties"]["time"] = json!("soon")),
        Some(Reason::Time),
    );
    check_quake(
        with(|it| it["properties"]["time"] = json!(null)),
        Some(Reason::Time),
    );
    check_quake(
        with(|it| it["properties"]["time"] = json!(9e99)),
        Some(Reason::Time),
    );
    check_quake(
        with(|it| it["properties"]["mag"] = json!("big")),
        Some(Reason::Level),
    );
    check_quake(with(|it| it["properties"]["net"] = json!(null)), None);
    check_quake(
        with(|it| {
            it["properties"].as_object_mut().unwrap().remove("net");
        }),
        Some(Reason::Topic),
    );
    check_quake(
        with(|it| {
            it["properties"].as_object_mut().unwrap().remove("place");
        }),
        Some(Reason::Title),
    );
    check_quake(with(|it| it["geometry"] = json!(null)), Some(Reason::Field));
    check_quake(
        with(|it| it["geometry"]["coordinates"][0] = json!("x".repeat(40_000))),
        Some(Reason::Size),
    );
}

#[test]
fn an_item_is_told_without_a_link_that_is_none() {
    for url in ["x".repeat(40_000), "javascript:alert(1)".to_owned()] {
        let mut it = quake("odd", json!(5.0), 1);
        it["properties"]["url"] = json!(url);
        check_quake(it, None);
    }
}
