//! Real feeds as their publishers had them, with the oddities they have, and each case once more
//! on small data of our own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests"
)]

mod support;

use bytes::Bytes;
use fanfare_fetcher::mapping::{Mapping, Reason, Tracker};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::{Replay, example, recorded, recorded_folder, source, time_of};

fn read(path: &str) -> Option<Vec<u8>> {
    recorded(path).map(|it| std::fs::read(it).unwrap())
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

// --- quakes ---

#[test]
fn six_snapshots_of_a_day_of_quakes_are_a_baseline_of_196_and_four_events() {
    let files = recorded_folder("usgs-geojson/all_day");
    if files.is_empty() {
        return;
    }
    let mut replay = Replay::new(example("usgs-every-quake"));
    let n_events: Vec<usize> = files
        .iter()
        .map(|it| {
            replay
                .take(&std::fs::read(it).unwrap(), time_of(it))
                .unwrap()
        })
        .collect();
    assert_eq!(replay.baseline_len(), 196);
    assert_eq!(n_events, [0, 2, 2, 0, 0, 0]);
}

#[test]
fn no_revision_of_those_quakes_crosses_a_step() {
    let mut replay = Replay::new(example("usgs"));
    let n_events: usize = recorded_folder("usgs-geojson/all_day")
        .iter()
        .map(|it| {
            replay
                .take(&std::fs::read(it).unwrap(), time_of(it))
                .unwrap()
        })
        .sum();
    assert_eq!(n_events, 0);
}

#[test]
fn an_empty_feed_of_quakes_is_a_baseline_of_nothing() {
    let Some(bytes) = read("usgs-geojson/significant_hour-empty.json") else {
        return;
    };
    let mut replay = Replay::new(example("usgs"));
    assert_eq!(replay.take(&bytes, at("2025-05-04T14:00:00Z")).unwrap(), 0);
    assert_eq!(replay.baseline_len(), 0);
}

fn quake(id: &str, mag: Value, updated: u64) -> Value {
    json!({
        "id": id,
        "properties": {
            "mag": mag, "place": "Our Ridge", "time": 1_772_366_400_000_u64, "updated": updated,
            "url": format!("https://example.org/{id}"), "net": "us", "type": "earthquake",
        },
        "geometry": {"coordinates": [1.5, 2.5, 3.5]},
    })
}

fn quakes(items: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({"features": items})).unwrap()
}

#[test]
fn own_quakes_speak_once_each_and_revisions_say_nothing() {
    let now = at("2026-03-01T12:30:00Z");
    let mut replay = Replay::new(example("usgs-every-quake"));
    let (a, b) = (quake("a", json!(1.0), 1), quake("b", json!(5.0), 1));
    assert_eq!(replay.take(&quakes(&[a.clone(), b]), now).unwrap(), 0);
    let (b, c) = (quake("b", json!(4.9), 2), quake("c", json!(2.0), 1));
    assert_eq!(
        replay.take(&quakes(&[c.clone(), b.clone()]), now).unwrap(),
        1
    );
    assert_eq!(replay.take(&quakes(&[b, c]), now).unwrap(), 0);
    // Back after it was gone.
    assert_eq!(replay.take(&quakes(&[a]), now).unwrap(), 0);
}

#[test]
fn own_quakes_escalate_by_steps() {
    let now = at("2026-03-01T12:30:00Z");
    let mut replay = Replay::new(example("usgs"));
    let mut take = |mag: Value| replay.take(&quakes(&[quake("a", mag, 1)]), now).unwrap();
    assert_eq!(take(json!(4.0)), 0);
    assert_eq!(take(Value::Null), 0);
    assert_eq!(take(json!(6.2)), 1);
    assert_eq!(
        take(json!(5.9)),
        1,
        "4.5 was never stored; the notifier finds it superseded"
    );
    assert_eq!(take(json!(6.4)), 0);
    assert_eq!(take(json!(7.0)), 1);
}

// --- Atom ---

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

// --- the catalogue ---

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

// --- weather ---

/// The recorded file is the list without the object around it.
fn around(list: &[u8]) -> Vec<u8> {
    [b"{\"features\":".as_slice(), list, b"}"].concat()
}

#[test]
fn weather_alerts_are_known_by_their_vtec_code() {
    let Some(bytes) = read("nws-alerts/active-2024-12-08.json") else {
        return;
    };
    let now = at("2024-12-08T22:50:00Z");
    let mut replay = Replay::new(example("nws"));
    let observed = replay.mapping.observe_document(0, &around(&bytes)).unwrap();
    assert_eq!(
        (
            observed.observations.len(),
            observed.n_left_out,
            observed.rejects.len()
        ),
        (443, 1, 0)
    );
    assert!(
        observed
            .observations
            .iter()
            .any(|it| it.item == "KEKA.SC.Y.0132")
    );
    assert_eq!(replay.take(&around(&bytes), now).unwrap(), 0);
    // 378 codes, and 13 alerts without one; the test message is left out.
    assert_eq!(replay.baseline_len(), 391);

    // Every message again with a new urn, as updates have it: only the 13 seem new.
    let mut alerts: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    for alert in &mut alerts {
        let urn = format!("{}.update", alert["properties"]["id"].as_str().unwrap());
        alert["properties"]["id"] = json!(urn);
        alert["properties"]["sent"] = json!("2024-12-08T22:55:00+00:00");
    }
    let bytes = serde_json::to_vec(&alerts).unwrap();
    assert_eq!(
        replay
            .take(&around(&bytes), at("2024-12-08T23:00:00Z"))
            .unwrap(),
        13
    );
}

#[test]
fn an_own_alert_keeps_its_identity_through_updates() {
    let alert = |urn: &str, number: &str, status: &str| {
        json!({"properties": {
            "id": urn, "status": status, "sent": "2026-03-01T05:00:00-07:00", "event": "Wind Advisory",
            "areaDesc": "Here", "headline": null, "severity": "Moderate",
            "parameters": {"VTEC": [format!("/O.CON.KXYZ.WI.Y.{number}.000000T0000Z-260302T0000Z/")]},
        }})
    };
    let feed = |items: &[Value]| serde_json::to_vec(&json!({"features": items})).unwrap();
    let now = at("2026-03-01T12:30:00Z");
    let mut replay = Replay::new(example("nws"));
    assert_eq!(
        replay
            .take(&feed(&[alert("urn:1", "0001", "Actual")]), now)
            .unwrap(),
        0
    );
    assert_eq!(
        replay
            .take(&feed(&[alert("urn:2", "0001", "Actual")]), now)
            .unwrap(),
        0
    );
    assert_eq!(
        replay
            .take(&feed(&[alert("urn:3", "0002", "Test")]), now)
            .unwrap(),
        0
    );
    assert_eq!(
        replay
            .take(&feed(&[alert("urn:4", "0002", "Actual")]), now)
            .unwrap(),
        1
    );
}

const HAZARDS: &str = r#"
    [[source]]
    name = "hazards"
    id = "{{ item.properties.WFO }}.{{ item.properties.PHENOM }}.{{ item.properties.SIG }}.{{ item.properties.EVENT }}"
    time = "{{ item.properties.ISSUANCE | from_s }}"
    topics = ["hazards.{{ item.properties.PHENOM | slug }}"]
    title = "{{ item.properties.PROD_TYPE }}"
    [[source.input]]
    http = "https://example.org/hazards"
    items = "$.features[*]"
"#;

#[test]
fn forty_snapshots_of_hazards_name_each_hazard_once() {
    let files = recorded_folder("nws-hazards-mt");
    if files.is_empty() {
        return;
    }
    let mut replay = Replay::new(source(HAZARDS));
    let n_events: usize = files
        .iter()
        .map(|it| {
            replay
                .take(&std::fs::read(it).unwrap(), time_of(it))
                .unwrap()
        })
        .sum();
    assert_eq!(replay.baseline_len() + n_events, 26, "{n_events} events");
}

// --- sockets ---

/// The frames that a recorded socket received: `EPOCH.FRACTION: FRAME`.
fn frames_of(bytes: &[u8]) -> Vec<Bytes> {
    bytes
        .split(|it| *it == b'\n')
        .filter(|line| line.first().is_some_and(u8::is_ascii_digit))
        .filter_map(|line| {
            let at = line.windows(2).position(|it| it == b": ")?;
            Some(Bytes::copy_from_slice(line[at + 2..].trim_ascii_end()))
        })
        .collect()
}

/// Python's `b'…'` back to its bytes.
fn unquoted(frame: &Bytes) -> Bytes {
    let Some(inner) = frame
        .strip_prefix(b"b'")
        .and_then(|it| it.strip_suffix(b"'"))
    else {
        return frame.clone();
    };
    let mut out = Vec::new();
    let mut rest = inner.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, byte == b'\\') {
            (_, true) => match rest.next().unwrap() {
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    out.push(
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap(),
                    );
                }
                b'n' => out.push(b'\n'),
                other => out.push(other),
            },
            (byte, false) => out.push(byte),
        }
    }
    Bytes::from(out)
}

#[test]
fn a_dropped_line_of_a_socket_is_a_gap() {
    let Some(bytes) = read("websocket/INDEPENDENT_RESERVE.ws.1.0") else {
        return;
    };
    let mapping = Mapping::compile(&example("independent-reserve")).unwrap();
    let frames = frames_of(&bytes);
    assert_eq!(frames.len(), 1665);
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.n_missed, 0);
    assert_eq!(observed.rejects, []);
    assert_eq!(observed.observations.len() + observed.n_left_out, 1665);
    for dropped in [100, 700, 1400] {
        let mut frames = frames.clone();
        frames.remove(dropped);
        let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
        assert_eq!(observed.n_missed, 1, "line {dropped}");
    }
}

#[test]
fn own_frames_with_one_dropped_are_a_gap_and_heartbeats_are_none() {
    let frame = |channel: &str, nonce: u64| {
        Bytes::from(json!({
            "Channel": channel, "Nonce": nonce, "Event": "NewOrder", "Time": 1_772_366_400_000_u64,
            "Data": {"OrderGuid": format!("{channel}-{nonce}"), "Volume": 5000.0},
        }).to_string())
    };
    let heartbeat = Bytes::from_static(br#"{"Time":1649023809081,"Event":"Heartbeat"}"#);
    let mapping = Mapping::compile(&example("independent-reserve")).unwrap();
    let mut tracker = Tracker::default();
    let frames = [
        frame("eth", 1),
        heartbeat.clone(),
        frame("dot", 70),
        frame("eth", 2),
        heartbeat,
    ];
    let observed = mapping.observe_frames(0, &frames, &mut tracker);
    assert_eq!(
        (
            observed.n_missed,
            observed.observations.len(),
            observed.n_left_out
        ),
        (0, 3, 2)
    );
    let observed = mapping.observe_frames(0, &[frame("eth", 4), frame("dot", 71)], &mut tracker);
    assert_eq!(observed.n_missed, 1);
}

#[test]
fn prices_of_a_recorded_socket_are_read_at_full_rate() {
    let Some(bytes) = read("websocket/COINBASE.ws.28.0") else {
        return;
    };
    let mapping = Mapping::compile(&example("coinbase")).unwrap();
    let observed = mapping.observe_frames(0, &frames_of(&bytes), &mut Tracker::default());
    assert_eq!(observed.rejects, []);
    assert_eq!(observed.observations.len(), 97, "one per match");
    assert_eq!(observed.n_left_out, 9719 + 10 + 10 + 3 + 107);
}

#[test]
fn arrays_and_repeated_heartbeats_of_a_recorded_socket_do_no_harm() {
    let mapping = Mapping::compile(&source(
        r#"
        [[source]]
        name = "kraken"
        id = "{{ item[3] }}.{{ item[1][0][2] }}"
        when = "item is sequence and item[2] == 'trade'"
        topics = ["trades.{{ item[3] | slug }}"]
        title = "{{ item[3] }} at {{ item[1][0][0] }}"
        [[source.input]]
        websocket = "wss://ws.kraken.com"
        ignore = "frame is mapping and frame.event is defined"
        "#,
    ))
    .unwrap();
    for n in 48..=50 {
        let Some(bytes) = read(&format!("websocket/KRAKEN.ws.{n}.0")) else {
            return;
        };
        let observed = mapping.observe_frames(0, &frames_of(&bytes), &mut Tracker::default());
        assert_eq!(observed.rejects, [], "socket {n}");
        assert!(observed.n_left_out > 0);
    }
}

#[test]
fn binary_frames_of_a_recorded_socket_are_read() {
    let Some(bytes) = read("nasty/UPBIT.ws.62.0") else {
        return;
    };
    let frames: Vec<Bytes> = frames_of(&bytes).iter().map(unquoted).collect();
    assert_eq!(frames.len(), 449);
    let mapping = Mapping::compile(&example("upbit")).unwrap();
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.rejects, []);
    assert!(
        observed.observations.len() > 10,
        "{} trades",
        observed.observations.len()
    );
    assert_eq!(observed.observations.len() + observed.n_left_out, 449);
}

#[test]
fn own_binary_frames_are_read() {
    let mapping = Mapping::compile(&example("upbit")).unwrap();
    let trade = r#"{"ty":"trade","cd":"KRW-BTC","ttms":1772366400000,"tp":1.5,"tv":2.5,"sid":7}"#;
    let frames = [
        Bytes::from(trade),
        Bytes::from_static(b"\x00\xff\xfe not JSON"),
    ];
    let observed = mapping.observe_frames(0, &frames, &mut Tracker::default());
    assert_eq!(observed.observations[0].item, "KRW-BTC.7");
    assert_eq!(observed.rejects[0].reason, Reason::Frame);
}

// --- nasty documents ---

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
