//! The documents and events that the tests are made of.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, json};

use crate::device::{AppName, Device, DeviceId, Filter, Holding, Subscription, Token};
use crate::event::{Content, Event, Guarantee, SourceName, Urgency};
use crate::level::Level;
use crate::tenant::Tenant;
use crate::topic::{Pattern, Topic};

/// The Prefixes of the hashes of the first two are equal. The last four are other tenants'.
pub(super) const IDS: [&str; 12] = [
    "d30533",
    "d83114",
    "a",
    "b",
    "c",
    "phone-1",
    "X_y",
    "0",
    "acme=a",
    "acme=b",
    "b=a",
    "b=phone-1",
];
pub(super) const TOKENS: [&str; 4] = [
    "00ff00ff00ff",
    "AbC-_9:x_Y-0",
    "not/packed+at=all",
    "AbC-_9x_Y-0",
];
pub(super) const APPS: [&str; 3] = ["ios", "android", "web"];
pub(super) const USERS: [&str; 2] = ["ada", "bob"];
const PATTERNS: [&str; 6] = [
    "quakes.us",
    "quakes.*",
    "quakes.>",
    ">",
    "news.*.big",
    "news.it",
];

/// What a document is drawn from: positions in the lists above.
pub(super) type Drawn = (
    usize,
    usize,
    Option<usize>,
    Vec<(usize, u8)>,
    (Option<u64>, bool),
);

#[derive(Clone, Debug)]
pub(super) enum Op {
    Put(usize, Drawn),
    Remove(usize),
    Barrier,
}

pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let subscriptions = prop::collection::vec((0..PATTERNS.len(), 0..4_u8), 0..4);
    let user = prop::option::of(0..USERS.len());
    let holding = (prop::option::of(1..80_u64), prop::bool::weighted(0.3));
    let drawn = (0..TOKENS.len(), 0..APPS.len(), user, subscriptions, holding);
    let op = prop_oneof![
        6 => (0..IDS.len(), drawn).prop_map(|(id, drawn)| Op::Put(id, drawn)),
        2 => (0..IDS.len()).prop_map(Op::Remove),
        1 => Just(Op::Barrier),
    ];
    prop::collection::vec(op, 0..40)
}

fn subscription(pattern: &str, filter: u8) -> Subscription {
    let filters = match filter {
        0 => json!([{"field": "mag", "min": 5}]),
        1 => json!([{"field": "mag", "min": 5}, {"field": "net", "any_of": ["us", "ci"]}]),
        _ => json!([]),
    };
    let filters: Vec<Filter> = serde_json::from_value(filters).unwrap();
    Subscription {
        pattern: Pattern::parse(pattern).unwrap(),
        filters,
    }
}

pub(super) fn document(
    app: &str,
    token: &str,
    user: Option<&str>,
    interests: &[(&str, u8)],
) -> Device {
    Device {
        app: AppName::parse(app).unwrap(),
        token: Token::parse(token).unwrap(),
        user: user.map(str::to_owned),
        locale: None,
        time_zone: None,
        subscriptions: interests
            .iter()
            .map(|(it, filter)| subscription(it, *filter))
            .collect(),
        registered_at: Timestamp::UNIX_EPOCH,
        last_seen: None,
        holding: Holding::default(),
        pending: None,
        secret: None,
    }
}

/// What the tenant of a device writes, as it is stored.
pub(super) fn drawn_document(of: &str, drawn: &Drawn) -> Device {
    let tenant = id(of).tenant();
    let mut device = drawn_of_main(drawn);
    device.user = device.user.map(|it| tenant.text(&it));
    for it in &mut device.subscriptions {
        it.pattern = tenant.pattern(&it.pattern);
    }
    device
}

fn drawn_of_main((token, app, user, interests, holding): &Drawn) -> Device {
    let interests: Vec<_> = interests
        .iter()
        .map(|(it, f)| (PATTERNS[*it], *f))
        .collect();
    let (since, is_proven) = *holding;
    Device {
        holding: Holding { since, is_proven },
        ..document(
            APPS[*app],
            TOKENS[*token],
            user.map(|it| USERS[it]),
            &interests,
        )
    }
}

pub(super) fn id(text: &str) -> DeviceId {
    DeviceId::parse_stored(text).unwrap()
}

pub(super) fn event(topics: &[Topic], data: serde_json::Value) -> Event {
    Event {
        source: SourceName::parse("usgs").unwrap(),
        item: "i".into(),
        level: Level::First,
        topics: topics.to_vec(),
        kind: "k".into(),
        occurred_at: None,
        expires_at: Timestamp::UNIX_EPOCH,
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: crate::policy::Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            data: data.as_object().cloned().unwrap_or_else(Map::new),
            ..Content::default()
        },
    }
}

pub(super) fn events() -> Vec<Event> {
    let topic = |it: &str| Topic::parse(it).unwrap();
    let mut events = vec![
        event(&[topic("quakes.us")], json!({"mag": 6.0, "net": "us"})),
        event(&[topic("quakes.us")], json!({"mag": 4.0})),
        event(
            &[topic("quakes.us.big"), topic("news.it")],
            json!({"mag": 6.0, "net": "jp"}),
        ),
        event(&[topic("news.it.big"), topic("quakes.jp")], json!({})),
        event(&[topic("weather")], json!({})),
        event(&[Topic::of_user("ada")], json!({})),
        event(&[Topic::of_user("bob"), topic("news.it")], json!({})),
        event(&[Topic::of_user("nobody")], json!({})),
    ];
    events.extend(IDS.map(|it| event(&[Topic::of_device(&id(it))], json!({}))));
    for tenant in ["acme", "b"].map(|it| Tenant::parse(it).unwrap()) {
        let topic = |it| tenant.topic(&topic(it));
        events.push(event(&[topic("quakes.us")], json!({"mag": 6.0})));
        events.push(event(&[topic("news.it.big"), topic("x")], json!({})));
        events.push(event(&[Topic::of_user(&tenant.text("ada"))], json!({})));
        events.push(event(&[topic("fanfare.device.a")], json!({})));
    }
    events
}
