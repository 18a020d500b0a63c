//! Device documents, read and refused.

use serde_json::json;

use super::*;

/// As of the tenant `main`.
fn read(body: Value, apps: Option<&[AppName]>) -> Result<Wanted, Vec<Flaw>> {
    super::read(body, &Tenant::main(), apps)
}

fn pointers(body: Value) -> Vec<String> {
    let flaws = read(body, None).unwrap_err();
    flaws.into_iter().map(|it| it.pointer).collect()
}

fn wanted(token: &str) -> Wanted {
    read(json!({"app": "ios", "token": token}), None).unwrap()
}

#[test]
fn a_full_document_is_read() {
    let body = json!({
        "app": "ios", "token": "ab".repeat(32), "user": "ada", "locale": "de_DE",
        "time_zone": "America/Argentina/Buenos_Aires",
        "topics": ["quakes.>", {"pattern": "all", "filters": [{"field": "mag", "min": 5}]}, "quakes.>"],
    });
    let wanted = read(body, None).unwrap();
    let patterns: Vec<&str> = wanted
        .subscriptions
        .iter()
        .map(|it| it.pattern.as_str())
        .collect();
    assert_eq!(patterns, ["quakes.>", "all"]);
    assert_eq!(wanted.subscriptions[1].filters.len(), 1);
}

#[test]
fn all_flaws_are_named_at_once() {
    let body = json!({
        "app": "My App", "token": "has space", "user": "", "locale": "d e", "time_zone": 7,
        "topics": ["a..b", 5, {"filters": [{"field": "x"}]}, {"pattern": "fanfare.>", "more": 1},
                   {"pattern": "ok", "filters": [{"near": {"lat": 91, "lon": 0, "km": 1}}]}],
        "extra": true,
    });
    let expected = [
        "/app",
        "/token",
        "/user",
        "/locale",
        "/time_zone",
        "/topics/0",
        "/topics/1",
        "/topics/2/pattern",
        "/topics/2/filters/0",
        "/topics/3/pattern",
        "/topics/3/more",
        "/topics/4/filters/0",
        "/extra",
    ];
    assert_eq!(pointers(body), expected);
}

#[test]
fn what_is_missing_is_named_and_null_is_missing() {
    assert_eq!(pointers(json!({})), ["/app", "/token"]);
    assert_eq!(
        pointers(json!({"app": null, "token": null})),
        ["/app", "/token"]
    );
    assert_eq!(pointers(json!([])), [""]);
    assert_eq!(
        pointers(json!({"app": "ios", "token": "t", "topics": "a"})),
        ["/topics"]
    );
}

#[test]
fn an_app_that_is_not_configured_is_refused() {
    let apps = [AppName::parse("ios").unwrap()];
    let body = |app: &str| json!({"app": app, "token": "t"});
    assert!(read(body("ios"), Some(&apps)).is_ok());
    assert_eq!(
        read(body("android"), Some(&apps)).unwrap_err()[0].pointer,
        "/app"
    );
}

#[track_caller]
fn check_filter(value: Value, is_filter: bool) {
    assert_eq!(filter(value.clone()).is_ok(), is_filter, "{value}");
}

#[test]
fn filters_come_from_a_closed_set() {
    check_filter(json!({"field": "mag", "min": 5.5}), true);
    check_filter(json!({"field": "net", "any_of": ["us", 7]}), true);
    check_filter(
        json!({"near": {"lat": 35.6, "lon": 139.7, "km": 300}}),
        true,
    );
    check_filter(json!({"field": "", "min": 5}), false);
    check_filter(json!({"field": "mag", "min": "5"}), false);
    check_filter(json!({"field": "net", "any_of": []}), false);
    check_filter(json!({"field": "net", "any_of": [{"a": 1}]}), false);
    check_filter(json!({"near": {"lat": 35.6, "lon": 139.7, "km": 0}}), false);
    check_filter(json!({"near": {"lat": 35.6, "lon": 200, "km": 1}}), false);
    check_filter(json!({"field": "mag", "min": 5, "any_of": [1]}), false);
}

#[test]
fn a_token_keeps_its_time_and_another_token_or_app_gets_the_current_time() {
    let (then, now) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
    let secret = NewSecret::of_device(&Tenant::main());
    let first = wanted("one").over(None, Leave::Full, Some(&secret), then);
    assert_eq!(first.registered_at, then);
    assert_eq!(
        wanted("one")
            .over(Some(&first), Leave::Full, Some(&secret), now)
            .registered_at,
        then
    );
    assert_eq!(
        wanted("two")
            .over(Some(&first), Leave::Full, Some(&secret), now)
            .registered_at,
        now
    );
    let moved = read(json!({"app": "android", "token": "one"}), None).unwrap();
    assert_eq!(
        moved
            .over(Some(&first), Leave::Full, Some(&secret), now)
            .registered_at,
        now
    );
}

#[test]
fn a_secret_stays_until_somebody_registers_and_whose_it_is_only_a_backend_says() {
    let (one, two) = (
        NewSecret::of_device(&Tenant::main()),
        NewSecret::of_device(&Tenant::main()),
    );
    let of = |user: &str| read(json!({"app": "ios", "token": "t", "user": user}), None).unwrap();
    let over = |wanted: Wanted, before: Option<&Device>, leave, secret| {
        wanted.over(before, leave, Some(secret), Timestamp::UNIX_EPOCH)
    };
    let first = over(of("ada"), None, Leave::Full, &one);
    assert_eq!(first.secret, Some(one.hash()));
    let full = over(of("bob"), Some(&first), Leave::Full, &two);
    assert_eq!(
        (full.secret, full.user.as_deref()),
        (Some(one.hash()), Some("bob"))
    );
    let own = over(wanted("t"), Some(&first), Leave::Own, &two);
    assert_eq!(
        (own.secret, own.user.as_deref()),
        (Some(one.hash()), Some("ada"))
    );
    let register = over(wanted("t"), Some(&first), Leave::Register, &two);
    let shown = (register.secret, register.user.as_deref());
    assert_eq!(shown, (Some(two.hash()), Some("ada")));
    assert_eq!(over(wanted("t"), None, Leave::Register, &two).user, None);
}

#[test]
fn what_is_shown_and_what_is_refused_never_holds_the_token() {
    let secret = "canary-0123456789-canary";
    let device = wanted(secret).over(
        None,
        Leave::Full,
        Some(&NewSecret::of_device(&Tenant::main())),
        Timestamp::UNIX_EPOCH,
    );
    let id = DeviceId::parse("phone-1").unwrap();
    let shown = serde_json::to_string(&shown(&id, &device)).unwrap();
    assert!(
        shown.contains(r#""token_hint":"nary""#) && !shown.contains("canary-"),
        "{shown}"
    );
    let misplaced =
        json!({"app": secret, "token": format!("{secret} "), "topics": [format!("{secret}.")]});
    let flaws = read(misplaced, None).unwrap_err();
    assert!(!format!("{flaws:?}").contains("canary"), "{flaws:?}");
}
