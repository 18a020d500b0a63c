//! A token that is another user's: the push that proves who holds it, and whose pushes come then.

use fanfare_sim::ledger::{Request, Verdict};
use fanfare_tests::eventually::at_least;
use fanfare_tests::{Pipeline, Setup, eventually};
use serde_json::{Value, json};

use crate::support::token;

fn device(app: &str, user: &str, token: &str) -> Value {
    json!({"app": app, "user": user, "token": token, "topics": ["all", format!("of.{user}")]})
}

/// Which of two events came to a token, the users' own ones.
fn came(pipeline: &Pipeline, [hers, his]: [&str; 2]) -> [usize; 2] {
    [hers, his].map(|event| {
        let requests = pipeline.requests_of(event);
        let accepted = |it: &&Request| it.verdict == Verdict::Accepted;
        requests.iter().filter(accepted).count()
    })
}

/// An app gets the challenge by push and answers it.
async fn a_token_moves_by_its_challenge(app: &str) {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let phone = token(7);
    api.put("hers", &device(app, "ada", &phone)).await;
    // What was acknowledged before a question is known to whoever answers it.
    eventually("the API knows whose the token is", async || {
        let asked = api.ask("/v1/users/ada").await;
        let n = asked["items"].as_array().map_or(0, Vec::len);
        at_least(n as u64, 1)
    })
    .await;
    api.ask_for("his", &device(app, "bob", &phone)).await;
    eventually("the challenge", async || {
        at_least(pipeline.counts().accepted, 1)
    })
    .await;
    let challenges = pipeline.requests();
    assert_eq!(challenges.len(), 1, "{challenges:#?}");
    assert_eq!(challenges[0].token, phone);
    let nonce = challenges[0].challenge.clone().unwrap();

    let before = [
        api.post("hers-1", &["of.ada"]).await,
        api.post("his-1", &["of.bob"]).await,
    ];
    let both = api.post("both-1", &["all"]).await;
    eventually("what is hers", async || {
        at_least(pipeline.counts().accepted, 3)
    })
    .await;
    pipeline.settled().await;
    let [hers, his] = before.each_ref().map(String::as_str);
    assert_eq!(came(&pipeline, [hers, his]), [1, 0], "it is hers still");
    assert_eq!(came(&pipeline, [&both, &both]), [1, 1], "one owner");

    api.confirm("his", &nonce).await;
    let after = [
        api.post("hers-2", &["of.ada"]).await,
        api.post("his-2", &["of.bob"]).await,
    ];
    let both = api.post("both-2", &["all"]).await;
    eventually("what is his", async || {
        at_least(pipeline.counts().accepted, 5)
    })
    .await;
    pipeline.settled().await;
    let [hers, his] = after.each_ref().map(String::as_str);
    assert_eq!(came(&pipeline, [hers, his]), [0, 1], "it is his now");
    assert_eq!(came(&pipeline, [&both, &both]), [1, 1], "one owner");
    assert!(pipeline.dead_letters().await.is_empty());
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_moves_when_an_app_answers_the_challenge_that_apns_brought() {
    a_token_moves_by_its_challenge("ios").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_moves_when_an_app_answers_the_challenge_that_fcm_brought() {
    a_token_moves_by_its_challenge("android").await;
}
