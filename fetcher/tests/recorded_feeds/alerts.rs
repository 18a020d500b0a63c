//! Weather alerts and hazards, which are known by what they are about.

use serde_json::{Value, json};

use crate::support::{Replay, example, recorded_folder, source, time_of};
use crate::{at, read};

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
