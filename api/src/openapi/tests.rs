//! The contract against the router and against what the readers take.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::*;
use crate::router::SERVED;

fn document() -> Value {
    serde_json::from_str(&openapi()).unwrap()
}

/// What a schema says of an object, found through its name.
fn properties<'a>(document: &'a Value, name: &str) -> &'a Map<String, Value> {
    let schema = &document["components"]["schemas"][name];
    assert_eq!(schema["additionalProperties"], false, "{name}: {schema}");
    schema["properties"].as_object().unwrap()
}

#[test]
fn the_document_has_the_routes_of_the_router_and_their_answers() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            let statuses = answers.keys().map(|it| it.parse().unwrap());
            let fine: BTreeSet<u16> = statuses.filter(|it| *it < 400).collect();
            described.insert((path.clone(), method.to_uppercase(), fine));
        }
    }
    let served = SERVED.iter().map(|row| {
        let good = row.good.iter().copied().collect();
        (row.route.to_owned(), row.method.to_owned(), good)
    });
    assert_eq!(described, served.collect());
}

#[test]
fn the_document_is_as_it_was_reviewed() {
    let reviewed: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    // Part by part, so that a difference is shown where it is.
    for (path, item) in document["paths"].as_object().unwrap() {
        assert_eq!(*item, reviewed["paths"][path], "{path}: {RENEW}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let before = &reviewed["components"]["schemas"][name];
        assert_eq!(schema, before, "{name}: {RENEW}");
    }
    assert!(document == reviewed, "{RENEW}");
}

#[test]
fn what_shall_go_is_announced_and_nothing_else() {
    let mut operation = Operation::new();
    announce(None, &mut operation);
    assert_eq!(json!(operation).get("deprecated"), None);
    let deprecated = Deprecation {
        since: jiff::Timestamp::UNIX_EPOCH,
        sunset: None,
        instead: "/v2/events",
    };
    announce(Some(deprecated), &mut operation);
    assert_eq!(json!(operation)["deprecated"], true);
    for row in SERVED {
        let described = &document()["paths"][row.route][row.method.to_lowercase()];
        let is_announced = described["deprecated"] == true;
        assert_eq!(is_announced, row.deprecated.is_some(), "{}", row.route);
    }
}

const RENEW: &str = "review the difference, then take it over with the example `openapi`";

#[test]
fn every_operation_has_a_name_of_its_own_and_every_reference_leads_somewhere() {
    let document = document();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|it| it.as_object().unwrap().values());
    let names: Vec<_> = operations
        .map(|it| it["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len());
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let (pointer, _) = reference.split_once('"').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn every_refusal_is_somewhere_in_the_document() {
    let text = document()["paths"].to_string();
    for kind in Kind::ALL {
        let code = kind.facts().1;
        // What no operation answers: there is none at that path, or by that method.
        let is_of_no_route = matches!(kind, Kind::NoSuchRoute | Kind::MethodNotAllowed);
        assert_eq!(
            text.contains(&format!("`{code}`")),
            !is_of_no_route,
            "{code}"
        );
    }
}

/// The fields that a reader does not know, of those that the document has.
#[track_caller]
fn check_fields(name: &str, read: impl Fn(Value) -> Vec<String>) {
    let document = document();
    let properties = properties(&document, name);
    let absent: Value = properties
        .keys()
        .map(|it| (it.clone(), Value::Null))
        .collect();
    let complaints = read(absent);
    assert!(
        complaints.iter().all(|it| it != UNKNOWN),
        "{name}: {complaints:?}"
    );
    // And one that it does not have is refused by the reader, too.
    let more = read(json!({"not_a_field": 1}));
    assert!(more.iter().any(|it| it == UNKNOWN), "{name}: {more:?}");
}

const UNKNOWN: &str = "is not a known field";

#[test]
fn what_is_described_is_what_is_read() {
    let details = |flaws: Vec<crate::fields::Flaw>| -> Vec<String> {
        flaws.into_iter().map(|it| it.detail.into_owned()).collect()
    };
    check_fields("DeviceDocument", |it| {
        device::document::read(it, &fanfare_nats::Tenant::main(), None)
            .map_or_else(details, |_| Vec::new())
    });
    check_fields("EventDocument", |it| {
        event::document::read(it, None).map_or_else(details, |_| Vec::new())
    });
    check_fields("PauseDocument", |it| {
        crate::operate::pause::read(it, crate::clock::now()).map_or_else(details, |_| Vec::new())
    });
    check_fields("AudienceDocument", |it| {
        audience::read(it).map_or_else(details, |_| Vec::new())
    });
    check_fields("ReplayDocument", |it| {
        crate::dead_letter::replay::read(it, crate::clock::now())
            .map_or_else(details, |_| Vec::new())
    });
    check_fields("TopicDocument", |it| {
        device::document::filters(it).map_or_else(details, |_| Vec::new())
    });
    check_fields("FilteredPattern", |it| {
        let body = json!({"topics": [it]});
        device::document::read(body, &fanfare_nats::Tenant::main(), None)
            .map_or_else(details, |_| Vec::new())
    });
    check_fields("Retries", |it| {
        let body = json!({"retries": it});
        event::document::read(body, None).map_or_else(details, |_| Vec::new())
    });
}

/// Everything that a reader takes, once: each field of it must be described.
#[test]
fn what_is_read_is_what_is_described() {
    let document = document();
    let full_device = json!({
        "app": "ios", "token": "t", "user": "ada", "locale": "de", "time_zone": "UTC",
        "topics": ["a"],
    });
    let full_event = json!({
        "id": "1", "topics": ["a"], "title": "t", "body": "b", "url": "https://example.org/",
        "image": "https://example.org/x.png", "data": {}, "priority": "bulk",
        "delivery": "at_most_once", "ttl": "1h", "retries": {"attempts": 1},
        "sound": "s", "thread": "t", "badge": 1, "interruption": "active", "overrides": {},
    });
    assert!(
        device::document::read(full_device.clone(), &fanfare_nats::Tenant::main(), None).is_ok()
    );
    let full_question = json!({"topics": ["a"], "data": {}, "priority": "bulk"});
    assert!(audience::read(full_question.clone()).is_ok());
    assert!(event::document::read(full_event.clone(), None).is_ok());
    for (name, full, others) in [
        ("DeviceDocument", full_device, &[][..]),
        (
            "EventDocument",
            full_event,
            &["device", "user", "urgency", "guarantee", "expires_in"],
        ),
        ("AudienceDocument", full_question, &["device", "user"]),
    ] {
        let described: BTreeSet<&str> = properties(&document, name)
            .keys()
            .map(String::as_str)
            .filter(|it| !others.contains(it))
            .collect();
        let taken: BTreeSet<&str> = full
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(described, taken, "{name}");
    }
}
