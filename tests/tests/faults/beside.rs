//! Processes that are killed in the middle of work beside the path: whoever repeats it ends it.

mod ahead;
mod challenged;
mod imported;
mod recorded;
mod swept;

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_sim::script::{Answer, Rule};
use fanfare_tests::api::client;
use fanfare_tests::crowd::token;
use fanfare_tests::fault::CrashAt;
use fanfare_tests::{Pipeline, Process, Setup, eventually};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{Stage, died, setup};

/// An API that dies at a place, and where it listens.
async fn armed(pipeline: &Pipeline, node: &str, crash: &CrashAt) -> (Process, SocketAddr) {
    let killed = pipeline.begin("api", node, &[crash.variable()]);
    killed.ready().await;
    let at = killed.address("the API listens", "address").await;
    (killed, at)
}

async fn ask(
    at: SocketAddr,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> reqwest::Result<Response> {
    let request = client().request(method, format!("http://{at}{path}"));
    match body {
        Some(body) => request.json(body).send().await,
        None => request.send().await,
    }
}

/// Asks until the API has what it needs for an answer: its index, its second connection.
async fn answered(at: SocketAddr, method: Method, path: &str, body: Option<&Value>) -> Value {
    let answer = eventually("an answer", async || {
        let answer = ask(at, method.clone(), path, body).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(|error| error.to_string())?;
        if status == 503 {
            return Err(body.to_string());
        }
        Ok((status, body))
    });
    let (status, body) = answer.await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_while_it_removes_a_user_is_followed_by_one_that_removes_the_rest() {
    const DEVICES: usize = 60;
    let pipeline = Pipeline::start(setup()).await;
    let (_other, api) = pipeline.api().await;
    for n in 0..DEVICES {
        let device = json!({"app": "ios", "token": token(n), "user": "ada", "topics": ["all"]});
        api.put(&format!("ada-{n}"), &device).await;
    }
    let bobs = json!({"app": "ios", "token": token(DEVICES), "user": "bob", "topics": ["all"]});
    api.put("bobs", &bobs).await;
    let crash = CrashAt::new("user.removed", 5);
    let (killed, at) = armed(&pipeline, "killed", &crash).await;
    answered(at, Method::GET, "/v1/users/ada", None).await;
    let cut = ask(at, Method::DELETE, "/v1/users/ada", None).await;
    assert!(cut.is_err(), "it answered");
    died(killed, &crash).await;
    let (successor, at) = {
        let process = pipeline.role("api", "successor").await;
        let at = process.address("the API listens", "address").await;
        (process, at)
    };
    let left = answered(at, Method::GET, "/v1/users/ada?limit=200", None).await;
    let n_left = left["items"].as_array().unwrap().len();
    assert!((1..=DEVICES - 5).contains(&n_left), "void: {n_left} left");
    let gone = answered(at, Method::DELETE, "/v1/users/ada", None).await;
    assert_eq!(gone, json!({"removed": n_left, "is_complete": true}));
    for n in 0..DEVICES {
        assert!(!api.has(&format!("ada-{n}")).await, "{n}");
    }
    assert!(api.has("bobs").await);
    successor.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_in_a_replay_sends_nothing_twice_and_the_next_replay_ends_it() {
    let operate = Setup {
        extra: "[api.operate]\n".to_owned(),
        latency: Duration::ZERO,
        ..setup()
    };
    let stage = Stage::set(operate, 2).await;
    for (n, point) in ["replay.begun", "replay.stored"].into_iter().enumerate() {
        let id = stage.pipeline.sim.add_rule(Rule {
            token: Some(token(0)),
            ..Rule::new(Answer::Reason {
                status: 400,
                reason: "BadExpirationDate".to_owned(),
                retry_after: None,
            })
        });
        let notifier = stage.pipeline.role("notifier", &format!("n{n}")).await;
        stage.api.post(&format!("e-{n}"), &["all"]).await;
        eventually("a dead letter", async || {
            let letters = stage.pipeline.dead_letters().await.len();
            if letters == n + 1 {
                Ok(())
            } else {
                Err(letters)
            }
        })
        .await;
        stage.pipeline.settled().await;
        notifier.drain(&["WARN", "ERROR"]).await;
        assert!(stage.pipeline.sim.script().remove(id));

        let crash = CrashAt::new(point, 1);
        let (killed, at) = armed(&stage.pipeline, &format!("k{n}"), &crash).await;
        let letter = json!({"letters": [n + 1]});
        let path = "/v1/dead-letters/replay";
        let dry = json!({"letters": [n + 1], "dry_run": true});
        answered(at, Method::POST, path, Some(&dry)).await;
        let cut = ask(at, Method::POST, path, Some(&letter)).await;
        assert!(cut.is_err(), "{point}: it answered");
        died(killed, &crash).await;
        // What was begun and has no message is open to the next; what has its message waits for it.
        let successor = stage.pipeline.role("api", &format!("s{n}")).await;
        let at = successor.address("the API listens", "address").await;
        let expected = u64::from(point == "replay.begun");
        for answer in [
            answered(at, Method::POST, path, Some(&dry)).await,
            answered(at, Method::POST, path, Some(&letter)).await,
        ] {
            assert_eq!(answer["open"], expected, "{point}: {answer}");
        }
        for _ in 0..2 {
            let again = answered(at, Method::POST, path, Some(&letter)).await;
            assert_eq!((&again["open"], &again["devices"]), (&json!(0), &json!(0)));
        }
        successor.drain(&["WARN", "ERROR"]).await;
        let notifier = stage.pipeline.role("notifier", &format!("s{n}")).await;
        stage.rest(2 * (n + 1)).await;
        notifier.drain(&["WARN", "ERROR"]).await;
    }
    stage.judge(0, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_killed_before_it_answers_is_posted_to_again_and_stores_each_item_once() {
    const SECRET: &str = "0123456789abcdef";
    let pipeline = Pipeline::start(Setup {
        extra: format!(
            r#"
[[source]]
name = "shop"
id = "{{{{ item.id }}}}"
title = "Order {{{{ item.id }}}}"
topics = ["orders.new"]

[[source.input]]
webhook = "127.0.0.1:0"
items = "$.orders[*]"
secret = "{SECRET}"
secret_header = "x-secret"
"#
        ),
        ..setup()
    })
    .await;
    // The baseline of the other source is agreed before.
    let first = pipeline.role("fetcher", "first").await;
    eventually("it has polled", async || {
        let n = first.metric("fanfare_source_polls_total").await;
        if n > 0.0 { Ok(()) } else { Err(n) }
    })
    .await;
    first.drain(&[]).await;
    let listens = async |fetcher: &Process| {
        let message = "listening for what is posted";
        fetcher.address(message, "address").await
    };
    let post = async |at: SocketAddr, ids: [String; 2]| {
        let orders = ids.map(|it| json!({"id": it}));
        let request = client().post(format!("http://{at}/v1/sources/shop/items"));
        let request = request.header("x-secret", SECRET);
        let sent = request.json(&json!({ "orders": orders })).send().await;
        sent.map(|it| it.status().as_u16())
    };
    let places = ["fetch.before-publish", "fetch.published", "posted.stored"];
    for (n, point) in places.into_iter().enumerate() {
        let ids = || ["a", "b"].map(|it| format!("{it}{n}"));
        let crash = CrashAt::new(point, 1);
        let killed = pipeline.begin("fetcher", &format!("k{n}"), &[crash.variable()]);
        killed.ready().await;
        let at = listens(&killed).await;
        assert!(post(at, ids()).await.is_err(), "{point}: it answered");
        died(killed, &crash).await;
        let successor = pipeline.role("fetcher", &format!("s{n}")).await;
        let at = listens(&successor).await;
        // The sender tries again, and once more because its network lost the answer.
        for _ in 0..2 {
            assert_eq!(post(at, ids()).await.unwrap(), 202, "{point}");
        }
        assert_eq!(pipeline.stored_events().await.len(), 2 * (n + 1), "{point}");
        successor.drain(&["WARN"]).await;
    }
}
