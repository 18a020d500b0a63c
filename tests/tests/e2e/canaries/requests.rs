//! What apps do, and everything that they may do wrong while they hold secrets.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};

use super::{ON_PURPOSE, USER, WRONG_KEY, canary_token};

/// Each has a token of its own.
pub(super) const N_DEVICES: usize = 5;
/// The beginning of their ids, which are in subjects.
pub(super) const DEVICE: &str = "canary-phone";

pub(super) struct Client {
    at: SocketAddr,
    http: reqwest::Client,
}

/// What the API said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Secrets of devices, which are told once.
    pub(super) secrets: Vec<String>,
    /// Refusals: heads and bodies.
    pub(super) refused: Vec<String>,
}

/// A request: method, path, headers, body.
type Request<'a> = (Method, String, Vec<(&'a str, String)>, Vec<u8>);

impl Client {
    pub(super) fn new(at: SocketAddr) -> Self {
        let http = fanfare_tests::api::client();
        Self { at, http }
    }

    pub(super) async fn get(&self, path: &str, key: &str) -> u16 {
        let shown = vec![("authorization", format!("Bearer {key}"))];
        let request = (Method::GET, path.to_owned(), shown, Vec::new());
        self.send(request, &mut Told::default()).await.0
    }

    /// Sends a request, and notes a refusal as it came.
    async fn send(&self, request: Request<'_>, told: &mut Told) -> (u16, Value) {
        let (method, path, headers, body) = request;
        let what = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.at))
            .header("x-request-id", ON_PURPOSE);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = format!("{:?}", answer.headers());
        let text = answer.text().await.unwrap();
        if status >= 400 {
            told.refused.push(format!("{status} {headers} {text}"));
        }
        println!("{status} to {}", what.split('?').next().unwrap_or_default());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }
}

fn json_of(key: &str, body: &Value) -> (Vec<(&'static str, String)>, Vec<u8>) {
    let shown = vec![
        ("authorization", format!("Bearer {key}")),
        ("content-type", "application/json".to_owned()),
    ];
    (shown, body.to_string().into_bytes())
}

fn device(n: usize) -> String {
    format!("/v1/devices/{DEVICE}-{n}")
}

fn document(n: usize) -> Value {
    json!({"app": "ios", "token": canary_token(n), "user": USER, "topics": ["all"]})
}

/// Registers, posts to everybody and to one user, and asks what became of it.
pub(super) async fn ordinary(client: &Client, key: &str, told: &mut Told) {
    for n in 0..N_DEVICES {
        let (shown, body) = json_of(key, &document(n));
        let request = (Method::PUT, device(n), shown, body);
        let (status, answer) = client.send(request, told).await;
        assert_eq!(status, 201, "{answer}");
        told.secrets
            .push(answer["secret"].as_str().unwrap().to_owned());
    }
    let posts = [
        json!({"id": "all", "topics": ["all"], "title": "One"}),
        json!({"id": "hers", "user": USER, "title": "Two"}),
    ];
    for post in posts {
        let (shown, body) = json_of(key, &post);
        let request = (Method::POST, "/v1/events".to_owned(), shown, body);
        let (status, answer) = client.send(request, told).await;
        assert_eq!(status, 201, "{answer}");
    }
    for path in [
        &device(4),
        "/v1/events/all",
        "/v1/events/hers",
        "/v1/members",
    ] {
        assert_eq!(client.get(path, key).await, 200, "{path}");
    }
    let own = told.secrets[4].clone();
    assert_eq!(client.get(&device(4), &own).await, 200);
}

/// Every way to be refused that carries something.
pub(super) async fn wrong(client: &Client, key: &str, reader: &str, told: &mut Told) {
    let own = told.secrets[0].clone();
    let mut requests = wrong_heads(key, reader, &own);
    requests.extend(wrong_bodies(key, &own));
    requests.extend(wrong_paths(key, &own));
    for request in requests {
        let (status, answer) = client.send(request, told).await;
        assert!((400..500).contains(&status), "{status}: {answer}");
    }
    // These may or may not be there; what they say is looked at all the same.
    for method in [Method::GET, Method::DELETE] {
        let request = bare(method, format!("/v1/users/{USER}"), reader);
        client.send(request, told).await;
    }
}

fn put(n: usize, key: &str, body: &Value) -> Request<'static> {
    let (shown, body) = json_of(key, body);
    (Method::PUT, device(n), shown, body)
}

fn post(key: &str, body: &Value) -> Request<'static> {
    let (shown, body) = json_of(key, body);
    (Method::POST, "/v1/events".to_owned(), shown, body)
}

fn bare(method: Method, path: String, key: &str) -> Request<'static> {
    (method, path, json_of(key, &Value::Null).0, Vec::new())
}

/// The same with another header.
fn with(mut request: Request<'static>, name: &'static str, value: String) -> Request<'static> {
    request.2.retain(|it| it.0 != name);
    request.2.push((name, value));
    request
}

/// The same with another body.
fn raw(mut request: Request<'static>, body: String) -> Request<'static> {
    request.3 = body.into_bytes();
    request
}

fn wrong_heads(key: &str, reader: &str, own: &str) -> Vec<Request<'static>> {
    let good = || put(1, key, &document(1));
    let never = format!("fanfare_main_0123456789_{WRONG_KEY}");
    let token = canary_token(1);
    vec![
        put(1, &never, &document(1)),
        put(1, reader, &document(1)),
        put(1, own, &document(1)),
        with(good(), "authorization", format!("Basic {own}")),
        with(good(), "authorization", key.to_owned()),
        with(good(), "content-type", format!("text/{token}")),
        with(good(), "if-match", format!("\"{own}\"")),
        with(good(), "if-match", "\"1\"".to_owned()),
        bare(Method::DELETE, device(2), own),
    ]
}

fn wrong_bodies(key: &str, own: &str) -> Vec<Request<'static>> {
    let token = canary_token(1);
    let flaws = json!({
        "app": token, "token": format!("two words {token}"), "user": [USER], "locale": own,
        "topics": [format!("{USER} {token}"), {"pattern": key}], "time_zone": USER,
    });
    let no_event = json!({
        "id": [USER], "topics": [USER, token, key], "title": {"a": token}, "data": token,
        "url": format!("javascript:{key}"), "expires_in": own, "urgency": USER,
    });
    let other = json!({"id": "all", "topics": ["all"], "title": USER, "body": token});
    let name = format!("{USER} {token}");
    let cut = document(1).to_string()[..90].to_owned();
    vec![
        put(1, key, &flaws),
        put(1, own, &flaws),
        raw(put(1, key, &Value::Null), cut),
        raw(
            put(1, key, &Value::Null),
            format!("\"{}\"", token.repeat(20_000)),
        ),
        post(key, &no_event),
        post(key, &other),
        post(own, &other),
        with(post(key, &other), "idempotency-key", name),
    ]
}

fn wrong_paths(key: &str, own: &str) -> Vec<Request<'static>> {
    let token = canary_token(1);
    let paths = [
        format!("/v1/lanes?cursor={token}&limit={USER}"),
        format!("/v1/{USER}/{token}?key={key}"),
        format!("/v1/devices/{token}.{USER}"),
        format!("/v1/events/{USER}/deliveries/{USER}"),
    ];
    let mut requests: Vec<_> = paths.map(|it| bare(Method::GET, it, key)).into();
    requests.push(raw(bare(Method::POST, device(2), key), own.to_owned()));
    requests
}
