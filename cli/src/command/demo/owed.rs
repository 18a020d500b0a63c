//! Whom an event concerns, decided a second time.
//!
//! This is the demo's own reading of patterns and filters, written from the documentation. It shares
//! no code with the index that the notifiers send by, so that a mistake there shows. Pure.

use serde_json::{Map, Value, json};

/// One interest of a device, as the demo registered it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Interest {
    pattern: &'static str,
    conditions: Vec<Condition>,
}

/// What an event's data must fulfil.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// The number is at least this.
    AtLeast(&'static str, f64),
    /// The text is one of these.
    AnyOf(&'static str, Vec<&'static str>),
    /// `lat` and `lon` lie within so many kilometres.
    Near { lat: f64, lon: f64, km: f64 },
}

impl Interest {
    /// A pattern with conditions that must all hold.
    pub(super) fn new(pattern: &'static str, conditions: Vec<Condition>) -> Self {
        Self {
            pattern,
            conditions,
        }
    }

    /// The form in which the API takes it.
    pub(super) fn document(&self) -> Value {
        if self.conditions.is_empty() {
            return json!(self.pattern);
        }
        let filter = |condition: &Condition| match condition {
            Condition::AtLeast(field, min) => json!({ "field": field, "min": min }),
            Condition::AnyOf(field, any_of) => json!({ "field": field, "any_of": any_of }),
            Condition::Near { lat, lon, km } => {
                json!({ "near": { "lat": lat, "lon": lon, "km": km } })
            }
        };
        let filters: Vec<Value> = self.conditions.iter().map(filter).collect();
        json!({ "pattern": self.pattern, "filters": filters })
    }

    /// Whether an event with these topics and data concerns it.
    pub(super) fn is_met(&self, topics: &[String], data: &Map<String, Value>) -> bool {
        topics.iter().any(|it| is_match(self.pattern, it))
            && self.conditions.iter().all(|it| it.holds(data))
    }
}

impl Condition {
    fn holds(&self, data: &Map<String, Value>) -> bool {
        let number = |field: &str| data.get(field).and_then(Value::as_f64);
        match self {
            Self::AtLeast(field, min) => number(field).is_some_and(|it| *min <= it),
            Self::AnyOf(field, any_of) => {
                let text = data.get(*field).and_then(Value::as_str);
                text.is_some_and(|it| any_of.contains(&it))
            }
            Self::Near { lat, lon, km } => match (number("lat"), number("lon")) {
                (Some(there_lat), Some(there_lon)) => {
                    distance_km((*lat, *lon), (there_lat, there_lon)) <= *km
                }
                (None, _) | (_, None) => false,
            },
        }
    }
}

/// `*` stands for one word, `>` at the end for one or more.
fn is_match(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('.');
    for word in pattern.split('.') {
        match (word, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (word, Some(found)) if word == found => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// Along the great circle of a sphere of 6371 km: the angle between two directions in space.
fn distance_km(here: (f64, f64), there: (f64, f64)) -> f64 {
    let direction = |(lat, lon): (f64, f64)| {
        let (lat, lon) = (lat.to_radians(), lon.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let pairs = direction(here).into_iter().zip(direction(there));
    let cosine: f64 = pairs.map(|(one, other)| one * other).sum();
    6371.0 * cosine.clamp(-1.0, 1.0).acos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(interest: &Interest, topic: &str, data: Value, expected: bool) {
        let Value::Object(data) = data else { panic!() };
        assert_eq!(interest.is_met(&[topic.to_owned()], &data), expected);
    }

    #[test]
    fn patterns_match_as_the_documentation_says() {
        for (pattern, topic, expected) in [
            ("quakes.us", "quakes.us", true),
            ("quakes.*", "quakes.us", true),
            ("quakes.>", "quakes.us.ca", true),
            ("quakes.>", "quakes", false),
            ("quakes.*", "quakes.us.ca", false),
            ("quakes", "quakes.us", false),
            ("quakes.us", "quakes.uk", false),
        ] {
            check(&Interest::new(pattern, vec![]), topic, json!({}), expected);
        }
    }

    #[test]
    fn all_conditions_must_hold_and_what_is_missing_holds_nothing() {
        let conditions = vec![
            Condition::AtLeast("mag", 6.0),
            Condition::AnyOf("net", vec!["us", "pr"]),
        ];
        let strong = Interest::new("quakes.>", conditions);
        check(
            &strong,
            "quakes.us",
            json!({ "mag": 6.0, "net": "us" }),
            true,
        );
        check(
            &strong,
            "quakes.us",
            json!({ "mag": 5.9, "net": "us" }),
            false,
        );
        check(
            &strong,
            "quakes.us",
            json!({ "mag": 6.0, "net": "ak" }),
            false,
        );
        check(&strong, "quakes.us", json!({ "net": "us" }), false);
    }

    #[test]
    fn a_circle_is_measured_on_the_sphere() {
        // London to Paris, about 344 km.
        let circle = |km| {
            let (lat, lon) = (51.5074, -0.1278);
            Interest::new("quakes.>", vec![Condition::Near { lat, lon, km }])
        };
        let paris = json!({ "lat": 48.8566, "lon": 2.3522 });
        check(&circle(350.0), "quakes.us", paris.clone(), true);
        check(&circle(340.0), "quakes.us", paris, false);
    }
}
