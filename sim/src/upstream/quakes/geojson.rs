//! Quakes in the publisher's format: a GeoJSON feature collection, or one feature in a frame.

use serde_json::json;

use super::table::{Quake, Version};

/// The page of the publisher that the features name.
const PUBLISHER: &str = "https://earthquake.usgs.gov/earthquakes";

/// A quake as it is shown now.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) origin_ms: i64,
    #[cfg_attr(not(test), expect(dead_code, reason = "looked at by tests"))]
    pub(super) updated_ms: i64,
    /// The feature, written once.
    json: String,
}

impl Shown {
    pub(super) fn new(quake: &Quake, version: Version, origin_ms: i64, updated_ms: i64) -> Self {
        let Quake {
            id,
            net,
            kind,
            place,
            mag_type,
            at,
            ..
        } = quake;
        let mag = version.mag;
        #[expect(clippy::cast_possible_truncation, reason = "at most a few thousand")]
        let significance = (mag.max(0.0).powi(2) * 100.0 / 6.5).round() as i64;
        let feature = json!({
            "type": "Feature",
            "properties": {
                "mag": mag,
                "place": place,
                "time": origin_ms,
                "updated": updated_ms,
                "tz": null,
                "url": format!("{PUBLISHER}/eventpage/{id}"),
                "detail": format!("{PUBLISHER}/feed/v1.0/detail/{id}.geojson"),
                "felt": null,
                "cdi": null,
                "mmi": null,
                "alert": null,
                "status": if version.is_reviewed { "reviewed" } else { "automatic" },
                "tsunami": 0,
                "sig": significance,
                "net": net,
                "code": id.strip_prefix(net.as_str()).unwrap_or(id),
                "ids": format!(",{id},"),
                "sources": format!(",{net},"),
                "types": ",origin,phase-data,",
                "nst": null,
                "dmin": null,
                "rms": null,
                "gap": null,
                "magType": mag_type,
                "type": kind,
                "title": format!("M {mag:.1} - {place}"),
            },
            "geometry": { "type": "Point", "coordinates": at },
            "id": id,
        });
        Self {
            origin_ms,
            updated_ms,
            json: feature.to_string(),
        }
    }
}

/// The whole document.
pub(super) fn collection<'a>(shown: impl Iterator<Item = &'a Shown>, generated_ms: i64) -> String {
    let features: Vec<&str> = shown.map(|it| it.json.as_str()).collect();
    let metadata = json!({
        "generated": generated_ms,
        "url": format!("{PUBLISHER}/feed/v1.0/summary/all_day.geojson"),
        "title": "USGS All Earthquakes, Past Day",
        "status": 200,
        "api": "1.14.1",
        "count": features.len(),
    });
    format!(
        "{{\"type\":\"FeatureCollection\",\"metadata\":{metadata},\"features\":[{}]}}",
        features.join(",")
    )
}

/// One feature as a frame.
pub(super) fn frame(shown: &Shown, is_first: bool) -> String {
    let action = if is_first { "create" } else { "update" };
    format!("{{\"action\":\"{action}\",\"data\":{}}}", shown.json)
}
