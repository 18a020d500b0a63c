//! Whom an event concerns, read a second time from the documentation of patterns and filters.
//!
//! Nothing of the index, of `Pattern::matches` or of `Filter::passes` is used.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::device::{Circle, Filter, Subscription};
use crate::event::Event;
use crate::hash::DeviceHash;

/// Mean radius of the earth in kilometres.
const EARTH_KM: f64 = 6371.0;

/// What one subscription of a device says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// The pattern.
    pub pattern: String,
    /// The event's topic that it matches; `None` if none.
    pub topic: Option<String>,
    /// Its conditions, whether or not a topic matches.
    pub conditions: Vec<Condition>,
}

/// One condition of a subscription against the event's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The condition in words.
    pub text: String,
    /// What the event has there, in words.
    pub found: String,
    /// Whether it is fulfilled.
    pub holds: bool,
}

impl Opinion {
    /// Whether the device is concerned because of this subscription.
    pub fn is_for(&self) -> bool {
        self.topic.is_some() && self.conditions.iter().all(|it| it.holds)
    }

    /// Whether a topic matches and a condition does not.
    pub fn is_filtered_out(&self) -> bool {
        self.topic.is_some() && !self.is_for()
    }
}

/// What a subscription says of an event, with every reason.
pub fn opinion(subscription: &Subscription, event: &Event) -> Opinion {
    Opinion {
        pattern: subscription.pattern.to_string(),
        topic: matching_topic(subscription, event),
        conditions: subscription
            .filters
            .iter()
            .map(|it| condition(it, &event.content.data))
            .collect(),
    }
}

/// Whether a subscription makes an event concern its device.
pub fn concerns(subscription: &Subscription, event: &Event) -> bool {
    matching_topic(subscription, event).is_some()
        && subscription
            .filters
            .iter()
            .all(|it| holds(it, &event.content.data))
}

fn matching_topic(subscription: &Subscription, event: &Event) -> Option<String> {
    let pattern: Vec<&str> = subscription.pattern.as_str().split('.').collect();
    let (whose, pattern) = apart(&pattern);
    let follows = |topic: &&str| {
        let topic: Vec<&str> = topic.split('.').collect();
        let (of, topic) = apart(&topic);
        of == whose && topic.first() != Some(&"fanfare") && is_match(pattern, topic)
    };
    let mut topics = event.topics.iter().map(crate::Topic::as_str);
    topics.find(follows).map(str::to_owned)
}

/// Whose a topic or pattern is, and how that tenant writes it: `fanfare.tenant.<tenant>.` stands
/// before what is another's than `main`'s.
fn apart<'a, 'b>(segments: &'b [&'a str]) -> (Option<&'a str>, &'b [&'a str]) {
    match segments {
        ["fanfare", "tenant", tenant, written @ ..] => (Some(tenant), written),
        written => (None, written),
    }
}

/// `*` stands for one segment, `>` at the end for one or more.
fn is_match(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        ([], []) | ([">"], [_, ..]) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => is_match(pattern, topic),
        ([wanted, pattern @ ..], [given, topic @ ..]) => {
            wanted == given && is_match(pattern, topic)
        }
        ([], [_, ..]) | ([_, ..], []) => false,
    }
}

/// The devices and users that an event's reserved topics name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addressed {
    /// Hashes of device ids.
    pub devices: HashSet<u64>,
    /// Hashes of users.
    pub users: HashSet<u64>,
    /// Hashes of the ids of devices whose tokens are challenged.
    pub challenged: HashSet<u64>,
}

impl Addressed {
    /// Reads `fanfare.device.<id>`, `fanfare.user.<hash>` and `fanfare.challenge.<id>` among an
    /// event's topics, of whatever tenant.
    pub fn by(event: &Event) -> Self {
        let mut addressed = Self::default();
        for topic in &event.topics {
            let segments: Vec<&str> = topic.as_str().split('.').collect();
            match apart(&segments) {
                (None, ["fanfare", "device", id]) => {
                    addressed.devices.insert(DeviceHash::of(id).0);
                }
                (Some(tenant), ["fanfare", "device", id]) => {
                    let id = format!("{tenant}={id}");
                    addressed.devices.insert(DeviceHash::of(&id).0);
                }
                (None, ["fanfare", "challenge", id]) => {
                    addressed.challenged.insert(DeviceHash::of(id).0);
                }
                (Some(tenant), ["fanfare", "challenge", id]) => {
                    let id = format!("{tenant}={id}");
                    addressed.challenged.insert(DeviceHash::of(&id).0);
                }
                (None, ["fanfare", "user", digits]) => {
                    addressed.users.extend(u64::from_str_radix(digits, 16));
                }
                (Some(tenant), ["fanfare", "user", digits]) => {
                    addressed.users.insert(hash_of_tenant(tenant, digits));
                }
                _ => {}
            }
        }
        addressed
    }

    /// Whether a device is named, or its user.
    pub fn names(&self, device: DeviceHash, user: Option<u64>) -> bool {
        self.devices.contains(&device.0) || user.is_some_and(|it| self.users.contains(&it))
    }

    /// Whether a device's token is challenged, which concerns it only while it is pending.
    pub fn challenges(&self, device: DeviceHash) -> bool {
        self.challenged.contains(&device.0)
    }
}

/// The hash under which a user is known, who is given as he is stored.
pub fn user_hash(user: &str) -> u64 {
    match user.split_once('\u{1f}') {
        None => DeviceHash::of(user).0,
        Some((tenant, user)) => hash_of_tenant(tenant, &DeviceHash::of(user).to_string()),
    }
}

/// A tenant's user, of whom a reserved topic has the hash of his name.
fn hash_of_tenant(tenant: &str, digits: &str) -> u64 {
    DeviceHash::of(&format!("{tenant}\u{1f}{digits}")).0
}

fn holds(filter: &Filter, data: &Map<String, Value>) -> bool {
    match filter {
        Filter::AtLeast { field, min } => number(data, field).is_some_and(|it| *min <= it),
        Filter::AnyOf { field, any_of } => data
            .get(field)
            .is_some_and(|found| any_of.iter().any(|it| is_same(it, found))),
        Filter::Near { near } => place(data).is_some_and(|it| distance_km(near, it) <= near.km),
    }
}

fn condition(filter: &Filter, data: &Map<String, Value>) -> Condition {
    let found = |field: &str| match data.get(field) {
        Some(value) => format!("the event's {field} is {value}"),
        None => format!("the event has no {field}"),
    };
    let (text, found) = match filter {
        Filter::AtLeast { field, min } => (format!("{field} at least {min}"), found(field)),
        Filter::AnyOf { field, any_of } => {
            let values: Vec<String> = any_of.iter().map(ToString::to_string).collect();
            (
                format!("{field} one of {}", values.join(", ")),
                found(field),
            )
        }
        Filter::Near { near } => {
            let text = format!("within {} km of {}, {}", near.km, near.lat, near.lon);
            let found = match place(data) {
                Some(place) => format!("the event is {:.1} km away", distance_km(near, place)),
                None => "the event has no lat and lon".to_owned(),
            };
            (text, found)
        }
    };
    Condition {
        text,
        found,
        holds: holds(filter, data),
    }
}

fn number(data: &Map<String, Value>, field: &str) -> Option<f64> {
    data.get(field).and_then(Value::as_f64)
}

fn place(data: &Map<String, Value>) -> Option<(f64, f64)> {
    Some((number(data, "lat")?, number(data, "lon")?))
}

/// The same text, or the same number however it is written.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        (Some(_) | None, _) => one == other,
    }
}

/// Along the great circle, from the chord between two directions: exact for short distances too.
fn distance_km(circle: &Circle, (lat, lon): (f64, f64)) -> f64 {
    let direction = |lat: f64, lon: f64| {
        let (lat, lon) = (lat.to_radians(), lon.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let pairs = direction(circle.lat, circle.lon)
        .into_iter()
        .zip(direction(lat, lon));
    let chord: f64 = pairs.map(|(one, other)| (one - other).powi(2)).sum();
    2.0 * EARTH_KM * (chord.sqrt() / 2.0).min(1.0).asin()
}
