//! An API that is killed between a registration that waits and the push by which it is confirmed.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_sim::ledger::{Request, Verdict};
use fanfare_tests::crowd::token;
use fanfare_tests::eventually::at_least;
use fanfare_tests::fault::CrashAt;
use fanfare_tests::{Api, Pipeline, Setup, eventually, now_us};
use reqwest::Method;
use serde_json::{Value, json};

use super::{answered, armed, ask};
use crate::support::{died, setup};

fn device(user: &str, token: &str) -> Value {
    json!({"app": "ios", "user": user, "token": token, "topics": [format!("of.{user}")]})
}

/// The challenges that came to a token, in order.
fn challenges(pipeline: &Pipeline, token: &str) -> Vec<String> {
    let is_its = |it: &Request| it.token == token && it.verdict == Verdict::Accepted;
    let mut requests = pipeline.requests();
    requests.retain(is_its);
    requests.into_iter().filter_map(|it| it.challenge).collect()
}

/// Whether an event of hers and one of his came to the token.
async fn comes(pipeline: &Pipeline, api: &Api, [hers, his]: [&str; 2], name: &str) -> [bool; 2] {
    let mut came = [false; 2];
    for (came, user) in came.iter_mut().zip([hers, his]) {
        let (id, topic) = (format!("{name}-{user}"), format!("of.{user}"));
        let event = api.post(&id, &[&topic]).await;
        pipeline.settled().await;
        *came = !pipeline.requests_of(&event).is_empty();
    }
    came
}

/// Registers with a token that is somebody else's, and is let wait.
async fn waits(at: SocketAddr, id: &str, token: &str) {
    let path = format!("/v1/devices/{id}");
    let answer = ask(at, Method::PUT, &path, Some(&device(id, token))).await;
    assert_eq!(answer.unwrap().status(), 202, "{id}");
}

fn minute() -> i64 {
    now_us() / 60_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_challenge_died_with_its_api_is_challenged_by_the_same_again_and_once_a_minute()
 {
    let pipeline = Pipeline::start(Setup {
        latency: Duration::ZERO,
        ..setup()
    })
    .await;
    let (survivor, api) = pipeline.api().await;
    let other = survivor.address("the API listens", "address").await;
    let notifier = pipeline.role("notifier", "n1").await;
    // Behind the document, and behind the push.
    for (n, point) in ["challenge.due", "challenge.sent"].into_iter().enumerate() {
        let phone = token(n);
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|it| format!("{it}-{n}"));
        let both = [ada.as_str(), bob.as_str()];
        api.put(&ada, &device(&ada, &phone)).await;
        let begun = minute();
        let crash = CrashAt::new(point, 1).held();
        let (killed, at) = armed(&pipeline, &format!("k{n}"), &crash).await;
        // Then it knows whose the token is, and so does the other.
        for at in [at, other] {
            let hers = answered(at, Method::GET, &format!("/v1/users/{ada}"), None).await;
            assert_eq!(hers["items"][0]["id"], ada, "{hers}");
        }
        let path = format!("/v1/devices/{bob}");
        let cut = ask(at, Method::PUT, &path, Some(&device(&bob, &phone))).await;
        assert!(cut.is_err(), "{point}: it answered: {cut:?}");
        died(killed, &crash).await;
        let his = api.ask(&path).await;
        assert!(his["pending_until"].is_string(), "void: {his}");
        assert_eq!(comes(&pipeline, &api, both, "cut").await, [true, false]);
        let is_sent = point == "challenge.sent";
        assert_eq!(challenges(&pipeline, &phone).len(), usize::from(is_sent));

        // He asks again, and again; and so does somebody else.
        for _ in 0..2 {
            waits(other, &bob, &phone).await;
        }
        eventually("a challenge", async || {
            at_least(challenges(&pipeline, &phone).len() as u64, 1)
        })
        .await;
        let nonce = challenges(&pipeline, &phone)[0].clone();
        for id in [&eve, &bob, &eve] {
            waits(other, id, &phone).await;
        }
        assert_eq!(comes(&pipeline, &api, both, "asked").await, [true, false]);
        let n_challenges = challenges(&pipeline, &phone).len();
        let n_minutes = usize::try_from(minute() - begun + 1).unwrap();
        assert!(
            n_challenges <= n_minutes,
            "{n_challenges} in {n_minutes} min"
        );
        api.confirm(&bob, &nonce).await;
        assert_eq!(
            comes(&pipeline, &api, both, "confirmed").await,
            [false, true]
        );
    }
    assert!(pipeline.dead_letters().await.is_empty());
    notifier.drain(&[]).await;
    survivor.drain(&[]).await;
}
