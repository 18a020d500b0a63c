//! The live stream, over real HTTP: nothing is missed and nothing repeated, whoever cuts.

use std::time::Duration;

use fanfare_api::Config;
use fanfare_nats::key::{Key, Tenant};
use fanfare_nats::receipt::Mark;
use fanfare_nats::{Event, clock};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Api, eventually};
use crate::story::{line, plan, post, receipt, stored};

const PATIENCE: Duration = Duration::from_secs(20);

/// One frame of the stream.
#[derive(Clone, Debug, Default, PartialEq)]
struct Frame {
    id: String,
    event: String,
    data: Value,
}

/// A reader, as a browser is one.
struct Reader {
    response: Response,
    text: String,
    last_id: String,
}

async fn ask(api: &Api, query: &str, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("http://{}/v1/stream{query}", api.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

impl Reader {
    /// A reader that has its place.
    async fn open(api: &Api, query: &str, headers: &[(&str, &str)]) -> Self {
        let response = ask(api, query, headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut reader = Self {
            response,
            text: String::new(),
            last_id: String::new(),
        };
        let first = reader.lines().await.unwrap();
        assert!(first.contains("retry: "), "{first}");
        reader
    }

    async fn resume(api: &Api, last_id: &str) -> Self {
        Self::open(api, "", &[("last-event-id", last_id)]).await
    }

    /// The lines up to the next empty one; `None` when the stream has ended.
    async fn lines(&mut self) -> Option<String> {
        loop {
            if let Some((lines, rest)) = self.text.split_once("\n\n") {
                let (lines, rest) = (lines.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(id) = lines.lines().find_map(|it| it.strip_prefix("id: ")) {
                    id.clone_into(&mut self.last_id);
                }
                return Some(lines);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.unwrap().ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next frame that says something.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let lines = self.lines().await?;
            let field = |name: &str| lines.lines().find_map(|it| it.strip_prefix(name));
            if let Some(event) = field("event: ") {
                return Some(Frame {
                    id: field("id: ").unwrap().to_owned(),
                    event: event.to_owned(),
                    data: serde_json::from_str(field("data: ").unwrap()).unwrap(),
                });
            }
        }
    }

    /// The ids of so many events.
    async fn events(&mut self, n: usize) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.len() < n {
            let frame = self.next().await.unwrap();
            assert_eq!(frame.event, "event", "{frame:?}");
            ids.push(frame.data["id"].as_str().unwrap().to_owned());
        }
        ids
    }
}

async fn post_to(api: &Api, id: &str, topic: &str) {
    let body = json!({"id": id, "topics": [topic], "title": "One", "body": "Two"});
    assert_eq!(api.post(&[], &body).await.status, 201);
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|it| format!("e{it}")).collect()
}

#[tokio::test]
async fn an_event_is_told_and_then_what_its_receipts_say_to_whoever_wants_its_topic() {
    let api = Api::start().await;
    let mut all = Reader::open(&api, "", &[]).await;
    let mut quakes = Reader::open(&api, "?topic=quakes.%3E&topic=other", &[]).await;
    post_to(&api, "fair", "weather.berlin").await;
    let event = post(&api, "quake").await;
    let plan = plan(&api, "quake", 3).await;
    let task = plan.tasks().next().unwrap();
    let lines = vec![
        line("a", Mark::Accepted, None),
        line("b", Mark::Accepted, None),
        line("c", Mark::Refused, Some("x")),
    ];
    receipt(&api, &task, lines, true).await;

    assert_eq!(all.events(1).await, ["fair"]);
    for reader in [&mut all, &mut quakes] {
        let told = reader.next().await.unwrap();
        assert_eq!(
            (told.event.as_str(), &told.data["event"]),
            ("event", &json!(event))
        );
        assert_eq!(
            (&told.data["title"], &told.data["data"]["mag"]),
            (&json!("One"), &json!(4))
        );
        let told = reader.next().await.unwrap();
        assert_eq!(told.event, "receipt");
        assert_eq!(told.data["event"], json!(event));
        assert_eq!(told.data["counts"], json!({"accepted": 2, "refused": 1}));
        assert_eq!(told.data["is_finished"], true);
    }
    api.stop().await;
    assert_eq!(all.next().await, None);
}

#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_misses_nothing_and_repeats_nothing() {
    let api = Api::start().await;
    let mut reader = Reader::open(&api, "", &[]).await;
    let mut seen = Vec::new();
    let posting = async {
        for n in 0..120 {
            post_to(&api, &format!("e{n}"), "all").await;
        }
    };
    let reading = async {
        for part in [1, 7, 20, 2, 40, 50] {
            seen.extend(reader.events(part).await);
            let last = reader.last_id.clone();
            // Cut in the middle of whatever is on its way.
            reader = Reader::resume(&api, &last).await;
        }
    };
    tokio::join!(posting, reading);
    assert_eq!(seen, names(0..120));

    // Nobody reads for a while: what was stored then is in the streams alone.
    let last = reader.last_id.clone();
    drop(reader);
    for n in 120..160 {
        post_to(&api, &format!("e{n}"), "all").await;
    }
    let mut late = Reader::resume(&api, &last).await;
    assert_eq!(late.events(40).await, names(120..160));
    let mut from_the_start = Reader::resume(&api, "0-0").await;
    assert_eq!(from_the_start.events(160).await, names(0..160));
    post_to(&api, "e160", "all").await;
    assert_eq!(late.events(1).await, names(160..161));
    assert_eq!(from_the_start.events(1).await, names(160..161));
    api.stop().await;
}

/// Publishes events of some 60 kB.
async fn publish_large(api: &Api, like: &Event, range: std::ops::Range<usize>) {
    for n in range {
        let mut event = Event {
            item: format!("e{n}"),
            ..like.clone()
        };
        event.content.body = Some("x".repeat(60_000));
        api.broker.publish(&event, false).await.unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_is_dropped_with_a_reason_and_the_others_are_not_held_up() {
    // Who stands still is told why: he is not cut off before, however long all this takes.
    let standstill_s = 120;
    let config = Config {
        standstill_s,
        ..Config::default()
    };
    let api = Api::start_with(config).await;
    let mut still = Reader::open(&api, "", &[]).await;
    let mut well = Reader::open(&api, "", &[]).await;
    post_to(&api, "small", "all").await;
    let (_, small) = stored(&api, "small").await;
    assert_eq!(well.events(1).await, ["small"]);
    // Beyond the buffers of the sockets, then beyond what is kept.
    for n in (0..448).step_by(64) {
        publish_large(&api, &small, n..n + 64).await;
        assert_eq!(well.events(64).await, names(n..n + 64));
    }
    let mut seen = vec!["small".to_owned()];
    still.events(1).await;
    let dropped = loop {
        let frame = still.next().await.unwrap();
        if frame.event == "dropped" {
            break frame;
        }
        seen.push(frame.data["id"].as_str().unwrap().to_owned());
    };
    assert_eq!(dropped.data["reason"], "slow");
    assert_eq!(dropped.data["last_event_id"], json!(dropped.id));
    assert_eq!(still.next().await, None);
    let n = seen.len();
    assert!((2..448).contains(&n), "{n}");
    let mut back = Reader::resume(&api, &dropped.id).await;
    seen.extend(back.events(449 - n).await);
    let mut all = vec!["small".to_owned()];
    all.extend(names(0..448));
    assert_eq!(seen, all);
    api.stop().await;
}

#[tokio::test]
async fn a_client_that_stands_still_does_not_hold_up_the_stop() {
    let api = Api::start().await;
    let still = Reader::open(&api, "", &[]).await;
    post_to(&api, "small", "all").await;
    let (_, small) = stored(&api, "small").await;
    let mut well = Reader::open(&api, "", &[("last-event-id", "0-0")]).await;
    well.events(1).await;
    for n in (0..256).step_by(64) {
        publish_large(&api, &small, n..n + 64).await;
        well.events(64).await;
    }
    api.stop().await;
    drop(still);
}

#[tokio::test]
async fn a_place_that_is_none_of_these_streams_is_said_and_places_are_bounded() {
    let config = Config {
        max_streams: 2,
        ..Config::default()
    };
    let api = Api::start_with(config).await;
    post_to(&api, "one", "all").await;
    let first = Reader::open(&api, "", &[]).await;
    let mut lost = ask(&api, "", &[("last-event-id", "999-0")]).await;
    let text = lost.chunk().await.unwrap().unwrap();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains("event: dropped"), "{text}");
    assert!(text.contains(r#""reason":"position""#), "{text}");
    assert!(text.contains("id: 1-0"), "{text}");
    assert_eq!(lost.chunk().await.unwrap(), None);
    let second = Reader::open(&api, "", &[]).await;
    let refused = ask(&api, "", &[]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop((first, second));
    for wrong in ["?topic=a..b", "?topic=a.%3E.b"] {
        api.get(&format!("/v1/stream{wrong}"))
            .await
            .check_problem(400, "invalid_request");
    }
    let many = format!("?{}", "topic=a&".repeat(33));
    api.get(&format!("/v1/stream{many}"))
        .await
        .check_problem(400, "invalid_request");
    let wrong = [("last-event-id", "x")];
    let answer = api
        .send(reqwest::Method::GET, "/v1/stream", &wrong, None)
        .await;
    answer.check_problem(400, "invalid_request");
    api.stop().await;
}

/// A key that may everything, as it is shown, once the API knows it.
async fn admin_of(api: &Api, tenant: &str) -> String {
    let tenant = Tenant::parse(tenant).unwrap();
    let scopes = vec!["admin".parse().unwrap()];
    let (key, secret) = Key::create(tenant, "k", scopes, None, clock::now()).unwrap();
    api.broker.create_key(&key).await.unwrap();
    let shown = format!("Bearer {}", secret.reveal());
    let headers = [("authorization", shown.as_str())];
    let nobody = async || {
        let path = "/v1/devices/nobody";
        api.send(reqwest::Method::GET, path, &headers, None).await
    };
    eventually(nobody, |it| it.status == 404).await;
    shown
}

#[tokio::test]
async fn each_tenant_is_told_what_is_its_own_as_it_writes_it() {
    let api = Api::start_locked().await;
    let (main, acme) = (admin_of(&api, "main").await, admin_of(&api, "acme").await);
    let mut readers = Vec::new();
    for shown in [&main, &acme] {
        for query in ["", "?topic=news.%3E"] {
            let headers = [("authorization", shown.as_str())];
            readers.push(Reader::open(&api, query, &headers).await);
        }
    }
    for (shown, id) in [(&main, "a"), (&acme, "b"), (&main, "c"), (&acme, "d")] {
        let body = json!({"id": id, "topics": ["news.x"], "title": "One"});
        let headers = [("authorization", shown.as_str())];
        assert_eq!(api.post(&headers, &body).await.status, 201);
    }
    let own = [["a", "c"], ["a", "c"], ["b", "d"], ["b", "d"]];
    for (reader, own) in readers.iter_mut().zip(own) {
        for id in own {
            let told = reader.next().await.unwrap();
            assert_eq!(
                (&told.data["id"], &told.data["topics"]),
                (&json!(id), &json!(["news.x"]))
            );
        }
    }
    for (shown, own) in [(&main, ["c", "a"]), (&acme, ["d", "b"])] {
        let headers = [("authorization", shown.as_str())];
        let path = "/v1/events?topic=news.*";
        let listed = api.send(reqwest::Method::GET, path, &headers, None).await;
        let items = listed.body["items"].as_array().unwrap();
        let ids: Vec<_> = items.iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids, own);
    }
    api.stop().await;
    for reader in &mut readers {
        assert_eq!(reader.next().await, None);
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_key() {
    let api = Api::start_locked().await;
    let scopes = vec!["read".parse().unwrap()];
    let (mut key, secret) = Key::create(Tenant::main(), "k", scopes, None, clock::now()).unwrap();
    let revision = api.broker.create_key(&key).await.unwrap();
    let shown = format!("Bearer {}", secret.reveal());
    let headers = [("authorization", shown.as_str())];
    let lanes = async || {
        api.send(reqwest::Method::GET, "/v1/lanes", &headers, None)
            .await
    };
    eventually(lanes, |it| it.status == 200).await;
    let mut reader = Reader::open(&api, "", &headers).await;
    key.revoked_at = Some(clock::now());
    api.broker.replace_key(&key, revision).await.unwrap();
    let dropped = reader.next().await.unwrap();
    assert_eq!(
        (dropped.event.as_str(), &dropped.data["reason"]),
        ("dropped", &json!("key"))
    );
    assert_eq!(reader.next().await, None);
    api.stop().await;
}
