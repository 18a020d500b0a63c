//! An API that asks for keys, and what the requests are about.

use std::sync::Mutex;

use fanfare_api::{Config, Keys};
use fanfare_nats::bucket::Expect;
use fanfare_nats::dead::DeadLetter;
use fanfare_nats::key::{Key, Tenant};
use fanfare_nats::plan::HashRange;
use fanfare_nats::stream::Topology;
use fanfare_nats::{DeviceHash, EventId, Lane, Task};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::requests::Request;
use crate::harness::{Answer, Api, eventually};

/// The device that the requests are about.
pub const DEVICE: &str = "matrix";
pub const OTHER_DEVICE: &str = "other";
/// Through what, the only one there is; all tenants share it.
pub const APP: &str = "ios";
/// Where it is reached.
pub const TOKEN: &str = "token-matrix";
/// What it follows.
pub const TOPIC: &str = "news.local";

pub struct Stage {
    pub api: Api,
    admin: String,
    /// The secret of the device, which it gets anew at each registration.
    own: Mutex<String>,
}

/// The document of a device.
pub fn document(token: &str) -> Value {
    json!({"app": APP, "token": token, "topics": [TOPIC]})
}

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

impl Stage {
    pub async fn set() -> Self {
        let api = Api::start_with(Config {
            keys: Some(Keys::Required),
            apps: Some(vec![APP.to_owned()]),
            ..Config::default()
        });
        let api = api.await;
        let scopes = vec!["admin".parse().unwrap()];
        let made = Key::create(Tenant::main(), "stage", scopes, None, now());
        let (key, secret) = made.unwrap();
        api.broker.create_key(&key).await.unwrap();
        let admin = format!("Bearer {}", secret.reveal());
        let headers = [("authorization", admin.as_str())];
        let ask = async || api.send(Method::GET, "/v1/lanes", &headers, None).await;
        eventually(ask, |it| it.status == 200).await;
        let own = Mutex::default();
        let stage = Self { api, admin, own };
        stage.reset().await;
        stage
    }

    /// What somebody shows who may do everything.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    async fn as_admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let headers = [("authorization", self.admin.as_str())];
        self.api.send(method, path, &headers, body).await
    }

    /// Registers a device anew, and gives what it shows as itself.
    pub async fn register(&self, device: &str) -> String {
        let path = format!("/v1/devices/{device}");
        self.as_admin(Method::DELETE, &path, None).await;
        let document = document(&format!("token-{device}"));
        let answer = self.as_admin(Method::PUT, &path, Some(&document)).await;
        format!("Bearer {}", answer.body["secret"].as_str().unwrap())
    }

    /// Puts everything as it was at first.
    pub async fn reset(&self) {
        let own = self.register(DEVICE).await;
        // What another tenant registered by the same id.
        let other = Tenant::parse("other").unwrap().device_id(DEVICE).unwrap();
        let gone = self.api.broker.delete_device(&other, Expect::Any).await;
        gone.unwrap();
        *self.own.lock().unwrap() = own;
    }

    /// Removes the device of that name that another tenant has just registered as its own.
    pub async fn forget_other(&self, registered: &Answer) {
        if let Some(secret) = registered.body["secret"].as_str() {
            let shown = format!("Bearer {secret}");
            let headers = [("authorization", shown.as_str())];
            let path = format!("/v1/devices/{DEVICE}");
            self.api.delete(&path, &headers).await;
        }
    }

    /// Somebody with a device, of `main`.
    pub async fn user(&self) -> String {
        let body = json!({"app": "ios", "token": "token-of-user", "user": "somebody"});
        self.as_admin(Method::PUT, "/v1/devices/of-somebody", Some(&body))
            .await;
        "somebody".to_owned()
    }

    /// What the device shows as itself.
    pub fn own(&self) -> String {
        self.own.lock().unwrap().clone()
    }

    /// The device as it is stored, with its revision.
    pub async fn device(&self) -> (String, Value) {
        let path = format!("/v1/devices/{DEVICE}");
        let answer = self.as_admin(Method::GET, &path, None).await;
        (answer.header("etag").to_owned(), answer.body)
    }

    /// An event that is stored.
    pub async fn event(&self) -> String {
        let body = json!({"id": "shown", "topics": [TOPIC], "title": "One"});
        let answer = self.as_admin(Method::POST, "/v1/events", Some(&body)).await;
        answer.body["event"].as_str().unwrap().to_owned()
    }

    /// A lane that there is.
    pub async fn lane(&self) -> String {
        let lane = Lane::parse("ios-bulk").unwrap();
        let topology = Topology::new(1, vec![lane.clone()]);
        self.api.broker.ensure(&topology).await.unwrap();
        lane.to_string()
    }

    /// A source that a fetcher began to read.
    pub async fn source(&self) -> String {
        let record = self.api.broker.control_create("baseline.usgs", "{}".into());
        record.await.unwrap();
        "usgs".to_owned()
    }

    /// The number of a dead letter.
    pub async fn letter(&self) -> u64 {
        let event = EventId::parse(&"0".repeat(32)).unwrap();
        let task = Task {
            event,
            event_seq: 1,
            lane: Lane::parse("ios-bulk").unwrap(),
            range: HashRange::new(0, 0).unwrap(),
            revision: 1,
            expires_at: now(),
        };
        let device = DeviceHash::of(DEVICE);
        // One for ever: what is buried again at the same time is the same letter.
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        let letter = DeadLetter::refused(&task, device, 1, "TopicDisallowed", at);
        self.api.broker.bury(&letter).await.unwrap();
        1
    }

    /// Sends a request as somebody.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        shown: Option<&str>,
        request: &Request,
    ) -> Answer {
        let mut headers: Vec<(&str, &str)> = Vec::new();
        headers.extend(shown.map(|it| ("authorization", it)));
        headers.extend(
            request
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let body = request.body.clone();
        self.api.send_bytes(method, path, &headers, body).await
    }
}
