//! Conditions on an event's data, from a closed set. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A condition on an event's `data`, from a closed set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Filter {
    /// The number in `field` is at least `min`; a missing number is below all.
    AtLeast {
        /// Key in the event's data.
        field: String,
        /// The smallest number that passes.
        min: f64,
    },
    /// The text or number in `field` is one of `any_of`.
    AnyOf {
        /// Key in the event's data.
        field: String,
        /// The values that pass.
        any_of: Vec<Value>,
    },
    /// The event's `lat` and `lon` lie within `km` of a point.
    Near {
        /// Centre and radius.
        near: Circle,
    },
}

/// A circle on the earth's surface.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circle {
    /// Latitude of the centre in degrees, north positive.
    pub lat: f64,
    /// Longitude of the centre in degrees, east positive.
    pub lon: f64,
    /// Radius in kilometres.
    pub km: f64,
}

impl Filter {
    /// Whether an event with this data passes.
    pub fn passes(&self, data: &Map<String, Value>) -> bool {
        let number = |field: &str| data.get(field).and_then(Value::as_f64);
        match self {
            Self::AtLeast { field, min } => number(field).is_some_and(|it| it >= *min),
            Self::AnyOf { field, any_of } => {
                let is_it = |value: &Value| any_of.iter().any(|it| is_equal(it, value));
                data.get(field).is_some_and(is_it)
            }
            Self::Near { near } => match (number("lat"), number("lon")) {
                (Some(lat), Some(lon)) => distance_km(near.lat, near.lon, lat, lon) <= near.km,
                (Some(_) | None, _) => false,
            },
        }
    }
}

/// Numbers are equal by value: `5` is `5.0`, whichever of the two a feed writes.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b).is_some_and(std::cmp::Ordering::is_eq),
        (Some(_), None) | (None, _) => a == b,
    }
}

/// Great-circle distance by the haversine formula on a sphere of 6371 km.
fn distance_km(lat_a: f64, lon_a: f64, lat_b: f64, lon_b: f64) -> f64 {
    let half_lat = (lat_b - lat_a).to_radians() / 2.0;
    let half_lon = (lon_b - lon_a).to_radians() / 2.0;
    let a = half_lat.sin().powi(2)
        + lat_a.to_radians().cos() * lat_b.to_radians().cos() * half_lon.sin().powi(2);
    2.0 * 6371.0 * a.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn data(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[track_caller]
    fn check_filter(filter: Value, event: Value, expected: bool) {
        let filter: Filter = serde_json::from_value(filter).unwrap();
        assert_eq!(filter.passes(&data(event)), expected);
    }

    #[test]
    fn filters_compare_numbers_sets_and_distances() {
        check_filter(json!({"field": "mag", "min": 5}), json!({"mag": 5.0}), true);
        check_filter(
            json!({"field": "mag", "min": 5}),
            json!({"mag": 4.9}),
            false,
        );
        check_filter(json!({"field": "mag", "min": 5}), json!({}), false);
        check_filter(
            json!({"field": "net", "any_of": ["us", "ci"]}),
            json!({"net": "ci"}),
            true,
        );
        check_filter(
            json!({"field": "net", "any_of": ["us"]}),
            json!({"net": "ci"}),
            false,
        );
        let five = json!({"field": "class", "any_of": [5]});
        check_filter(five.clone(), json!({"class": 5.0}), true);
        check_filter(five, json!({"class": "5"}), false);
        let tokyo = json!({"near": {"lat": 35.68, "lon": 139.69, "km": 100.0}});
        check_filter(tokyo.clone(), json!({"lat": 35.44, "lon": 139.64}), true);
        check_filter(tokyo.clone(), json!({"lat": 34.69, "lon": 135.5}), false);
        check_filter(tokyo, json!({"lat": 35.0}), false);
    }
}
