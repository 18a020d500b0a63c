//! Debts and ledgers made up, and what the reconciliation says of them.

use serde_json::{Value, json};

use super::super::owed::Interest;
use super::*;

const SECOND: i64 = 1_000_000;

fn device(token: &str) -> Device {
    Device {
        id: token.to_owned(),
        app: "ios",
        token: token.to_owned(),
        interests: vec![Interest::new("quakes.>", vec![])],
    }
}

fn event(item: &str, level: f64, at_s: i64) -> Stored {
    let Value::Object(data) = json!({ "mag": level }) else {
        panic!()
    };
    Stored {
        id: format!("{item}@{level}"),
        item: item.to_owned(),
        level,
        title: String::new(),
        topics: vec!["quakes.us".to_owned()],
        data,
        at_us: at_s * SECOND,
    }
}

fn push(token: &str, event: &str, at_s: i64) -> Push {
    Push {
        at_us: at_s * SECOND,
        conn: 1,
        token: token.to_owned(),
        event: event.to_owned(),
        is_cut: false,
    }
}

fn balance_of(events: &[Stored], accepted: Vec<Push>) -> Balance {
    let book = Book {
        accepted,
        others: vec![],
    };
    balance(&Case {
        devices: &[device("a"), device("b")],
        events,
        before: &[],
        emissions: &[],
        book: &book,
        killed_us: None,
        broker_killed_us: None,
    })
}

#[test]
fn the_pause_after_a_lost_broker_is_measured_from_its_kill() {
    let accepted = vec![push("a", "1", 1), push("a", "2", 12), push("b", "2", 14)];
    let book = Book {
        accepted,
        others: vec![],
    };
    let balance = balance(&Case {
        devices: &[],
        events: &[],
        before: &[],
        emissions: &[],
        book: &book,
        killed_us: None,
        broker_killed_us: Some(5 * SECOND),
    });
    assert_eq!(balance.after_broker, Some((2, 7 * SECOND)));
}

#[test]
fn lost_repeated_and_unasked_for_are_told_apart() {
    let accepted = vec![
        push("a", "q@6", 1),
        push("a", "q@6", 2),
        push("c", "q@6", 2),
    ];
    let found = balance_of(&[event("q", 6.0, 0)], accepted);
    assert_eq!((found.owed, found.delivered, found.lost), (2, 1, 1));
    assert_eq!((found.repeated, found.surplus), (1, 1));
}

#[test]
fn what_a_higher_level_overtook_is_not_lost() {
    let events = [event("q", 4.5, 0), event("q", 6.0, 1)];
    let accepted = vec![
        push("a", "q@4.5", 1),
        push("a", "q@6", 2),
        push("b", "q@6", 2),
    ];
    let found = balance_of(&events, accepted);
    assert_eq!((found.owed, found.superseded, found.lost), (4, 1, 0));
}

#[test]
fn a_higher_level_that_came_long_after_excuses_nothing() {
    let events = [event("q", 4.5, 0), event("q", 6.0, 60)];
    let accepted = vec![
        push("a", "q@4.5", 1),
        push("a", "q@6", 61),
        push("b", "q@6", 61),
    ];
    let found = balance_of(&events, accepted);
    assert_eq!((found.superseded, found.lost), (0, 1));
}

#[test]
fn a_higher_level_that_did_not_arrive_either_excuses_nothing() {
    let events = [event("q", 4.5, 0), event("q", 6.0, 1)];
    let accepted = vec![push("a", "q@6", 2)];
    let found = balance_of(&events, accepted);
    assert_eq!((found.superseded, found.lost), (1, 2));
}

#[test]
fn a_lower_level_after_a_higher_one_is_seen() {
    let events = [event("q", 4.5, 0), event("q", 6.0, 1)];
    let accepted = vec![push("a", "q@6", 2), push("a", "q@4.5", 3)];
    assert_eq!(balance_of(&events, accepted).lowered, 1);
}

#[test]
fn events_are_called_for_by_magnitude_and_what_stood_there_before() {
    let emission = |id: &str, mag| Emission {
        id: id.to_owned(),
        kind: "earthquake".to_owned(),
        revision: 0,
        mag,
        is_scripted: false,
        at_us: 0,
    };
    let emissions = [
        emission("old", 4.6),
        emission("old", 6.2),
        emission("new", 4.4),
        emission("new", 5.9),
        emission("new", 4.5),
    ];
    let found = balance(&Case {
        devices: &[],
        events: &[event("old", 6.0, 0), event("odd", 7.0, 0)],
        before: &[("old".to_owned(), 4.5)],
        emissions: &emissions,
        book: &Book::default(),
        killed_us: None,
        broker_killed_us: None,
    });
    let seen = (found.events_due, found.events_missing, found.events_surplus);
    assert_eq!(seen, (2, 1, 1));
}

#[test]
fn a_take_over_is_the_repetition_of_what_was_cut_off() {
    let cut = Push {
        is_cut: true,
        ..push("a", "q@6", 1)
    };
    let again = Push {
        conn: 2,
        ..push("a", "q@6", 5)
    };
    let book = Book {
        accepted: vec![cut, again],
        others: vec![],
    };
    let found = balance(&Case {
        devices: &[device("a")],
        events: &[event("q", 6.0, 0)],
        before: &[],
        emissions: &[],
        book: &book,
        killed_us: Some(2 * SECOND),
        broker_killed_us: None,
    });
    assert_eq!(found.taken_over_us, Some((3 * SECOND, 3 * SECOND)));
    assert_eq!((found.cut, found.repeated), (1, 1));
}
