//! Tenants: what one of them has, no other sees, addresses or is told.

use fanfare_nats::index::Index;
use fanfare_nats::key::{Key, Tenant};
use fanfare_nats::plan::HashRange;
use fanfare_nats::{DeviceHash, Event, clock, feed::Change};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

const PHONE: &str = "/v1/devices/phone";
const TENANTS: [&str; 3] = ["main", "acme", "b"];

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

/// One API, asked with one key of each tenant that may do everything.
struct World {
    api: Api,
    keys: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let api = Api::start_locked().await;
        let mut keys = Vec::new();
        for name in TENANTS {
            let scopes = vec!["admin".parse().unwrap()];
            let made = Key::create(tenant(name), name, scopes, None, clock::now());
            let (key, secret) = made.unwrap();
            api.broker.create_key(&key).await.unwrap();
            keys.push(format!("Bearer {}", secret.reveal()));
        }
        let world = Self { api, keys };
        for whose in 0..TENANTS.len() {
            let ask = async || world.get(whose, "/v1/devices/nobody").await;
            eventually(ask, |it| it.status == 404).await;
        }
        world
    }

    async fn ask(&self, whose: usize, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let key = [("authorization", self.keys[whose].as_str())];
        self.api.send(method, path, &key, body).await
    }

    async fn get(&self, whose: usize, path: &str) -> Answer {
        self.ask(whose, Method::GET, path, None).await
    }

    async fn put(&self, whose: usize, path: &str, body: &Value) -> Answer {
        self.ask(whose, Method::PUT, path, Some(body)).await
    }

    async fn post(&self, whose: usize, body: &Value) -> Answer {
        self.ask(whose, Method::POST, "/v1/events", Some(body))
            .await
    }

    /// What planners know.
    async fn index(&self) -> Index {
        let mut index = Index::default();
        let load = self
            .api
            .broker
            .load_devices(|change, revision| match change {
                Change::Put(id, device) => index.put(&id, &device, revision),
                Change::Removed(id) => index.remove(&id, revision),
                Change::Later(..) | Change::Other => {}
            });
        load.await.unwrap();
        index
    }

    async fn event(&self, whose: usize, name: &str) -> Event {
        let tenant = tenant(TENANTS[whose]);
        let found = self.api.broker.event_named(&tenant, name, clock::now());
        found.await.unwrap().unwrap().stored.event
    }
}

fn device(token: &str) -> Value {
    json!({"app": "ios", "token": token, "user": "ada", "topics": [">", "news.*", "*.*.*.*.*"]})
}

/// The devices, as they are stored, that a planner finds for an event.
fn audience(index: &Index, event: &Event) -> Vec<String> {
    let interest = index.interest(event);
    let whole = HashRange::new(0, 0).unwrap();
    let mut found = Vec::new();
    for (app, n) in index.count(&interest) {
        let steps = index.walk(&interest, &app, whole, DeviceHash(0), 1000);
        assert_eq!(u64::try_from(steps.len()).unwrap(), n);
        found.extend(
            steps
                .iter()
                .map(|it| index.device_id(it.device).unwrap().to_string()),
        );
    }
    found
}

fn unsigned(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    body["request_id"] = Value::Null;
    body
}

#[tokio::test]
async fn an_event_of_one_tenant_reaches_its_devices_and_nobody_else() {
    let world = World::new().await;
    for whose in 0..TENANTS.len() {
        // The same id and user everywhere: each has its own.
        let token = format!("token-{whose}");
        let answer = world.put(whose, PHONE, &device(&token)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["id"], "phone");
        assert_eq!(answer.body["user"], "ada");
        assert_eq!(answer.body["topics"][0]["pattern"], ">");
        let again = world.get(whose, PHONE).await;
        assert_eq!(again.body["topics"], answer.body["topics"]);
    }
    let ada = format!("fanfare.user.{}", DeviceHash::of("ada"));
    let posts = [
        json!({"id": "topic", "title": "x", "topics": ["news.local"]}),
        json!({"id": "deep", "title": "x", "topics": ["a.b.c.d.e"]}),
        json!({"id": "device", "title": "x", "device": "phone"}),
        json!({"id": "device-topic", "title": "x", "topics": ["fanfare.device.phone"]}),
        json!({"id": "user", "title": "x", "user": "ada"}),
        json!({"id": "user-topic", "title": "x", "topics": [ada]}),
    ];
    for whose in 0..TENANTS.len() {
        for post in &posts {
            let answer = world.post(whose, post).await;
            assert_eq!(
                answer.status, 201,
                "the id is free in each tenant: {answer:?}"
            );
            assert_eq!(answer.body["id"], post["id"]);
            assert!(!answer.body["topics"].to_string().contains("tenant"));
            assert_eq!(world.post(whose, post).await.status, 200);
        }
    }
    let index = world.index().await;
    assert_eq!(index.len(), TENANTS.len());
    for (whose, own) in ["phone", "acme=phone", "b=phone"].into_iter().enumerate() {
        for post in &posts {
            let name = post["id"].as_str().unwrap();
            let event = world.event(whose, name).await;
            assert_eq!(audience(&index, &event), [own], "{name}");
        }
    }
}

#[tokio::test]
async fn what_another_tenant_has_is_answered_as_what_nobody_has() {
    let world = World::new().await;
    for (whose, id) in [(1, "mine"), (1, "phone")] {
        let path = format!("/v1/devices/{id}");
        assert_eq!(world.put(whose, &path, &device(id)).await.status, 201);
    }
    let post = json!({"id": "7", "title": "x", "topics": ["news.local"]});
    let event = world.post(1, &post).await.body["event"].clone();
    let event = event.as_str().unwrap();
    let shown = world.get(1, &format!("/v1/events/{event}")).await;
    assert_eq!(
        (shown.status.as_u16(), &shown.body["id"]),
        (200, &json!("7"))
    );
    assert_eq!(shown.body["topics"], json!(["news.local"]));
    let mine = format!("/v1/events/{event}/deliveries/mine");
    let delivery = world.get(1, &mine).await;
    assert_eq!(delivery.status, 200, "{delivery:?}");
    assert_eq!(delivery.body["device"]["id"], "mine");
    assert_eq!(delivery.body["subscriptions"][0]["pattern"], ">");
    assert_eq!(delivery.body["subscriptions"][0]["topic"], "news.local");
    let nothing = "0".repeat(32);
    for whose in [0, 2] {
        for (path, unknown) in [
            (
                "/v1/devices/mine".to_owned(),
                "/v1/devices/nobody".to_owned(),
            ),
            (
                format!("/v1/events/{event}"),
                format!("/v1/events/{nothing}"),
            ),
            ("/v1/events/7".to_owned(), "/v1/events/8".to_owned()),
            ("/v1/events/acme%1F7".to_owned(), "/v1/events/8".to_owned()),
            (
                mine.clone(),
                format!("/v1/events/{nothing}/deliveries/mine"),
            ),
        ] {
            let (answer, unknown) = (
                world.get(whose, &path).await,
                world.get(whose, &unknown).await,
            );
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            assert_eq!(unsigned(&answer), unsigned(&unknown), "{path}");
        }
    }
    assert_eq!(world.get(1, &mine).await.status, 200);
    for path in ["/v1/lanes", "/v1/members"] {
        assert_eq!(world.get(0, path).await.status, 200);
        world.get(1, path).await.check_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn what_another_tenant_has_is_not_in_the_way_and_stays() {
    let world = World::new().await;
    let mine = device("0123456789-0123");
    assert_eq!(world.put(1, "/v1/devices/mine", &mine).await.status, 201);
    for whose in [0, 2] {
        let token = format!("token-{whose}");
        // Removing it is as removing nothing, and an own one may be made.
        let removed = world
            .ask(whose, Method::DELETE, "/v1/devices/mine", None)
            .await;
        assert_eq!(removed.status, 204);
        let follow = world
            .ask(whose, Method::PUT, "/v1/devices/mine/topics/x", None)
            .await;
        follow.check_problem(404, "no_such_device");
        assert_eq!(
            world
                .put(whose, "/v1/devices/mine", &device(&token))
                .await
                .status,
            201
        );
    }
    assert_eq!(
        world.get(1, "/v1/devices/mine").await.body["token_hint"],
        "0123"
    );
}

#[tokio::test]
async fn no_text_of_one_tenant_names_another() {
    let world = World::new().await;
    assert_eq!(world.put(1, PHONE, &device("t")).await.status, 201);
    for whose in [0, 1, 2] {
        for id in [
            "acme=phone",
            "acme%3Dphone",
            "acme%253Dphone",
            "acme%1Fphone",
        ] {
            let answer = world.get(whose, &format!("/v1/devices/{id}")).await;
            answer.check_problem(400, "invalid_request");
        }
        let pattern = "/v1/devices/phone/topics/fanfare.tenant.acme.%3E";
        let answer = world.ask(whose, Method::PUT, pattern, None).await;
        answer.check_problem(400, "invalid_request");
        let body = |field: &str, value: Value| {
            let mut body = device("u");
            body[field] = value;
            body
        };
        for (field, value, at) in [
            ("topics", json!(["fanfare.tenant.acme.>"]), "/topics/0"),
            ("user", json!("acme\u{1f}ada"), "/user"),
        ] {
            let answer = world.put(whose, PHONE, &body(field, value)).await;
            answer.check_problem(422, "invalid_fields");
            assert_eq!(answer.pointers(), [at]);
        }
        for (post, at) in [
            (
                json!({"title": "x", "topics": ["fanfare.tenant.acme.news"]}),
                "/topics/0",
            ),
            (
                json!({"title": "x", "topics": ["fanfare.device.acme=phone"]}),
                "/topics/0",
            ),
            (json!({"title": "x", "device": "acme=phone"}), "/device"),
            (json!({"title": "x", "user": "acme\u{1f}ada"}), "/user"),
            (
                json!({"id": "acme\u{1f}7", "title": "x", "topics": ["a"]}),
                "/id",
            ),
        ] {
            let answer = world.post(whose, &post).await;
            answer.check_problem(422, "invalid_fields");
            assert_eq!(answer.pointers(), [at]);
        }
    }
    // A name that looks like the stored form of an id is a name like any other.
    let post = json!({"id": "n", "title": "x", "user": "acme=ada"});
    assert_eq!(world.post(0, &post).await.status, 201);
    let event = world.event(0, "n").await;
    assert_eq!(audience(&world.index().await, &event), [""; 0]);
}

#[tokio::test]
async fn a_devices_secret_opens_the_device_of_its_tenant() {
    let world = World::new().await;
    let mut secrets = Vec::new();
    for (whose, name) in TENANTS.iter().enumerate() {
        let answer = world.put(whose, PHONE, &device(&format!("t-{name}"))).await;
        let secret = answer.body["secret"].as_str().unwrap();
        assert_eq!(secret.contains(name), whose > 0, "{secret}");
        secrets.push(secret.to_owned());
    }
    for (whose, secret) in secrets.iter().enumerate() {
        let key = [("authorization", &*format!("Bearer {secret}"))];
        let body = json!({"app": "ios", "token": TENANTS[whose], "topics": [">"]});
        let all = world.api.put(PHONE, &key, &body).await;
        all.check_problem(403, "forbidden");
        let body = json!({"app": "ios", "token": "0123456789-".to_owned() + TENANTS[whose]});
        assert_eq!(world.api.put(PHONE, &key, &body).await.status, 200);
    }
    for (whose, hint) in ["main", "acme", "89-b"].into_iter().enumerate() {
        assert_eq!(world.get(whose, PHONE).await.body["token_hint"], hint);
    }
}

#[tokio::test]
async fn what_is_followed_and_by_whom_is_told_to_its_own_tenant() {
    let world = World::new().await;
    for whose in 0..TENANTS.len() {
        let token = format!("token-{whose}");
        let put = world.put(whose, PHONE, &device(&token)).await;
        assert_eq!(put.status, 201, "{put:?}");
    }
    for whose in 0..TENANTS.len() {
        let topics = world.get(whose, "/v1/topics").await;
        let expected = ["*.*.*.*.*", ">", "news.*"].map(|it| json!({"pattern": it, "devices": 1}));
        assert_eq!(topics.body["items"], json!(expected), "{topics:?}");
        for question in [
            json!({"topics": ["news.it"]}),
            json!({"device": "phone"}),
            json!({"user": "ada"}),
        ] {
            let asked = world
                .ask(whose, Method::POST, "/v1/topics/audience", Some(&question))
                .await;
            assert_eq!(asked.body["devices"], 1, "{question}: {asked:?}");
            assert_eq!(asked.body["items"], json!([{"id": "phone", "app": "ios"}]));
        }
    }
}

#[tokio::test]
async fn a_user_is_shown_and_removed_in_his_own_tenant() {
    let world = World::new().await;
    let user = "/v1/users/ada";
    let ask = async || world.get(1, user).await;
    eventually(ask, |it| it.status == 404).await; // The devices are loaded.
    for (whose, own) in ["phone-0", "phone-1", "phone-2"].into_iter().enumerate() {
        for id in ["phone", own] {
            let path = format!("/v1/devices/{id}");
            let token = format!("{whose}-{id}");
            assert_eq!(world.put(whose, &path, &device(&token)).await.status, 201);
        }
    }
    let ids = |answer: &Answer| -> Vec<Value> {
        let items = answer.body["items"].as_array().unwrap();
        items.iter().map(|it| it["id"].clone()).collect()
    };
    for (whose, own) in ["phone-0", "phone-1", "phone-2"].into_iter().enumerate() {
        assert_eq!(ids(&world.get(whose, user).await), ["phone", own]);
    }
    // Neither the tenant that is everybody's nor another one removes what is not his.
    for (whose, others) in [(1, [0, 2]), (0, [2, 2])] {
        let gone = world.ask(whose, Method::DELETE, user, None).await;
        assert_eq!(gone.body, json!({"removed": 2, "is_complete": true}));
        world
            .get(whose, user)
            .await
            .check_problem(404, "no_such_user");
        for other in others {
            assert_eq!(ids(&world.get(other, user).await).len(), 2, "{whose}");
        }
    }
}
