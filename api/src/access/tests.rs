//! Who gets in: every policy, every kind of credential, every age of the ring.

use std::time::Duration;

use fanfare_nats::key::{Key, NewSecret, Right, Tenant};
use fanfare_nats::keys::{KeyChange, KeyName};
use http::header::AUTHORIZATION;
use jiff::ToSpan;

use super::ring::STALE;
use super::*;

const READ: Needs = Needs::one_of(&[Right::Read]);

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn key(tenant: &str, scope: &str) -> (Key, NewSecret) {
    let tenant = Tenant::parse(tenant).unwrap();
    Key::create(tenant, "x", vec![scope.parse().unwrap()], None, noon()).unwrap()
}

fn name(key: &Key) -> KeyName {
    (key.tenant.clone(), key.id.clone())
}

fn put(key: &Key) -> KeyChange {
    KeyChange::Put(name(key), Ok(Box::new(key.clone())))
}

/// A ring that was read at `at` and held these.
fn ring(keys: &[&Key], at: Instant) -> Ring {
    let ring = Ring::default();
    let changes = keys.iter().zip(1..).map(|(key, n)| (n, put(key)));
    ring.replace(ring.last().after(changes.collect(), true, at));
    ring
}

fn parts(host: &str, authorization: &[&str]) -> Parts {
    let mut request = http::Request::builder().header(HOST, host);
    for value in authorization {
        request = request.header(AUTHORIZATION, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn bearer(secret: &NewSecret) -> String {
    format!("Bearer {}", secret.reveal())
}

/// The status: 200 for whoever gets in.
fn status(access: &Access, needs: Needs, parts: &Parts, at: Instant) -> u16 {
    let judged = access.judge(parts, needs, noon() + 1.hour(), at);
    judged.map_or_else(|it| it.into_response().status().as_u16(), |_| 200)
}

#[track_caller]
fn check_host(host: &str, policy: Policy, expected: u16) {
    let at = Instant::now();
    let access = Access::new(policy, ring(&[], at));
    let seen = status(&access, READ, &parts(host, &[]), at);
    assert_eq!(seen, expected, "{host} {policy:?}");
}

#[test]
fn before_the_first_key_a_request_must_name_this_machine() {
    let check = |host, expected| check_host(host, Policy::UntilFirst, expected);
    check("127.0.0.1:8480", 200);
    check("[::1]:8480", 200);
    check("localhost", 200);
    check("LOCALHOST:8480", 200);
    check("rebound.example.org:8480", 421);
    check("127.0.0.1.example.org", 421);
    check("", 421);
    check_host("api.example.org", Policy::Open, 200);
    check_host("127.0.0.1", Policy::Required, 401);
    check_host("api.example.org", Policy::Required, 401);
}

#[test]
fn the_first_key_ends_the_time_without_keys_even_if_nobody_can_use_it() {
    let at = Instant::now();
    let here = parts("localhost", &[]);
    let (mut revoked, _) = key("main", "read");
    revoked.revoked_at = Some(noon());
    let access = |ring| Access::new(Policy::UntilFirst, ring);
    assert_eq!(status(&access(ring(&[&revoked], at)), READ, &here, at), 401);
    let unreadable = Ring::default();
    let error = Key::decode(revoked.tenant.clone(), revoked.id.clone(), b"{").unwrap_err();
    let change = KeyChange::Put(name(&revoked), Err(error));
    unreadable.replace(unreadable.last().after(vec![(1, change)], true, at));
    assert_eq!(status(&access(unreadable.clone()), READ, &here, at), 401);
    let removed = KeyChange::Removed(name(&revoked));
    unreadable.replace(unreadable.last().after(vec![(2, removed)], false, at));
    assert_eq!(status(&access(unreadable), READ, &here, at), 200);
}

#[test]
fn a_ring_that_is_too_old_or_was_never_read_lets_nobody_in_and_says_so() {
    let at = Instant::now();
    let (key, secret) = key("main", "admin");
    let shown = parts("api.example.org", &[&bearer(&secret)]);
    for policy in [Policy::Required, Policy::UntilFirst] {
        let access = Access::new(policy, ring(&[&key], at));
        let last = at + STALE.checked_sub(Duration::from_nanos(1)).unwrap();
        assert_eq!(status(&access, READ, &shown, last), 200);
        assert_eq!(status(&access, READ, &shown, at + STALE), 503);
        let here = parts("localhost", &[]);
        assert_eq!(status(&access, READ, &here, at + STALE), 503);
        let never = Access::new(policy, Ring::default());
        assert_eq!(status(&never, READ, &shown, at), 503);
        assert_eq!(status(&never, READ, &here, at), 503);
        assert_eq!(status(&never, Needs::NOTHING, &here, at), 200, "probes");
    }
}

#[test]
fn a_key_gets_in_while_it_is_good_and_where_its_scope_reaches() {
    let at = Instant::now();
    let (good, secret) = key("main", "read");
    let (mut old, old_secret) = key("main", "read");
    old.expires_at = Some(noon() + 1.hour());
    let (mut gone, gone_secret) = key("main", "read");
    gone.revoked_at = Some(noon());
    let (foreign, foreign_secret) = key("other", "admin");
    let (_, never) = key("main", "admin");
    let access = Access::new(Policy::Required, ring(&[&good, &old, &gone, &foreign], at));
    let ask = |needs, shown: &[&str]| status(&access, needs, &parts("x.example.org", shown), at);
    let value = bearer(&secret);
    assert_eq!(ask(READ, &[&value]), 200);
    assert_eq!(ask(READ, &[&value.replacen("Bearer", "bearer", 1)]), 200);
    assert_eq!(ask(Needs::one_of(&[Right::Operate]), &[&value]), 403);
    assert_eq!(
        ask(Needs::one_of(&[Right::Operate, Right::Read]), &[&value]),
        200
    );
    assert_eq!(ask(Needs::one_of(&[]), &[&value]), 403, "only admin");
    for shown in [&old_secret, &gone_secret, &never] {
        assert_eq!(ask(READ, &[&bearer(shown)]), 401);
    }
    for wrong in [
        "Bearer",
        "Bearer ",
        "Bearer x",
        secret.reveal(),
        &value.replacen("Bearer", "Basic", 1),
        &format!("{value}x"),
    ] {
        assert_eq!(ask(READ, &[wrong]), 401, "{wrong}");
    }
    assert_eq!(ask(READ, &[&value, &value]), 401, "two are none");
    let foreign = bearer(&foreign_secret);
    assert_eq!(ask(READ, &[&foreign]), 403, "of the whole installation");
    assert_eq!(ask(READ.for_tenants(), &[&foreign]), 200);
    let device = bearer(&NewSecret::of_device(&Tenant::main()));
    assert_eq!(ask(READ, &[&device]), 403);
    assert_eq!(
        ask(READ.or_device(), &[&device]),
        200,
        "the handler judges it"
    );
}

/// What is told: unknown, wrong and foreign alike; that it ended, only to whoever has the secret.
#[test]
fn a_refusal_tells_nothing_of_a_key_to_whoever_does_not_have_it() {
    let at = Instant::now();
    let (mut gone, gone_secret) = key("main", "read");
    gone.revoked_at = Some(noon());
    let (_, foreign_secret) = key("other", "admin");
    let access = Access::new(Policy::Required, ring(&[&gone], at));
    let told = |shown: &str| {
        let parts = parts("x", &[shown]);
        let refused = access.judge(&parts, READ, noon(), at).unwrap_err();
        format!("{refused:?}")
    };
    let (_, other) = key("main", "read");
    let guess = bearer(&other).replace(other.reveal().split('_').nth(2).unwrap(), gone.id.as_str());
    let unknown = told(&bearer(&other));
    assert_eq!(told(&guess), unknown);
    assert_eq!(told(&bearer(&foreign_secret)), unknown);
    assert_eq!(told("Basic x"), unknown);
    assert_ne!(told(&bearer(&gone_secret)), unknown);
    assert!(!unknown.contains(other.reveal()), "{unknown}");
}

#[test]
fn a_use_is_noted_once_an_hour_and_outlives_a_change_of_the_key() {
    let at = Instant::now();
    let (key, secret) = key("main", "read");
    let ring = ring(&[&key], at);
    let parts = parts("x", &[&bearer(&secret)]);
    let use_at = |now| {
        let access = Access::new(Policy::Required, ring.clone());
        access.judge(&parts, READ, now, at).unwrap();
        ring.last().to_note()
    };
    assert!(ring.last().to_note().is_empty());
    let due = use_at(noon());
    assert_eq!(due, [(name(&key), noon())]);
    ring.last().noted(&due[0].0, due[0].1);
    assert!(use_at(noon() + 59.minutes()).is_empty());
    ring.replace(ring.last().after(vec![(9, put(&key))], true, at));
    assert!(use_at(noon() + 59.minutes()).is_empty());
    assert_eq!(use_at(noon() + 1.hour()).len(), 1);
}

#[test]
fn changes_go_on_from_what_was_read_and_a_whole_reading_forgets_the_rest() {
    let at = Instant::now();
    let ((one, first), (two, second)) = (key("main", "read"), key("main", "read"));
    let ring = ring(&[&one], at);
    assert_eq!(ring.last().next(), 2);
    ring.replace(ring.last().after(vec![(7, put(&two))], false, at));
    assert_eq!(ring.last().next(), 8);
    let ask = |secret: &NewSecret| {
        let access = Access::new(Policy::Required, ring.clone());
        status(&access, READ, &parts("x", &[&bearer(secret)]), at)
    };
    assert_eq!((ask(&first), ask(&second)), (200, 200));
    // A bucket that was restored from a copy has smaller revisions than before.
    ring.replace(ring.last().after(vec![(3, put(&one))], true, at));
    assert_eq!(ring.last().next(), 4);
    assert_eq!((ask(&first), ask(&second)), (200, 401));
}

#[test]
fn every_row_of_the_table_is_found_and_only_what_is_not_versioned_is_open() {
    for row in SERVED {
        let method = Method::from_bytes(row.method.as_bytes()).unwrap();
        assert_eq!(Needs::of_route(row.route, &method), Some(row.needs));
        let is_versioned = row.route.starts_with("/v1/");
        assert_eq!(row.needs.is_open(), !is_versioned, "{}", row.route);
    }
    assert_eq!(Needs::of_route("/v1/events", &Method::DELETE), None);
    assert_eq!(Needs::of_route("/v1/other", &Method::GET), None);
    let head = Needs::of_route("/v1/devices/{id}", &Method::HEAD);
    assert_eq!(head, Needs::of_route("/v1/devices/{id}", &Method::GET));
}
