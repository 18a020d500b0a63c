//! Registrations that are not renewed are warned of, and end.

use fanfare_api::{Config, Keys, Metrics, Server};
use fanfare_nats::bucket::Expect;
use fanfare_nats::key::{Key, Tenant};
use fanfare_nats::{Device, DeviceId, Readiness, clock};
use futures::StreamExt;
use jiff::{Timestamp, ToSpan};
use prometheus_client::registry::Registry;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Api, eventually};

const WARNINGS: &str = "/v1/events?topic=fanfare.registration.expiring";

fn device(token: &str) -> Value {
    json!({"app": "ios", "token": token, "user": "ada"})
}

#[tokio::test]
async fn a_registration_that_is_not_renewed_is_warned_of_once_and_ends() {
    let api = Api::start_with(Config {
        registration_expires_after: "6s".to_owned(),
        registration_warning: "4s".to_owned(),
        ..Config::default()
    })
    .await;
    for id in ["forgotten", "kept"] {
        api.put(&format!("/v1/devices/{id}"), &[], &device(id))
            .await;
    }
    let renew = async || {
        api.put("/v1/devices/kept", &[], &device("kept")).await;
        api.get("/v1/devices/forgotten").await
    };
    eventually(renew, |it| it.status == 404).await;
    assert_eq!(api.get("/v1/devices/kept").await.status, 200);
    let told = api.get(WARNINGS).await;
    let items = told.body["items"].as_array().unwrap();
    let of_it: Vec<_> = items
        .iter()
        .filter(|it| it["data"]["device"] == "forgotten")
        .collect();
    assert_eq!(of_it.len(), 1, "{told:?}");
    assert_eq!(of_it[0]["data"]["user"], "ada");
    assert!(of_it[0]["data"]["expires_at"].is_string());
    assert!(!told.body.to_string().contains("token"));
    // No device can follow what is told of others.
    let path = "/v1/devices/kept/topics/fanfare.registration.expiring";
    let refused = api.send(Method::PUT, path, &[], None).await;
    refused.check_problem(400, "invalid_request");
    api.stop().await;
}

#[tokio::test]
async fn each_tenant_is_told_of_its_own_registrations_in_its_own_words() {
    let api = Api::start_with(Config {
        keys: Some(Keys::Required),
        registration_expires_after: "4s".to_owned(),
        registration_warning: "3s".to_owned(),
        ..Config::default()
    })
    .await;
    let mut keys = Vec::new();
    for name in ["main", "acme"] {
        let scopes = vec!["admin".parse().unwrap()];
        let tenant = Tenant::parse(name).unwrap();
        let (key, secret) = Key::create(tenant, name, scopes, None, clock::now()).unwrap();
        api.broker.create_key(&key).await.unwrap();
        keys.push(format!("Bearer {}", secret.reveal()));
    }
    let ask = async |key: &str, method: Method, path: &str, body: Option<&Value>| -> Answer {
        api.send(method, path, &[("authorization", key)], body)
            .await
    };
    for key in &keys {
        let path = "/v1/devices/forgotten";
        eventually(
            async || ask(key, Method::GET, path, None).await,
            |it| it.status == 404,
        )
        .await;
    }
    // In the same second, or nearly: their names differ by the tenant alone.
    for (n, key) in keys.iter().enumerate() {
        let document = device(&format!("t{n}"));
        let path = "/v1/devices/forgotten";
        let put = ask(key, Method::PUT, path, Some(&document)).await;
        assert_eq!(put.status, 201, "{put:?}");
    }
    for key in &keys {
        let told = async || ask(key, Method::GET, WARNINGS, None).await;
        let told = eventually(told, |it| it.body["items"] != json!([])).await;
        let items = told.body["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{told:?}");
        assert_eq!(items[0]["topics"], json!(["fanfare.registration.expiring"]));
        assert_eq!(items[0]["data"]["device"], "forgotten");
        assert_eq!(items[0]["data"]["user"], "ada");
    }
    api.stop().await;
}

/// Another API of the same broker; it dies with what is returned.
async fn beside(api: &Api, node: &str, config: Config) -> JoinSet<()> {
    let broker = api.server.broker(node).await;
    let listen = "127.0.0.1:0".to_owned();
    let keys = Some(Keys::UntilFirst);
    let server = Server::bind(Config {
        listen,
        keys,
        ..config
    });
    let server = server.await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let metrics = Metrics::register(&mut Registry::default());
        let stop = CancellationToken::new();
        let _ended = server.serve(broker, metrics, Readiness::new(), stop).await;
    });
    serving
}

/// As if it had been registered then.
async fn seen(api: &Api, n: usize, at: Timestamp) {
    let id = DeviceId::parse(&format!("phone-{n}")).unwrap();
    let stored = api.broker.device(&id).await.unwrap().unwrap();
    let device = Device {
        last_seen: Some(at),
        ..stored.device
    };
    let put = api.broker.put_device(&id, &device, Expect::Any);
    put.await.unwrap();
}

#[tokio::test]
async fn a_sweep_that_dies_is_ended_by_another_that_warns_of_nobody_twice() {
    const DEVICES: usize = 60;
    let rule = || Config {
        registration_expires_after: "5s".to_owned(),
        registration_warning: "4s".to_owned(),
        ..Config::default()
    };
    let api = Api::start().await; // This one sweeps nothing for 270 days.
    for n in 0..DEVICES {
        let path = format!("/v1/devices/phone-{n}");
        let put = api.put(&path, &[], &device(&n.to_string())).await;
        assert_eq!(put.status, 201);
    }
    // Spread over a while, so that a sweep finds some that are due and some that are not yet; however
    // long it took to register them.
    let begun = clock::now();
    let seen_at = |n| (n, begun + 50.milliseconds() * i64::try_from(n).unwrap());
    futures::stream::iter((0..DEVICES).map(seen_at))
        .for_each_concurrent(16, |(n, at)| seen(&api, n, at))
        .await;
    let first = beside(&api, "first", rule()).await;
    let warned = async || api.get(&format!("{WARNINGS}&limit=200")).await;
    let n_of = |it: &Answer| it.body["items"].as_array().map_or(0, Vec::len);
    let some = eventually(warned, |it| n_of(it) > 0).await;
    drop(first);
    assert!(n_of(&some) < DEVICES, "void: it had ended");
    let second = beside(&api, "second", rule()).await;
    let left = async || {
        let asked = (0..DEVICES).map(async |n| {
            let answer = api.get(&format!("/v1/devices/phone-{n}")).await;
            usize::from(answer.status == 200)
        });
        let asked = futures::stream::iter(asked).buffer_unordered(16);
        asked.fold(0, async |sum, it| sum + it).await
    };
    let oldest = async || api.get("/v1/devices/phone-0").await;
    eventually(oldest, |it| it.status == 404).await;
    drop(second);
    let mut n_left = left().await;
    assert!(n_left > 0, "void: it had ended");
    let _third = beside(&api, "third", rule()).await;
    while n_left > 0 {
        n_left = left().await;
    }
    let told = warned().await;
    let mut devices: Vec<_> = told.body["items"].as_array().unwrap().iter().collect();
    devices.sort_by_key(|it| it["data"]["device"].to_string());
    devices.dedup_by_key(|it| it["data"]["device"].to_string());
    assert_eq!(
        (n_of(&told), devices.len()),
        (DEVICES, DEVICES),
        "each once"
    );
}
