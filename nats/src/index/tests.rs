//! The index against a naive model: a map of documents and brute force.

mod listing;
mod ownership;

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::DeviceHash;
use crate::device::holding::{self, Contender, Standing};
use crate::device::{Filter, Holding, Subscription, Token};
use crate::event::{Content, Event, Guarantee, SourceName, Urgency};
use crate::level::Level;
use crate::plan::HashRange;
use crate::tenant::Tenant;
use crate::topic::{Pattern, Topic};

/// The Prefixes of the hashes of the first two are equal. The last four are other tenants'.
const IDS: [&str; 12] = [
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
const TOKENS: [&str; 4] = [
    "00ff00ff00ff",
    "AbC-_9:x_Y-0",
    "not/packed+at=all",
    "AbC-_9x_Y-0",
];
const APPS: [&str; 3] = ["ios", "android", "web"];
const USERS: [&str; 2] = ["ada", "bob"];
const PATTERNS: [&str; 6] = [
    "quakes.us",
    "quakes.*",
    "quakes.>",
    ">",
    "news.*.big",
    "news.it",
];

/// What a document is drawn from: positions in the lists above.
type Drawn = (
    usize,
    usize,
    Option<usize>,
    Vec<(usize, u8)>,
    (Option<u64>, bool),
);

#[derive(Clone, Debug)]
enum Op {
    Put(usize, Drawn),
    Remove(usize),
    Barrier,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
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

fn document(app: &str, token: &str, user: Option<&str>, interests: &[(&str, u8)]) -> Device {
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
fn drawn_document(of: &str, drawn: &Drawn) -> Device {
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

fn id(text: &str) -> DeviceId {
    DeviceId::parse_stored(text).unwrap()
}

fn event(topics: &[Topic], data: serde_json::Value) -> Event {
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

fn events() -> Vec<Event> {
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

/// The documents, and which of them have their token, with the revision at which it came from another
/// device.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, (Device, u64)>,
    owners: BTreeMap<String, Option<u64>>,
}

impl Model {
    fn put(&mut self, id: &str, device: Device, revision: u64) {
        let before = self.documents.clone();
        self.documents.insert(id.to_owned(), (device, revision));
        self.settle(&before, revision);
    }

    fn remove(&mut self, id: &str, revision: u64) {
        let before = self.documents.clone();
        self.documents.remove(id);
        self.settle(&before, revision);
    }

    fn with_token(&self, token: &Token) -> Vec<(&String, &(Device, u64))> {
        let documents = self.documents.iter();
        documents
            .filter(|(_, (it, _))| it.token == *token)
            .collect()
    }

    fn owns(&self, id: &str) -> bool {
        let group = self.with_token(&self.documents[id].0.token);
        let tenants: Vec<Tenant> = group.iter().map(|(it, _)| self::id(it).tenant()).collect();
        let contenders = group
            .iter()
            .zip(&tenants)
            .map(|((_, (it, revision)), tenant)| Contender {
                tenant: (!tenant.is_main()).then_some(tenant.as_str()),
                user: it.user.as_deref().map_or(0, crate::topic::user_hash),
                since: it.holding.since.unwrap_or(*revision).min(*revision),
                revision: *revision,
                is_proven: it.holding.is_proven,
            });
        let standings = holding::judge(&contenders.collect::<Vec<_>>());
        let place = group.iter().position(|(it, _)| *it == id).unwrap();
        standings[place] == Standing::Owned
    }

    fn settle(&mut self, before: &BTreeMap<String, (Device, u64)>, revision: u64) {
        let former = std::mem::take(&mut self.owners);
        let mut owners = BTreeMap::new();
        for (id, (device, _)) in &self.documents {
            if !self.owns(id) {
                continue;
            }
            let had_it = before
                .get(id)
                .is_some_and(|(it, _)| it.token == device.token);
            let tenant = self::id(id).tenant();
            let mut others = self.with_token(&device.token).into_iter();
            let has_rivals = others.any(|(it, _)| it != id && self::id(it).tenant() == tenant);
            let moved = match former.get(id) {
                Some(moved) if had_it => *moved,
                Some(_) | None => (had_it || has_rivals).then_some(revision),
            };
            owners.insert(id.clone(), moved);
        }
        self.owners = owners;
    }

    fn concerns(&self, id: &str, event: &Event) -> bool {
        let Some((device, _)) = self.documents.get(id) else {
            return false;
        };
        let follows = |it: &Subscription| it.matches(&event.topics, &event.content.data);
        let user = device.user.as_deref().map(Topic::of_user);
        let device_topic = Topic::of_device(&self::id(id));
        device.subscriptions.iter().any(follows)
            || event.topics.contains(&device_topic)
            || user.is_some_and(|it| event.topics.contains(&it))
    }

    fn count(&self, event: &Event) -> BTreeMap<AppName, u64> {
        let mut counts = BTreeMap::new();
        for (id, (device, _)) in &self.documents {
            if self.concerns(id, event) && self.owners.contains_key(id) {
                *counts.entry(device.app.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    fn walk(&self, event: &Event, app: &AppName, range: HashRange) -> Vec<DeviceHash> {
        let mut hashes: Vec<DeviceHash> = self
            .documents
            .iter()
            .filter(|(id, (device, _))| device.app == *app && self.concerns(id, event))
            .map(|(id, _)| DeviceHash::of(id))
            .filter(|it| range.contains(*it))
            .collect();
        hashes.sort();
        hashes
    }

    fn target(
        &self,
        event: &Event,
        app: &AppName,
        id: &str,
        plan_revision: u64,
    ) -> Result<Target, Dropped> {
        let (device, revision) = self.documents.get(id).ok_or(Dropped::Gone)?;
        let owner = self.owners.get(id);
        if device.app != *app {
            Err(Dropped::OtherApp)
        } else if !self.concerns(id, event) {
            Err(Dropped::Unsubscribed)
        } else if owner.is_none() {
            Err(Dropped::TokenLost)
        } else if owner
            .copied()
            .flatten()
            .is_some_and(|it| it > plan_revision)
        {
            Err(Dropped::TokenMoved)
        } else {
            let token = device.token.reveal().to_owned();
            Ok(Target {
                id: id.to_owned(),
                token,
                revision: *revision,
            })
        }
    }
}

/// All devices of a range, a few at a time, as a task walks them.
fn walked(
    index: &Index,
    interest: &Interest,
    app: &AppName,
    range: HashRange,
    limit: usize,
) -> Vec<DeviceHash> {
    let (mut found, mut from) = (Vec::new(), DeviceHash(0));
    loop {
        let some: Vec<DeviceHash> = index
            .walk(interest, app, range, from, limit)
            .into_iter()
            .map(|it| it.device)
            .collect();
        assert!(some.len() <= limit);
        found.extend_from_slice(&some);
        match some.last() {
            Some(last) if some.len() == limit && last.0 < u64::MAX => from = DeviceHash(last.0 + 1),
            Some(_) | None => return found,
        }
    }
}

#[track_caller]
fn check_event(index: &Index, model: &Model, event: &Event, limits: &[usize], revision: u64) {
    let interest = index.interest(event);
    let counted = index.count(&interest).into_iter().filter(|(_, n)| *n > 0);
    assert_eq!(
        counted.collect::<BTreeMap<_, _>>(),
        model.count(event),
        "{:?}",
        event.topics
    );
    for app in APPS.map(|it| AppName::parse(it).unwrap()) {
        for (log2_n, limit) in [0, 1, 3]
            .into_iter()
            .flat_map(|n| limits.iter().map(move |l| (n, l)))
        {
            for range in (0..1 << log2_n).map(|it| HashRange::new(it, log2_n).unwrap()) {
                let expected = model.walk(event, &app, range);
                assert_eq!(
                    walked(index, &interest, &app, range, *limit),
                    expected,
                    "{range:?}"
                );
            }
        }
        for id in IDS {
            for plan_revision in [0, revision / 2, revision] {
                let target =
                    index.target(&interest, &app, Step::to(DeviceHash::of(id)), plan_revision);
                assert_eq!(
                    target,
                    model.target(event, &app, id, plan_revision),
                    "{id} at {plan_revision}"
                );
            }
        }
    }
}

#[track_caller]
fn check(index: &Index, model: &Model, revision: u64) {
    assert_eq!(index.len(), model.documents.len());
    listing::check_listing(index, model);
    for event in events() {
        check_event(index, model, &event, &[2, 100], revision);
    }
    for id in IDS {
        let expected = model.documents.contains_key(id).then(|| self::id(id));
        assert_eq!(index.device_id(DeviceHash::of(id)), expected);
    }
}

fn apply(index: &mut Index, op: &Op, revision: u64) {
    match op {
        Op::Put(at, drawn) => {
            index.put(&id(IDS[*at]), &drawn_document(IDS[*at], drawn), revision);
        }
        Op::Remove(at) => index.remove(&id(IDS[*at]), revision),
        Op::Barrier => index.reach(revision),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_index_is_the_brute_force_model(ops in ops()) {
        let (mut index, mut model, mut revision) = (Index::default(), Model::default(), 0);
        for op in &ops {
            revision += 2;
            apply(&mut index, op, revision);
            match op {
                Op::Put(at, drawn) => model.put(IDS[*at], drawn_document(IDS[*at], drawn), revision),
                Op::Remove(at) => model.remove(IDS[*at], revision),
                Op::Barrier => {}
            }
            prop_assert_eq!(index.reached(), revision);
        }
        check(&index, &model, revision);
    }

    #[test]
    fn a_replay_from_anywhere_changes_nothing(ops in ops(), from in 0_usize..40, n in 1_usize..40) {
        let (mut index, mut model) = (Index::default(), Model::default());
        let numbered = || (1_u64..).zip(&ops);
        for (revision, op) in numbered() {
            apply(&mut index, op, revision);
            match op {
                Op::Put(at, drawn) => model.put(IDS[*at], drawn_document(IDS[*at], drawn), revision),
                Op::Remove(at) => model.remove(IDS[*at], revision),
                Op::Barrier => {}
            }
        }
        for (revision, op) in numbered().skip(from).take(n) {
            apply(&mut index, op, revision);
        }
        check(&index, &model, u64::try_from(ops.len()).unwrap());
    }

    #[test]
    fn an_interest_refreshed_is_an_interest_taken_anew(before in ops(), after in ops()) {
        let mut index = Index::default();
        for (revision, op) in (1_u64..).zip(&before) {
            apply(&mut index, op, revision);
        }
        let mut interests: Vec<_> = events().iter().map(|it| index.interest(it)).collect();
        for (revision, op) in (100_u64..).zip(&after) {
            apply(&mut index, op, revision);
        }
        for (event, interest) in events().iter().zip(&mut interests) {
            index.refresh(interest, event);
            prop_assert_eq!(index.count(interest), index.count(&index.interest(event)));
        }
    }
}

#[test]
fn a_device_whose_token_came_from_another_one_stays_moved_when_it_is_updated() {
    let mut index = Index::default();
    let device = |interest: &str| document("ios", TOKENS[0], None, &[(interest, 9)]);
    index.put(&id("a"), &device(">"), 10);
    index.put(&id("b"), &device(">"), 20);
    index.put(&id("b"), &device("quakes.*"), 30);
    let interest = index.interest(&events()[0]);
    let app = AppName::parse("ios").unwrap();
    let target = |id: &str, plan| index.target(&interest, &app, Step::to(DeviceHash::of(id)), plan);
    assert_eq!(target("b", 15), Err(Dropped::TokenMoved));
    assert!(target("b", 20).is_ok());
    assert_eq!(target("a", 30), Err(Dropped::TokenLost));
}

#[test]
fn two_patterns_of_one_device_are_one_entry_and_the_same_interest_twice_is_one() {
    let mut index = Index::default();
    let interests = [
        ("quakes.us", 9),
        ("quakes.*", 9),
        (">", 9),
        (">", 9),
        (">", 8),
    ];
    index.put(&id("a"), &document("ios", TOKENS[0], None, &interests), 1);
    assert_eq!(index.n_subscriptions(), 3);
    let interest = index.interest(&events()[0]);
    let app = AppName::parse("ios").unwrap();
    assert_eq!(index.count(&interest), [(app.clone(), 1)]);
    let whole = HashRange::new(0, 0).unwrap();
    let found: Vec<DeviceHash> = index
        .walk(&interest, &app, whole, DeviceHash(0), 100)
        .into_iter()
        .map(|it| it.device)
        .collect();
    assert_eq!(found, [DeviceHash::of("a")]);
    index.remove(&id("a"), 2);
    assert_eq!((index.n_subscriptions(), index.len()), (0, 0));
}

/// Many devices: enough that a walk has to look several times for one app's.
fn crowd() -> (Index, Model) {
    let (mut index, mut model) = (Index::default(), Model::default());
    for (n, revision) in (0..600).zip(1_u64..) {
        let app = if n % 50 == 0 { "web" } else { "ios" };
        let user = (n % 7 == 0).then_some("ada");
        let interest = if n % 100 == 3 { "news.it" } else { "quakes.*" };
        let token = format!("{n:08x}");
        let device = document(app, &token, user, &[(interest, 9), ("quakes.us", 9)]);
        let name = format!("crowd-{n}");
        index.put(&id(&name), &device, revision);
        model.put(&name, device, revision);
    }
    (index, model)
}

#[test]
fn a_walk_with_any_limit_finds_everyone_of_a_crowd_in_order() {
    let (index, model) = crowd();
    // A common topic, a rare one (counted by look-up, not by a pass), and a user.
    for event in [&events()[0], &events()[6], &events()[5]] {
        check_event(&index, &model, event, &[1, 7, 64, 65, 1000], 600);
    }
}

#[test]
fn a_walk_from_beyond_its_range_finds_nobody() {
    let (index, _) = crowd();
    let interest = index.interest(&events()[0]);
    let app = AppName::parse("ios").unwrap();
    let first = HashRange::new(0, 3).unwrap();
    for from in [first.last().0 + 1, u64::MAX / 2, u64::MAX] {
        assert!(
            index
                .walk(&interest, &app, first, DeviceHash(from), 10)
                .is_empty()
        );
    }
    assert!(
        index
            .walk(&interest, &app, first, DeviceHash(0), 0)
            .is_empty()
    );
}

#[test]
fn what_updates_give_up_is_reclaimed_and_nobody_is_lost_by_it() {
    let (mut index, mut model) = (Index::default(), Model::default());
    let filler = "+".repeat(2000);
    // 26 MB of records for eight devices: the arena is written anew on the way.
    for revision in 1..=13_000_u64 {
        let name = IDS[usize::try_from(revision % 8).unwrap()];
        let token = format!("{}{filler}", revision % 5);
        let device = document("ios", &token, Some("ada"), &[("quakes.>", 9)]);
        index.put(&id(name), &device, revision);
        if revision > 12_900 {
            model.put(name, device, revision);
        }
    }
    assert!(index.arena.segments() < 17, "{}", index.arena.segments());
    // The model began in the middle, so it knows owners, and moves since then.
    for event in &events()[..6] {
        let interest = index.interest(event);
        let counted = index.count(&interest).into_iter().filter(|(_, n)| *n > 0);
        assert_eq!(counted.collect::<BTreeMap<_, _>>(), model.count(event));
    }
    check_event(&index, &model, &events()[0], &[3], 13_000);
}
