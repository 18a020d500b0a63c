//! How much one asker may ask, and a write that has to say a revision.

use fanfare_api::{Config, Keys, Limits, Preconditions};
use fanfare_nats::clock;
use fanfare_nats::key::{Key, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

const PHONE: &str = "/v1/devices/phone";

/// An API behind a proxy on this machine, with small quotas.
async fn start(limits: Limits) -> Api {
    let config = Config {
        keys: Some(Keys::Required),
        trusted_proxies: vec!["127.0.0.1".to_owned()],
        limits,
        ..Config::default()
    };
    Api::start_with(config).await
}

/// A key that the API knows; learning that takes nothing from its quota.
async fn key(api: &Api, scope: &str) -> String {
    key_of(api, Tenant::main(), scope).await
}

async fn key_of(api: &Api, tenant: Tenant, scope: &str) -> String {
    let made = Key::create(
        tenant,
        scope,
        vec![scope.parse().unwrap()],
        None,
        clock::now(),
    );
    let (key, secret) = made.unwrap();
    api.broker.create_key(&key).await.unwrap();
    // They are read in the order in which they were made.
    let made = Key::create(
        Tenant::main(),
        "probe",
        vec!["read".parse().unwrap()],
        None,
        clock::now(),
    );
    let (probe, shown) = made.unwrap();
    api.broker.create_key(&probe).await.unwrap();
    let shown = format!("Bearer {}", shown.reveal());
    let mut n = 0_u32;
    let ask = async || {
        // Each try from an address of its own.
        n += 1;
        let from = format!("198.51.{}.{}", n / 250, n % 250);
        let headers = [
            ("authorization", shown.as_str()),
            ("x-forwarded-for", from.as_str()),
        ];
        api.send(Method::GET, "/v1/devices/nobody", &headers, None)
            .await
    };
    eventually(ask, |it| it.status != 401).await;
    format!("Bearer {}", secret.reveal())
}

async fn get(api: &Api, shown: &str, from: &str) -> Answer {
    let headers = [("authorization", shown), ("x-forwarded-for", from)];
    api.send(Method::GET, PHONE, &headers, None).await
}

fn device(user: Option<&str>) -> Value {
    json!({"app": "ios", "token": "t", "user": user})
}

#[tokio::test]
async fn a_key_is_counted_by_itself_and_told_what_it_has_left() {
    let limits = Limits {
        per_key: 3,
        per_address: 0,
        ..Limits::default()
    };
    let api = start(limits).await;
    let (one, two) = (key(&api, "read").await, key(&api, "read").await);
    for (n, from) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        .into_iter()
        .enumerate()
    {
        let answer = get(&api, &one, from).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=60");
        let (left, lasts_s) = answer.header("ratelimit").split_once(";t=").unwrap();
        assert_eq!(left, ["\"key\";r=2", "\"key\";r=1", "\"key\";r=0"][n]);
        let lasts_s: u64 = lasts_s.parse().unwrap();
        // Until the next token comes, the seconds count that the test itself takes.
        let possible = [40..=40, 20..=20, 11..=20][n].clone();
        assert!(possible.contains(&lasts_s), "{answer:?}");
    }
    let refused = get(&api, &one, "192.0.2.4").await;
    refused.check_problem(429, "too_many_requests");
    assert_eq!(refused.body["quota"], "key");
    let wait_s: u64 = refused.header("retry-after").parse().unwrap();
    assert!((11..=20).contains(&wait_s), "{refused:?}");
    let left = format!("\"key\";r=0;t={wait_s}");
    assert_eq!(refused.header("ratelimit"), left);
    // Another's quota is another, and probes are not counted.
    assert_eq!(get(&api, &two, "192.0.2.4").await.status, 404);
    for _ in 0..10 {
        let live = api.get("/livez").await;
        assert_eq!((live.status.as_u16(), live.header("ratelimit")), (200, ""));
    }
    api.stop().await;
}

#[tokio::test]
async fn the_keys_of_a_tenant_are_counted_together_too() {
    let limits = Limits {
        per_key: 4,
        per_tenant: 7,
        ..Limits::default()
    };
    let api = start(limits).await;
    let (one, two) = (key(&api, "read").await, key(&api, "read").await);
    let mut told = Vec::new();
    for shown in [&one, &one, &one, &two, &two] {
        let answer = get(&api, shown, "192.0.2.1").await;
        assert_eq!(answer.status, 404, "{answer:?}");
        let left = answer.header("ratelimit").split(";t").next().unwrap();
        told.push(left.to_owned());
    }
    // Two of the tenant's were taken by the keys that the others were waited for with.
    let expected = [
        "\"key\";r=3",
        "\"key\";r=2",
        "\"key\";r=1",
        "\"tenant\";r=1",
        "\"tenant\";r=0",
    ];
    assert_eq!(told, expected);
    let refused = get(&api, &two, "192.0.2.1").await;
    refused.check_problem(429, "too_many_requests");
    assert_eq!(refused.body["quota"], "tenant");
    api.stop().await;
}

#[tokio::test]
async fn who_shows_nothing_good_is_counted_by_the_address_that_the_proxy_tells() {
    let limits = Limits {
        per_key: 1,
        per_address: 4,
        ..Limits::default()
    };
    let api = start(limits).await;
    let app = key(&api, "devices:write:self").await;
    let wrong = app.replace("fanfare_main", "fanfare_other");
    let asked = [app.as_str(), &wrong, "Basic x", &app];
    for shown in asked {
        let answer = get(&api, shown, "203.0.113.9, 192.0.2.1").await;
        assert!([401, 403].contains(&answer.status.as_u16()), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=4;w=60");
    }
    for shown in asked {
        // Whatever the client writes before the proxy's word.
        let refused = get(&api, shown, "203.0.113.7, 192.0.2.1").await;
        refused.check_problem(429, "too_many_requests");
    }
    assert_eq!(get(&api, &app, "192.0.2.2").await.status, 403);
    // Of one IPv6 network all addresses are one.
    for n in 0..5 {
        let answer = get(&api, &app, &format!("2001:db8:0:1::{n}")).await;
        assert_eq!(answer.status.as_u16(), if n < 4 { 403 } else { 429 });
    }
    api.stop().await;
}

#[tokio::test]
async fn what_an_installation_may_is_counted_by_its_address_and_not_by_the_key_of_all() {
    let limits = Limits {
        per_key: 1,
        per_address: 2,
        ..Limits::default()
    };
    let api = start(limits).await;
    let app = key(&api, "devices:write:self").await;
    for (n, from, status) in [
        (1, "192.0.2.1", 201),
        (2, "192.0.2.1", 201),
        (3, "192.0.2.1", 429),
        (3, "192.0.2.2", 201),
    ] {
        let headers = [("authorization", app.as_str()), ("x-forwarded-for", from)];
        let path = format!("/v1/devices/phone-{n}");
        let answer = api.put(&path, &headers, &device(None)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), "\"address\";q=2;w=60");
    }
    api.stop().await;
}

#[tokio::test]
async fn users_and_apps_are_each_tenants_own_and_no_window_is_longer_than_the_wait() {
    let limits = Limits {
        per_user: 1,
        per_app: 2,
        per_key: 100,
        ..Limits::default()
    };
    let api = start(limits).await;
    for name in ["main", "acme"] {
        let shown = key_of(&api, Tenant::parse(name).unwrap(), "devices:write").await;
        let headers = [("authorization", shown.as_str())];
        for (user, status) in [(Some("ada"), 201), (Some("ada"), 429), (None, 429)] {
            let mut document = device(user);
            document["token"] = json!(name);
            let answer = api.put(PHONE, &headers, &document).await;
            assert_eq!(answer.status, status, "{name}: {answer:?}");
            assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=100;w=60");
            let (_, window_s) = answer.header("ratelimit").rsplit_once(";t=").unwrap();
            if status == 429 {
                let quota = if user.is_some() { "user" } else { "app" };
                assert_eq!(answer.body["quota"], quota);
                let wait_s: u64 = answer.header("retry-after").parse().unwrap();
                assert!(window_s.parse::<u64>().unwrap() <= wait_s, "{answer:?}");
            }
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn users_and_apps_have_quotas_and_without_keys_nobody_has() {
    let limits = Limits {
        per_user: 2,
        per_app: 5,
        per_tenant: 0,
        per_key: 1,
        per_address: 1,
    };
    let config = Config {
        limits,
        ..Config::default()
    };
    let api = Api::start_with(config).await;
    for (user, status) in [("ada", 201), ("ada", 200), ("ada", 429), ("bob", 200)] {
        let answer = api.put(PHONE, &[], &device(Some(user))).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(
            answer.header("ratelimit"),
            "",
            "of this machine, without keys"
        );
        if status == 429 {
            answer.check_problem(429, "too_many_requests");
            assert_eq!(answer.body["quota"], "user");
        }
    }
    assert_eq!(api.put(PHONE, &[], &device(None)).await.status, 200);
    let refused = api.put(PHONE, &[], &device(None)).await;
    refused.check_problem(429, "too_many_requests");
    assert_eq!(refused.body["quota"], "app");
    let test = api
        .send(Method::POST, "/v1/users/ada/test", &[], None)
        .await;
    assert_eq!(test.body["quota"], "user", "{test:?}");
    api.stop().await;
}

#[tokio::test]
async fn where_revisions_are_asked_for_nobody_writes_over_what_he_has_not_seen() {
    let config = Config {
        preconditions: Preconditions::Required,
        ..Config::default()
    };
    let api = Api::start_with(config).await;
    assert_eq!(
        api.delete(PHONE, &[]).await.status,
        204,
        "there is nothing to lose"
    );
    let made = api.put(PHONE, &[], &device(None)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let put = api.put(PHONE, &[], &device(None)).await;
    put.check_problem(428, "precondition_required");
    let removed = api.delete(PHONE, &[]).await;
    removed.check_problem(428, "precondition_required");
    let tag = [("if-match", made.header("etag"))];
    let again = api.put(PHONE, &tag, &device(None)).await;
    assert_eq!(again.status, 200, "{again:?}");
    api.delete(PHONE, &tag)
        .await
        .check_problem(412, "precondition_failed");
    assert_eq!(api.delete(PHONE, &[("if-match", "*")]).await.status, 204);
    api.stop().await;
}
