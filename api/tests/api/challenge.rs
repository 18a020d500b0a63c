//! A token that is another user's moves when its challenge is answered, and not before: whichever node
//! takes the registration in, and whatever it knows then.

mod limits;
pub(crate) mod node;
mod nodes;
mod tenants;

use std::time::Duration;

use fanfare_nats::bucket::Expect;
use fanfare_nats::device::{MAX_CHALLENGE_ATTEMPTS, Pending};
use fanfare_nats::event::SourceName;
use fanfare_nats::feed::Change;
use fanfare_nats::index::{Index, Step};
use fanfare_nats::key::NewSecret;
use fanfare_nats::{AppName, Device, DeviceId, Event, Level, ScreenId, Topic, clock};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::harness::{Answer, Api, eventually};

const HERS: &str = "/v1/devices/hers";
const HIS: &str = "/v1/devices/his";

fn device(token: &str, user: &str) -> Value {
    json!({"app": "ios", "token": token, "user": user, "topics": ["news"]})
}

async fn confirm(api: &Api, path: &str, nonce: &str) -> Answer {
    let path = format!("{path}/confirm");
    let body = json!({"nonce": nonce});
    api.send(Method::POST, &path, &[], Some(&body)).await
}

async fn stored(api: &Api, id: &str) -> Device {
    let id = DeviceId::parse_stored(id).unwrap();
    api.broker.device(&id).await.unwrap().unwrap().device
}

fn window(pending: &Pending) -> i64 {
    pending.asked_at.as_second().div_euclid(60)
}

/// What was sent to a token in the minute in which a device asked for it.
async fn sent(api: &Api, pending: &Pending) -> Event {
    let source = SourceName::api();
    let item = format!(
        "Challenge\u{1f}{}-{}",
        pending.token.alias(),
        window(pending)
    );
    let screen = ScreenId::new(&source, &item);
    let event = api.broker.stored_event(&source, &screen, &Level::First);
    event.await.unwrap().unwrap().1
}

/// The nonce, as the push carries it.
fn told(event: &Event) -> String {
    event.challenge().unwrap().to_owned()
}

async fn nonce(api: &Api, id: &str) -> String {
    let event = sent(api, &stored(api, id).await.pending.unwrap()).await;
    let of = Topic::of_challenge(&DeviceId::parse_stored(id).unwrap());
    assert_eq!(event.topics, [of]);
    told(&event)
}

/// An API that knows of every device.
async fn loaded() -> Api {
    let api = Api::start().await;
    knows_all(&api).await;
    api
}

async fn knows_all(api: &Api) {
    eventually(async || api.get("/v1/topics").await, |it| it.status == 200).await;
}

/// Registers with a node that knows whose the token is.
async fn pending(api: &Api, path: &str, body: &Value) -> Answer {
    knows_all(api).await;
    let answer = api.put(path, &[], body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    answer
}

/// Whom a planner that begins now would send what is on `news`, of those who are asked for.
async fn reached<'a>(api: &Api, ids: &[&'a str]) -> Vec<&'a str> {
    let mut index = Index::default();
    let load = api.broker.load_devices(|change, revision| match change {
        Change::Put(id, device) => index.put(&id, &device, revision),
        Change::Removed(id) => index.remove(&id, revision),
        Change::Later(..) | Change::Other => {}
    });
    load.await.unwrap();
    let app = AppName::parse("ios").unwrap();
    let is_reached = |it: &&str| {
        let id = DeviceId::parse_stored(it).unwrap();
        let topic = id.tenant().topic(&Topic::parse("news").unwrap());
        let interest = index.interest_in(&[topic], &Map::new());
        let step = Step::to(id.hash());
        index.target(&interest, &app, step, u64::MAX).is_ok()
    };
    ids.iter().copied().filter(is_reached).collect()
}

#[tokio::test]
async fn a_token_of_another_user_moves_when_its_challenge_is_answered() {
    let api = loaded().await;
    let first = api.put(HERS, &[], &device("token", "ada")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let waiting = pending(&api, HIS, &device("token", "bob")).await;
    assert!(waiting.body["pending_until"].is_string(), "{waiting:?}");
    assert_eq!(waiting.body["user"], "bob");
    assert_eq!(waiting.header("retry-after"), "");
    assert_eq!(reached(&api, &["hers", "his"]).await, ["hers"]);
    let sent = nonce(&api, "his").await;
    // The same again sends no second push.
    let again = pending(&api, HIS, &device("token", "bob")).await;
    assert_eq!(again.body["pending_until"], waiting.body["pending_until"]);
    assert_eq!(nonce(&api, "his").await, sent);

    let wrong = confirm(&api, HIS, &"0".repeat(52)).await;
    wrong.check_problem(409, "challenge_failed");
    assert_eq!(wrong.body["attempts_left"], MAX_CHALLENGE_ATTEMPTS - 1);
    // It counts, however often he registers within the minute.
    pending(&api, HIS, &device("token", "bob")).await;
    let wrong = confirm(&api, HIS, &"0".repeat(52)).await;
    assert_eq!(wrong.body["attempts_left"], MAX_CHALLENGE_ATTEMPTS - 2);
    let odd = confirm(&api, HIS, "x").await;
    odd.check_problem(422, "invalid_fields");
    // A pattern more does not confirm it.
    let more = format!("{HIS}/topics/more");
    api.send(Method::PUT, &more, &[], None).await;
    assert_eq!(reached(&api, &["hers", "his"]).await, ["hers"]);
    for _ in 0..2 {
        let confirmed = confirm(&api, HIS, &sent).await;
        assert_eq!(confirmed.status, 200, "{confirmed:?}");
        assert_eq!(confirmed.body.get("pending_until"), None);
        assert_eq!(confirmed.body["topics"][1]["pattern"], "more");
    }
    let his = stored(&api, "his").await;
    assert_eq!(
        (his.token.reveal(), his.user.as_deref()),
        ("token", Some("bob"))
    );
    assert_eq!(reached(&api, &["hers", "his"]).await, ["his"]);
    // It stays his however often it is written, and now she would have to confirm.
    knows_all(&api).await;
    for _ in 0..2 {
        let renewed = api.put(HIS, &[], &device("token", "bob")).await;
        assert_eq!(renewed.status, 200, "{renewed:?}");
    }
    pending(&api, HERS, &device("token", "ada")).await;
    assert_eq!(reached(&api, &["hers", "his"]).await, ["his"]);
    let nobody = confirm(&api, "/v1/devices/nobody", &sent).await;
    nobody.check_problem(404, "no_such_device");
    api.stop().await;
}

#[tokio::test]
async fn the_same_user_and_the_same_device_are_not_challenged() {
    let api = loaded().await;
    let (one, two) = ("/v1/devices/one", "/v1/devices/two");
    for path in [one, two, one] {
        let taken = api.put(path, &[], &device("token", "ada")).await;
        assert!(
            taken.status.is_success() && taken.status != 202,
            "{taken:?}"
        );
        knows_all(&api).await;
    }
    // Its own device, whoever uses it then.
    api.delete(two, &[]).await;
    knows_all(&api).await;
    let handed_on = api.put(one, &[], &device("token", "bob")).await;
    assert_eq!(handed_on.status, 200, "{handed_on:?}");
    // What is nobody's is anybody's.
    let free = json!({"app": "ios", "token": "free", "topics": ["news"]});
    api.put("/v1/devices/three", &[], &free).await;
    knows_all(&api).await;
    let taken = api
        .put("/v1/devices/four", &[], &device("free", "ada"))
        .await;
    assert_eq!(taken.status, 201, "{taken:?}");
    assert_eq!(reached(&api, &["three", "four"]).await, ["four"]);
}

/// As when one logs out and another in.
#[tokio::test]
async fn a_token_that_was_given_up_this_moment_is_free() {
    let api = loaded().await;
    for n in 0..30 {
        let token = format!("token-{n}");
        let (hers, his) = (format!("{HERS}-{n}"), format!("{HIS}-{n}"));
        api.put(&hers, &[], &device(&token, "ada")).await;
        knows_all(&api).await;
        api.delete(&hers, &[]).await;
        let free = api.put(&his, &[], &device(&token, "bob")).await;
        assert_eq!(free.status, 201, "{n}: {free:?}");
    }
}

#[tokio::test]
async fn a_challenge_ends_by_wrong_answers_and_by_time_and_begins_anew_after_a_minute() {
    let api = loaded().await;
    let his = device("token", "bob");
    api.put(HERS, &[], &device("token", "ada")).await;
    pending(&api, HIS, &his).await;
    let first = nonce(&api, "his").await;
    for left in (0..MAX_CHALLENGE_ATTEMPTS).rev() {
        let wrong = confirm(&api, HIS, &"0".repeat(52)).await;
        assert_eq!(wrong.body["attempts_left"], left, "{wrong:?}");
    }
    let late = confirm(&api, HIS, &first).await;
    late.check_problem(409, "challenge_failed");
    assert!(api.get(HIS).await.body["pending_until"].is_string());

    // As if it had been made earlier: nobody waits for a minute here.
    let id = DeviceId::parse("his").unwrap();
    let made = async |nonce: &NewSecret, asked: i64, until: i64| {
        let (now, minutes) = (clock::now(), SignedDuration::from_mins);
        let device = stored(&api, "his").await.as_asked();
        let mut device = device.waiting(nonce.hash(), now, now + minutes(until));
        device.pending.as_mut().unwrap().asked_at = now - minutes(asked);
        api.broker
            .put_device(&id, &device, Expect::Any)
            .await
            .unwrap();
    };
    let nonce_of_old = NewSecret::nonce();
    made(&nonce_of_old, 11, -1).await;
    let late = confirm(&api, HIS, nonce_of_old.reveal()).await;
    late.check_problem(409, "challenge_failed");
    // The push was never sent, or a minute has passed: there is another nonce.
    for asked in [0, 2] {
        made(&nonce_of_old, asked, 5).await;
        pending(&api, HIS, &his).await;
        let now = stored(&api, "his").await.pending.unwrap();
        assert!(!now.nonce.is_same(&nonce_of_old.hash()));
        assert_eq!(now.n_wrong, 0);
    }
}

#[tokio::test]
async fn a_token_is_challenged_once_a_minute_whichever_device_asks() {
    let api = loaded().await;
    api.put(HERS, &[], &device("token", "ada")).await;
    // Until two of them fall into one minute.
    for n in 0.. {
        let (one, two) = (format!("one-{n}"), format!("two-{n}"));
        pending(&api, &format!("/v1/devices/{one}"), &device("token", "bob")).await;
        let path = format!("/v1/devices/{two}");
        let second = pending(&api, &path, &device("token", "eve")).await;
        let first = stored(&api, &one).await.pending.unwrap();
        let other = stored(&api, &two).await.pending.unwrap();
        if window(&first) != window(&other) {
            continue;
        }
        let wait: i64 = second.header("retry-after").parse().unwrap();
        let asked_at = other.asked_at.as_second();
        assert_eq!((asked_at + wait) % 60, 0, "{second:?}");
        assert!((1..=60).contains(&wait), "{second:?}");
        let told = told(&sent(&api, &other).await);
        let useless = confirm(&api, &path, &told).await;
        useless.check_problem(409, "challenge_failed");
        break;
    }
}

#[tokio::test]
async fn nothing_that_is_read_tells_a_nonce_or_that_there_is_one() {
    let api = loaded().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v1/stream", api.address());
    let mut stream = client.get(url).send().await.unwrap();
    let mut seen = String::new();
    let mut read_to = async |mark: &str| {
        while !seen.contains(mark) {
            let chunk = timeout(Duration::from_secs(20), stream.chunk()).await;
            let chunk = chunk.unwrap().unwrap().unwrap();
            seen.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        seen.clone()
    };
    read_to("retry: ").await;
    api.put(HERS, &[], &device("token", "ada")).await;
    pending(&api, HIS, &device("token", "bob")).await;
    let waiting = stored(&api, "his").await.pending.unwrap();
    let event = sent(&api, &waiting).await;
    let nonce = nonce(&api, "his").await;
    let told = json!({"id": "behind-it", "title": "x", "topics": ["news"]});
    api.post(&[], &told).await;
    let seen = read_to("behind-it").await;
    assert!(
        !seen.contains("hallenge") && !seen.contains(&nonce),
        "{seen}"
    );
    let missed = format!("{HIS}/missed?since=2026-01-01T00:00:00Z");
    for path in [HIS, "/v1/events", &missed, "/v1/users/bob", "/v1/topics"] {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.body.to_string();
        assert!(
            !body.contains("hallenge") && !body.contains(&nonce),
            "{body}"
        );
    }
    let path = format!("/v1/events/{}", event.id());
    api.get(&path).await.check_problem(404, "no_such_event");
    let path = format!("{path}/deliveries/his");
    api.get(&path).await.check_problem(404, "no_such_delivery");
    // Nor can it be followed, or posted.
    let topic = "fanfare.challenge.his";
    let follow = format!("{HIS}/topics/{topic}");
    let follow = api.send(Method::PUT, &follow, &[], None).await;
    follow.check_problem(400, "invalid_request");
    let post = json!({"id": "mine", "title": "x", "topics": [topic]});
    api.post(&[], &post)
        .await
        .check_problem(422, "invalid_fields");
}

#[tokio::test]
async fn who_is_removed_goes_with_what_he_asked_for() {
    let api = loaded().await;
    api.put(HERS, &[], &device("token", "ada")).await;
    pending(&api, HIS, &device("token", "bob")).await;
    let listed = api.get("/v1/users/bob").await;
    assert_eq!(listed.body["items"][0]["id"], "his", "{listed:?}");
    let gone = api.delete("/v1/users/bob", &[]).await;
    assert_eq!(gone.body, json!({"removed": 1, "is_complete": true}));
    assert_eq!(api.get(HIS).await.status, 404);
    assert_eq!(reached(&api, &["hers"]).await, ["hers"]);
}
