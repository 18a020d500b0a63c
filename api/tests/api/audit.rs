//! Who changed what. That nothing is forgotten is in `matrix/recorded.rs`.

use fanfare_api::Config;
use fanfare_nats::audit::{Kept, Place};
use fanfare_nats::key::{Key, Tenant};
use fanfare_nats::stream::Topology;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{Answer, Api, eventually};
use crate::keys::{bearer, known};

const AUDIT: &str = "/v1/audit";
const STREAM: &str = "FANFARE_AUDIT";
const PHONE: &str = "/v1/devices/phone-1";

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn device(token: &str) -> Value {
    json!({"app": "ios", "token": token, "topics": ["news.>"]})
}

async fn ask(api: &Api, method: Method, path: &str, shown: &str, body: Option<Value>) -> Answer {
    let headers = [("authorization", shown)];
    api.send(method, path, &headers, body.as_ref()).await
}

/// A key of a tenant that may do everything, known to the API.
async fn admin_of(api: &Api, tenant: &str) -> String {
    let scopes = vec!["admin".parse().unwrap()];
    let tenant = Tenant::parse(tenant).unwrap();
    let (key, secret) = Key::create(tenant, "a", scopes, None, now()).unwrap();
    api.broker.create_key(&key).await.unwrap();
    let shown = bearer(secret.reveal());
    let probe = async || ask(api, Method::GET, "/v1/topics", &shown, None).await;
    eventually(probe, |it| it.status == 200).await;
    shown
}

/// Everything that is recorded.
async fn all(api: &Api) -> Vec<Kept> {
    let all = api.broker.changes_after(None, Place::default(), 10_000);
    all.await.unwrap()
}

#[tokio::test]
async fn a_record_says_who_and_what_and_nothing_that_was_sent() {
    let api = Api::start_locked().await;
    let (_, admin) = known(&api, "admin").await;
    let (key, devices) = known(&api, "devices:write").await;
    let put = ask(&api, Method::PUT, PHONE, &devices, Some(device("canary-t"))).await;
    assert_eq!(put.status, 201, "{put:?}");
    let own = bearer(put.body["secret"].as_str().unwrap());
    // What is refused, what only looks and what only tries changes nothing.
    let refused = ask(&api, Method::PUT, PHONE, &devices, Some(json!({"app": 7}))).await;
    assert_eq!(refused.status, 422);
    let replay = Some(json!({"app": "ios", "dry_run": true}));
    let dry = ask(
        &api,
        Method::POST,
        "/v1/dead-letters/replay",
        &admin,
        replay,
    )
    .await;
    assert_eq!(dry.status, 200, "{dry:?}");
    ask(&api, Method::GET, PHONE, &own, None).await;
    let topic = format!("{PHONE}/topics/quakes.%3E");
    let followed = ask(&api, Method::PUT, &topic, &own, None).await;
    assert_eq!(followed.status, 201, "{followed:?}");
    let event = json!({"id": "one", "topics": ["news.a"], "title": "canary-title"});
    let event = ask(&api, Method::POST, "/v1/events", &admin, Some(event)).await;

    let listed = ask(&api, Method::GET, AUDIT, &admin, None).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    let records = listed.body["items"].as_array().unwrap();
    let operations: Vec<_> = records
        .iter()
        .map(|it| it["operation"].as_str().unwrap())
        .collect();
    assert_eq!(operations, ["putDevice", "followTopic", "postEvent"]);
    let first = &records[0];
    let who = json!({"kind": "key", "id": key.id.to_string(), "host": null});
    assert_eq!(first["who"], who);
    assert_eq!(first["of"], json!({"device": "phone-1"}));
    assert_eq!(first["status"], 201);
    assert_eq!(first["request_id"], put.header("x-request-id"));
    let revision = first["revision"].as_str().unwrap();
    assert_eq!(format!("\"{revision}\""), put.header("etag"));
    assert_eq!(
        (&first["user"], &first["node"]),
        (&json!("api"), &json!("api-1"))
    );
    assert_eq!(records[1]["who"]["kind"], "device");
    let of = json!({"device": "phone-1", "pattern": "quakes.>"});
    assert_eq!(records[1]["of"], of);
    assert_eq!(
        records[2]["of"],
        json!({"event": event.body["event"], "id": "one"})
    );
    let text = listed.body.to_string();
    for secret in ["canary", "fanfare_", "fanfare-device_"] {
        assert!(!text.contains(secret), "{text}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_tenant_reads_what_is_its_own_by_time_and_page_by_page() {
    let api = Api::start_locked().await;
    let (main, acme) = (admin_of(&api, "main").await, admin_of(&api, "acme").await);
    let registered = async |shown: &str, name: &str| {
        let path = format!("/v1/devices/{name}");
        let put = ask(&api, Method::PUT, &path, shown, Some(device(name))).await;
        assert_eq!(put.status, 201, "{put:?}");
    };
    for n in 0..5 {
        registered(&acme, &format!("acme-{n}")).await;
        registered(&main, &format!("main-{n}")).await;
    }
    let names = |answer: &Answer| -> Vec<String> {
        let items = answer.body["items"].as_array().unwrap().iter();
        items
            .map(|it| it["of"]["device"].as_str().unwrap().to_owned())
            .collect()
    };
    let expected = |from: usize, to: usize| -> Vec<String> {
        (from..to).map(|n| format!("acme-{n}")).collect()
    };
    let (mut path, mut seen, mut n_pages) = (format!("{AUDIT}?limit=2"), Vec::new(), 0);
    loop {
        let page = ask(&api, Method::GET, &path, &acme, None).await;
        seen.extend(names(&page));
        n_pages += 1;
        let link = page.header("link").trim_start_matches('<');
        let Some((next, _)) = link.split_once('>') else {
            break;
        };
        path = next.to_owned();
    }
    assert_eq!((seen, n_pages), (expected(0, 5), 3));

    let times = all(&api).await;
    let times: Vec<Timestamp> = times
        .iter()
        .filter(|it| it.tenant == "acme")
        .map(|it| it.stored_at)
        .collect();
    let path = format!("{AUDIT}?since={}&until={}&limit=2", times[1], times[4]);
    let page = ask(&api, Method::GET, &path, &acme, None).await;
    assert_eq!(names(&page), expected(1, 3));
    let next = page
        .header("link")
        .trim_start_matches('<')
        .split_once('>')
        .unwrap()
        .0;
    assert!(next.contains("&cursor="), "{next}");
    let page = ask(&api, Method::GET, next, &acme, None).await;
    assert_eq!((names(&page), page.header("link")), (expected(3, 4), ""));
    for wrong in ["?cursor=6162", "?since=yesterday", "?limit=0"] {
        let path = format!("{AUDIT}{wrong}");
        let answer = ask(&api, Method::GET, &path, &acme, None).await;
        answer.check_problem(400, "invalid_request");
    }
    api.stop().await;
}

#[tokio::test]
async fn who_may_not_do_everything_reads_nothing_and_a_process_that_may_not_operate_has_nothing() {
    let api = Api::start_locked().await;
    for scope in ["read", "operate", "devices:write"] {
        let (_, shown) = known(&api, scope).await;
        let answer = ask(&api, Method::GET, AUDIT, &shown, None).await;
        answer.check_problem(403, "forbidden");
    }
    let other = Api::start_without_operator().await;
    other.get(AUDIT).await.check_problem(501, "not_configured");
    // What it changes is recorded all the same.
    assert_eq!(other.put(PHONE, &[], &device("t")).await.status, 201);
    assert_eq!(all(&other).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_acknowledged_and_then_not_even_begun() {
    let api = Api::start().await;
    api.broker.take_away(STREAM).await;
    let id = [("x-request-id", "first")];
    let first = api.put(PHONE, &id, &device("t")).await;
    first.check_problem(503, "broker_unavailable");
    // It says that it is done, and it is.
    assert!(
        first.body["detail"]
            .as_str()
            .unwrap()
            .starts_with("it is done"),
        "{first:?}"
    );
    assert_eq!(api.get(PHONE).await.status, 200);
    let event = json!({"topics": ["all"], "title": "One"});
    for _ in 0..3 {
        let began = Instant::now();
        let second = api.put("/v1/devices/phone-2", &[], &device("u")).await;
        second.check_problem(503, "broker_unavailable");
        assert!(began.elapsed().as_millis() < 1500, "{:?}", began.elapsed());
        assert_eq!(api.get("/v1/devices/phone-2").await.status, 404);
        api.post(&[], &event)
            .await
            .check_problem(503, "broker_unavailable");
    }
    // Whoever can change nothing is not sent requests; whoever is ready again can.
    let away = eventually(async || api.get("/readyz").await, |it| it.status == 503).await;
    let told = away.body["conditions"]["broker"].as_str().unwrap();
    assert!(told.contains("writes to fanfare.audit"), "{away:?}");
    api.broker
        .ensure(&Topology::new(1, Vec::new()))
        .await
        .unwrap();
    eventually(async || api.get("/readyz").await, |it| it.status == 200).await;
    let put = api.put("/v1/devices/phone-2", &[], &device("u")).await;
    assert_eq!(put.status, 201, "{put:?}");
    let records = all(&api).await;
    let requests = records.iter().map(|it| it.change.as_ref().unwrap());
    let requests: Vec<_> = requests.map(|it| it.request.as_deref().unwrap()).collect();
    assert_eq!(requests, ["first", put.header("x-request-id")]);
    api.stop().await;
}

#[tokio::test]
async fn a_post_that_is_not_recorded_is_told_by_which_id_it_is_stored() {
    let api = Api::start().await;
    api.broker.take_away(STREAM).await;
    let event = json!({"topics": ["all"], "title": "One"});
    let first = api.post(&[], &event).await;
    first.check_problem(503, "broker_unavailable");
    api.broker
        .ensure(&Topology::new(1, Vec::new()))
        .await
        .unwrap();
    let named = json!({"id": first.body["id"], "topics": ["all"], "title": "One"});
    let again = eventually(async || api.post(&[], &named).await, |it| it.status != 503).await;
    assert_eq!(
        again.status, 200,
        "the same again is the same event: {again:?}"
    );
}

#[tokio::test]
async fn without_an_audit_nothing_is_recorded_and_nothing_waits_for_it() {
    let audit = false;
    let api = Api::start_with(Config {
        audit,
        ..Config::default()
    })
    .await;
    assert_eq!(api.put(PHONE, &[], &device("t")).await.status, 201);
    assert_eq!(all(&api).await, []);
    api.broker.take_away(STREAM).await;
    assert_eq!(api.put(PHONE, &[], &device("t")).await.status, 200);
}

/// Whoever sends a change and hangs up at once may have changed something, and never without a trace.
#[tokio::test]
async fn hanging_up_hides_nothing() {
    let api = Api::start().await;
    let hang_up = async |n: usize| {
        let body = device(&format!("t-{n}")).to_string();
        let head = format!(
            "PUT /v1/devices/gone-{n} HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(api.address()).await.unwrap();
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        drop(stream);
    };
    let mut n = 0;
    let is_abandoned = |it: &Kept| it.change.as_ref().unwrap().status.is_none();
    let began = Instant::now();
    while !all(&api).await.iter().any(is_abandoned) {
        assert!(began.elapsed().as_secs() < 20, "none of {n} was abandoned");
        hang_up(n).await;
        n += 1;
    }
    let stored = async |n: usize| api.get(&format!("/v1/devices/gone-{n}")).await.status == 200;
    for n in 0..n {
        let name = format!("gone-{n}");
        let is_of = |it: &Kept| it.change.as_ref().unwrap().of["device"] == name;
        while stored(n).await && !all(&api).await.iter().any(is_of) {
            assert!(began.elapsed().as_secs() < 30, "{name} has no record");
        }
    }
    api.stop().await;
}
