//! The shipped quakes over both transports.

use std::collections::BTreeMap;

use fanfare_sim::{QuakesConfig, Sim, UpstreamConfig};
use serde_json::Value;

use crate::client::{get, next, post, socket};
use crate::started;

async fn quakes(start_s: f64, speed: f64) -> (Sim, tempfile::TempDir) {
    let quakes = Some(QuakesConfig { start_s, speed });
    started(UpstreamConfig {
        quakes,
        ..UpstreamConfig::default()
    })
    .await
}

async fn document(sim: &Sim) -> Value {
    get(sim, "/quakes/all_day.geojson", &[])
        .await
        .unwrap()
        .json()
}

#[expect(clippy::disallowed_methods, reason = "times are shifted to now")]
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[tokio::test]
async fn the_document_has_the_publishers_shape_and_times_of_today() {
    let (sim, _folder) = quakes(12.0 * 3600.0, 0.0).await;
    let document = document(&sim).await;
    assert_eq!(document["type"], "FeatureCollection");
    let features = document["features"].as_array().unwrap();
    assert_eq!(document["metadata"]["count"], features.len());
    assert!(features.len() > 50, "{}", features.len());
    for feature in features {
        let properties = &feature["properties"];
        let time = properties["time"].as_i64().unwrap();
        let ago_ms = now_ms() - time;
        assert!((0..24 * 3_600_000).contains(&ago_ms), "{ago_ms}");
        assert!(time <= properties["updated"].as_i64().unwrap());
        assert!(properties["mag"].is_f64() && feature["id"].is_string());
        let title = properties["title"].as_str().unwrap();
        assert!(title.starts_with("M ") && title.contains(" - "), "{title}");
        assert_eq!(
            feature["geometry"]["coordinates"].as_array().unwrap().len(),
            3
        );
    }
    sim.stop().await;
}

#[tokio::test]
async fn the_document_keeps_its_etag_until_a_quake_comes() {
    let (sim, _folder) = quakes(12.0 * 3600.0, 0.0).await;
    let path = "/quakes/all_day.geojson";
    let first = get(&sim, path, &[]).await.unwrap();
    let known = [("if-none-match", first.headers["etag"].as_str())];
    assert_eq!(get(&sim, path, &known).await.unwrap().status, 304);
    assert!(sim.advance_feed(path, 1));
    assert_eq!(get(&sim, path, &known).await.unwrap().status, 200);
    sim.stop().await;
}

#[tokio::test]
async fn both_transports_show_the_same_versions() {
    let (sim, _folder) = quakes(0.0, 0.0).await;
    let mut one = socket(&sim, "/quakes/ws").await;
    let mut other = socket(&sim, "/quakes/ws").await;
    post(
        &sim,
        "/control/feed/advance",
        r#"{"path":"/quakes/all_day.geojson","steps":100}"#,
    )
    .await;
    let mut shown: BTreeMap<String, Value> = BTreeMap::new();
    for emission in sim.emissions() {
        let frame = next(&mut one).await.unwrap().into_text().unwrap();
        assert_eq!(frame, next(&mut other).await.unwrap().into_text().unwrap());
        let frame: Value = serde_json::from_str(&frame).unwrap();
        let action = if emission.revision == 0 {
            "create"
        } else {
            "update"
        };
        assert_eq!(frame["action"], action);
        assert_eq!(frame["data"]["id"], emission.id);
        assert_eq!(frame["data"]["properties"]["mag"], emission.mag);
        shown.insert(emission.id, frame["data"].clone());
    }
    assert!(shown.len() > 50);
    let document = document(&sim).await;
    let features = document["features"].as_array().unwrap().iter();
    let by_rest = features.map(|it| (it["id"].as_str().unwrap().to_owned(), it.clone()));
    assert_eq!(by_rest.collect::<BTreeMap<_, _>>(), shown);
    sim.stop().await;
}

#[tokio::test]
async fn the_clock_runs_at_any_speed_to_the_end() {
    let (sim, _folder) = quakes(40.0 * 3600.0, 40_000.0).await;
    while !sim.is_feed_over() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(sim.emissions().len() > 100, "{}", sim.emissions().len());
    assert!(
        sim.emissions()
            .iter()
            .any(|it| it.is_scripted && it.mag >= 7.0)
    );
    assert!(
        !document(&sim).await["features"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    sim.stop().await;
}

#[tokio::test]
async fn control_moves_the_clock() {
    let (sim, _folder) = quakes(12.0 * 3600.0, 0.0).await;
    assert_eq!(sim.emissions().len(), 0);
    let moved = post(&sim, "/control/feed/advance", r#"{"seconds": 7200}"#).await;
    assert_eq!(moved.json()["moved"], true);
    assert!(sim.emissions().len() > 5);
    let n_before = sim.emissions().len();
    post(&sim, "/control/feed/advance", r#"{"speed": 100000}"#).await;
    while sim.emissions().len() == n_before {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    sim.stop().await;
}
