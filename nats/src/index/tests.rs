//! The index against a naive model: a map of documents and brute force.

mod listing;
mod made;
mod model;
mod ownership;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::made::{APPS, IDS, Op, TOKENS, USERS, document, drawn_document, event, events, id, ops};
use self::model::Model;
use super::*;
use crate::DeviceHash;
use crate::event::Event;
use crate::plan::HashRange;

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
