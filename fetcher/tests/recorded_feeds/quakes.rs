//! Quakes: documents whose items come again with other magnitudes.

use serde_json::{Value, json};

use crate::support::{Replay, example, recorded_folder, time_of};
use crate::{at, read};

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

pub fn quake(id: &str, mag: Value, updated: u64) -> Value {
    json!({
        "id": id,
        "properties": {
            "mag": mag, "place": "Our Ridge", "time": 1_772_366_400_000_u64, "updated": updated,
            "url": format!("https://example.org/{id}"), "net": "us", "type": "earthquake",
        },
        "geometry": {"coordinates": [1.5, 2.5, 3.5]},
    })
}

pub fn quakes(items: &[Value]) -> Vec<u8> {
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
