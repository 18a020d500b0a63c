//! Keys: who gets in, and how soon that ends. What each may do on every route is in `matrix.rs`.

use fanfare_nats::key::{Key, NewSecret, Tenant};
use fanfare_nats::keys::StoredKey;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

const PHONE: &str = "/v1/devices/phone-1";

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

pub fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

async fn make(api: &Api, scope: &str) -> (Key, String) {
    let scopes = vec![scope.parse().unwrap()];
    let made = Key::create(Tenant::main(), scope, scopes, None, now());
    let (key, secret): (Key, NewSecret) = made.unwrap();
    api.broker.create_key(&key).await.unwrap();
    (key, bearer(secret.reveal()))
}

/// Makes a key and waits until the API knows it: until then it is one that never was.
pub async fn known(api: &Api, scope: &str) -> (Key, String) {
    let (key, shown) = make(api, scope).await;
    let probe = async || ask(api, Method::GET, "/v1/devices/nobody", &shown, None).await;
    eventually(probe, |it| it.status != 401).await;
    (key, shown)
}

async fn ask(api: &Api, method: Method, path: &str, shown: &str, body: Option<&Value>) -> Answer {
    api.send(method, path, &[("authorization", shown)], body)
        .await
}

fn device(token: &str) -> Value {
    json!({"app": "ios", "token": token, "topics": ["all"]})
}

fn event(id: &str, topic: &str) -> Value {
    json!({"id": id, "topics": [topic], "title": "One"})
}

#[track_caller]
fn check_401(answer: &Answer, error: Option<&str>) {
    answer.check_problem(401, "unauthenticated");
    let challenge = answer.header("www-authenticate");
    assert!(
        challenge.starts_with("Bearer realm=\"fanfare\""),
        "{challenge}"
    );
    let named = error.map(|it| format!("error=\"{it}\""));
    assert_eq!(challenge.contains("error="), named.is_some(), "{challenge}");
    assert!(
        challenge.contains(&named.unwrap_or_default()),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_key_opens_until_it_is_taken_back() {
    let api = Api::start_locked().await;
    check_401(&api.put(PHONE, &[], &device("t")).await, None);
    check_401(&api.post(&[], &event("1", "all")).await, None);
    assert_eq!(api.get("/livez").await.status, 200);
    let (_, devices) = known(&api, "devices:write").await;
    let (key, publish) = known(&api, "events:publish:news.>").await;
    let put = ask(&api, Method::PUT, PHONE, &devices, Some(&device("t"))).await;
    assert_eq!(put.status, 201, "{put:?}");
    let post = async |topic: &str, id: &str| {
        let body = event(id, topic);
        ask(&api, Method::POST, "/v1/events", &publish, Some(&body)).await
    };
    assert_eq!(post("news.local", "1").await.status, 201);
    let both = json!({"id": "2", "topics": ["news.a", "quakes.us"], "title": "Two"});
    let both = ask(&api, Method::POST, "/v1/events", &publish, Some(&both)).await;
    both.check_problem(403, "forbidden");
    let user = json!({"id": "3", "user": "ada", "title": "Three"});
    let user = ask(&api, Method::POST, "/v1/events", &publish, Some(&user)).await;
    user.check_problem(403, "forbidden");
    let elsewhere = post("quakes.us", "2").await;
    elsewhere.check_problem(403, "forbidden");
    let challenge = elsewhere.header("www-authenticate");
    assert!(
        challenge.contains("error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert!(
        challenge.contains("scope=\"events:publish\""),
        "{challenge}"
    );

    let mut stored = api.broker.keys().await.unwrap();
    stored.retain(|it| it.key.id == key.id);
    let StoredKey { revision, mut key } = stored.remove(0);
    key.revoked_at = Some(now());
    api.broker.replace_key(&key, revision).await.unwrap();
    let began = tokio::time::Instant::now();
    let refused = eventually(
        async || post("news.local", "1").await,
        |it| it.status != 200,
    )
    .await;
    assert!(began.elapsed().as_millis() < 2500, "{:?}", began.elapsed());
    check_401(&refused, Some("invalid_token"));
    let put = ask(&api, Method::PUT, PHONE, &devices, Some(&device("t"))).await;
    assert_eq!(put.status, 200, "the other key stays good: {put:?}");
    api.stop().await;
}

#[tokio::test]
async fn the_first_key_ends_the_time_without_keys() {
    let api = Api::start().await;
    assert_eq!(api.put(PHONE, &[], &device("t")).await.status, 201);
    let (_, shown) = known(&api, "admin").await;
    check_401(&api.put(PHONE, &[], &device("t")).await, None);
    let put = ask(&api, Method::PUT, PHONE, &shown, Some(&device("t"))).await;
    assert_eq!(put.status, 200, "{put:?}");
}

#[tokio::test]
async fn an_installation_manages_itself_and_nothing_else() {
    let api = Api::start_locked().await;
    let (_, app) = known(&api, "devices:write:self").await;
    let registered = ask(&api, Method::PUT, PHONE, &app, Some(&device("one"))).await;
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(registered.header("cache-control"), "no-store");
    let own = bearer(registered.body["secret"].as_str().unwrap());
    let mine = async |method, body: Option<&Value>| ask(&api, method, PHONE, &own, body).await;
    let shown = mine(Method::GET, None).await;
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body.get("secret"), None, "it is told once");
    let renewed = mine(Method::PUT, Some(&device("two"))).await;
    assert_eq!(
        (renewed.status.as_u16(), renewed.body.get("secret")),
        (200, None)
    );

    // The key of the app reads nothing, not even whether there is something.
    for path in [PHONE, "/v1/devices/nobody"] {
        let refused = ask(&api, Method::GET, path, &app, None).await;
        refused.check_problem(403, "forbidden");
        let refused = ask(&api, Method::DELETE, path, &app, None).await;
        refused.check_problem(403, "forbidden");
    }
    // A stranger with the same key does not get in by an old or a guessed token.
    let stranger = ask(&api, Method::PUT, PHONE, &app, Some(&device("one"))).await;
    stranger.check_problem(403, "forbidden");
    // Whoever lost the secret, or never got the answer, has the token.
    let again = ask(&api, Method::PUT, PHONE, &app, Some(&device("two"))).await;
    let newer = bearer(again.body["secret"].as_str().unwrap());
    assert_eq!(again.status, 200);
    check_401(&mine(Method::GET, None).await, Some("invalid_token"));
    let shown = ask(&api, Method::GET, PHONE, &newer, None).await;
    assert_eq!(shown.status, 200);

    // It cannot say whose it is, nor follow everything.
    let mut hers = device("two");
    hers["user"] = "ada".into();
    for shown in [&newer, &app] {
        let refused = ask(&api, Method::PUT, PHONE, shown, Some(&hers)).await;
        refused.check_problem(403, "forbidden");
    }
    let all = json!({"app": "ios", "token": "two", "topics": [">"]});
    let refused = ask(&api, Method::PUT, PHONE, &newer, Some(&all)).await;
    refused.check_problem(403, "forbidden");
    let (_, backend) = known(&api, "devices:write").await;
    let said = ask(&api, Method::PUT, PHONE, &backend, Some(&hers)).await;
    assert_eq!((said.status.as_u16(), said.body.get("secret")), (200, None));
    for body in [device("two"), hers] {
        let kept = ask(&api, Method::PUT, PHONE, &newer, Some(&body)).await;
        assert_eq!(
            (kept.status.as_u16(), &kept.body["user"]),
            (200, &json!("ada"))
        );
    }
    let gone = ask(&api, Method::DELETE, PHONE, &newer, None).await;
    assert_eq!(gone.status, 204);
}

#[tokio::test]
async fn a_device_gets_another_secret_and_the_one_before_ends() {
    let api = Api::start_locked().await;
    let (_, backend) = known(&api, "devices:write").await;
    let (_, app) = known(&api, "devices:write:self").await;
    let path = "/v1/devices/phone-1/secret";
    let nothing = ask(&api, Method::POST, path, &backend, None).await;
    nothing.check_problem(404, "no_such_device");
    let put = ask(&api, Method::PUT, PHONE, &app, Some(&device("t"))).await;
    let mut own = bearer(put.body["secret"].as_str().unwrap());
    for by_device in [true, false, true] {
        let who = if by_device { &own } else { &backend };
        let renewed = ask(&api, Method::POST, path, who, None).await;
        assert_eq!(renewed.status, 200, "{renewed:?}");
        assert_eq!(renewed.header("cache-control"), "no-store");
        assert_eq!(renewed.body["id"], "phone-1");
        let before = std::mem::replace(&mut own, bearer(renewed.body["secret"].as_str().unwrap()));
        let ended = ask(&api, Method::GET, PHONE, &before, None).await;
        check_401(&ended, Some("invalid_token"));
        let shown = ask(&api, Method::GET, PHONE, &own, None).await;
        assert_eq!(shown.header("etag"), renewed.header("etag"));
    }
    let refused = ask(&api, Method::POST, path, &app, None).await;
    refused.check_problem(403, "forbidden");
    let late = [
        ("authorization", own.as_str()),
        ("if-match", put.header("etag")),
    ];
    let late = api.send(Method::POST, path, &late, None).await;
    late.check_problem(412, "precondition_failed");
    let shown = ask(&api, Method::GET, PHONE, &own, None).await;
    assert_eq!(shown.status, 200, "nothing ended");
    api.stop().await;
}

/// Another's device, one that is not there, and one whose document cannot be read look alike.
#[tokio::test]
async fn a_devices_secret_tells_nothing_of_other_devices() {
    let api = Api::start_locked().await;
    let (_, admin) = known(&api, "admin").await;
    let put = ask(&api, Method::PUT, PHONE, &admin, Some(&device("t"))).await;
    let own = bearer(put.body["secret"].as_str().unwrap());
    let victim = "/v1/devices/victim";
    ask(&api, Method::PUT, victim, &admin, Some(&device("v"))).await;
    for (method, body) in [
        (Method::GET, None),
        (Method::PUT, Some(device("x"))),
        (Method::DELETE, None),
    ] {
        let mut told = Vec::new();
        for path in [victim, "/v1/devices/nobody"] {
            for header in [("if-match", "*"), ("if-none-match", "*"), ("accept", "*/*")] {
                let headers = [("authorization", own.as_str()), header];
                let answer = api
                    .send(method.clone(), path, &headers, body.as_ref())
                    .await;
                check_401(&answer, Some("invalid_token"));
                let mut body = answer.body.clone();
                body["request_id"] = Value::Null;
                told.push((body, answer.headers.keys().cloned().collect::<Vec<_>>()));
            }
        }
        told.dedup();
        assert_eq!(told.len(), 1, "{method}: {told:?}");
    }
    let intact = ask(&api, Method::GET, victim, &admin, None).await;
    assert_eq!(intact.status, 200);
}

#[tokio::test]
async fn without_the_broker_requests_are_put_off_and_never_let_in() {
    let mut api = Api::start_locked().await;
    let (_, shown) = known(&api, "admin").await;
    api.server.server().kill9().await.unwrap();
    eventually(async || api.get("/readyz").await, |it| it.status == 503).await;
    // Inside the half minute the keys are known, and the device is not.
    let away = ask(&api, Method::GET, PHONE, &shown, None).await;
    away.check_problem(503, "broker_unavailable");
    check_401(&api.get(PHONE).await, None);
    api.server.server().restart().await.unwrap();
    let again = async || ask(&api, Method::GET, PHONE, &shown, None).await;
    eventually(again, |it| it.status == 404).await;
    eventually(async || api.get("/readyz").await, |it| it.status == 200).await;
}

#[tokio::test]
async fn a_use_is_noted_soon_and_not_with_every_request() {
    let api = Api::start_locked().await;
    let (key, shown) = known(&api, "admin").await;
    let name = (key.tenant, key.id);
    let used = async || {
        ask(&api, Method::GET, PHONE, &shown, None).await;
        api.get("/livez").await
    };
    let noted = loop {
        used().await;
        if let Some(noted) = api.broker.key_uses().await.unwrap().get(&name) {
            break *noted;
        }
    };
    assert!(noted.duration_since(now()).abs().as_secs() < 30, "{noted}");
    // Several turns of what notes uses.
    while now().duration_since(noted).as_secs() < 4 {
        used().await;
    }
    assert_eq!(api.broker.key_uses().await.unwrap()[&name], noted);
}
