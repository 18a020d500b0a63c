//! What an `[[app]]` may say.

use serde_json::{Value, json};

use super::*;

fn read(config: Value) -> AppConfig {
    serde_json::from_value(config).unwrap()
}

#[track_caller]
fn check(config: Value, expected: &[&str]) {
    let problems = read(config).validate();
    let keys: Vec<&str> = problems.iter().map(|it| &*it.key).collect();
    assert_eq!(keys, expected, "{problems:?}");
}

fn apns() -> Value {
    json!({
        "name": "ios", "provider": "apns", "key_file": "k.p8", "key_id": "K", "team_id": "T",
        "bundle_id": "org.example.app",
    })
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[test]
fn what_holds_together_has_no_problems() {
    check(apns(), &[]);
    check(with(apns(), "timeout", json!("500ms")), &[]);
    check(
        with(apns(), "endpoint", json!("https://127.0.0.1:2197")),
        &[],
    );
    check(
        json!({
            "name": "ios", "provider": "apns", "bundle_id": "b", "certificate_file": "c.pem",
            "certificate_key_file": "k.pem", "environment": "sandbox",
        }),
        &[],
    );
    check(
        json!({"name": "a", "provider": "fcm", "service_account_file": "s.json"}),
        &[],
    );
    check(
        json!({"name": "a", "provider": "log", "file": "pushes.jsonl"}),
        &[],
    );
}

#[test]
fn each_problem_is_named_by_its_key() {
    for name in ["", "Ä", "UPPER", "a.b", &"a".repeat(25)] {
        check(with(apns(), "name", json!(name)), &["name"]);
    }
    check(
        json!({"name": "a", "provider": "apns"}),
        &["bundle_id", "key_file"],
    );
    check(with(apns(), "key", json!("pem")), &["key"]);
    check(with(apns(), "key_id", Value::Null), &["key_id"]);
    check(
        with(apns(), "certificate_file", json!("c")),
        &["certificate_file"],
    );
    check(
        json!({"name": "a", "provider": "fcm"}),
        &["service_account_file"],
    );
    check(
        with(apns(), "service_account_file", json!("s")),
        &["service_account_file"],
    );
    check(
        json!({"name": "a", "provider": "log", "endpoint": "https://x"}),
        &["endpoint"],
    );
    check(
        with(apns(), "endpoint", json!("http://192.0.2.1")),
        &["endpoint"],
    );
    check(
        with(apns(), "proxy", json!("https://proxy.example")),
        &["proxy"],
    );
    check(with(apns(), "connections", json!(0)), &["connections"]);
    check(with(apns(), "timeout", json!("10s")), &["timeout"]);
}

#[test]
fn all_problems_come_at_once() {
    let config = json!({"name": "A", "provider": "fcm", "key_id": "K", "timeout": "1h"});
    check(
        config,
        &["name", "service_account_file", "key_id", "timeout"],
    );
}

#[test]
fn an_unknown_key_is_an_error_and_a_secret_stays_one() {
    let unknown = with(apns(), "kye", json!("x"));
    assert!(serde_json::from_value::<AppConfig>(unknown).is_err());
    let config = read(with(apns(), "proxy", json!("http://me:hunter2@p:1")));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(read(apns()).timeout(), Duration::from_secs(8));
}
