//! `fanfare verify` and `fanfare why`: what they say of a real system, and of planted faults.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "support functions of tests"
)]

mod asked;
mod planted;

use std::time::Duration;

use fanfare_nats::event::{Content, Guarantee, SourceName};
use fanfare_nats::policy::Retry;
use fanfare_nats::{Broker, Event, Level, Metrics, Readiness, Topic, Urgency};
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use fanfare_tests::process::{Ended, run};
use fanfare_tests::{Api, Pipeline, Setup, eventually};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::token;

#[expect(clippy::disallowed_methods, reason = "the test's one clock")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Runs a command against the pipeline's broker, as an operator does.
async fn fanfare(pipeline: &Pipeline, arguments: &[&str]) -> Ended {
    let mut all = arguments.to_vec();
    all.extend(["--server", pipeline.broker()]);
    run(pipeline.folder(), &all).await
}

/// The JSON that a command printed.
#[track_caller]
fn object(ended: &Ended) -> Value {
    let line = ended.printed.lines().find(|it| it.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no JSON: {}", ended.printed));
    serde_json::from_str(line).unwrap()
}

fn follows(n: usize, topics: &Value) -> Value {
    json!({"app": "ios", "token": token(n), "topics": topics})
}

/// The next request to this token gets this answer.
fn answers(pipeline: &Pipeline, n: usize, answer: Answer) {
    pipeline.sim.add_rule(Rule {
        token: Some(token(n)),
        count: Some(1),
        ..Rule::new(answer)
    });
}

fn wait(seconds: u32) -> Answer {
    Answer::TooMany {
        scope: Scope::Device,
        retry_after: Some(RetryAfter::Seconds(seconds)),
    }
}

#[track_caller]
fn check_why(ended: &Ended, ending: &str, words: &[&str]) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    let answer = object(ended);
    assert_eq!(answer["ending"], ending, "{answer:#}");
    let text = answer.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}`: {answer:#}");
    }
    answer
}

async fn why(pipeline: &Pipeline, event: &str, device: &str) -> Ended {
    fanfare(pipeline, &["why", event, device, "--json"]).await
}

/// Everybody who is needed for every ending: device, number of the token, what it follows.
async fn register_the_cast(api: &Api) {
    let strong = json!([{"pattern": "all", "filters": [{"field": "mag", "min": 5}]}]);
    let cast = [
        ("delivered", 1, json!(["all"])),
        ("filtered", 2, strong),
        ("retried", 3, json!(["all"])),
        ("leaves", 4, json!(["all"])),
        ("dead", 5, json!(["all"])),
        ("elsewhere", 6, json!(["other"])),
        ("expires", 7, json!(["short"])),
        ("riser", 8, json!(["steps"])),
    ];
    for (device, n, topics) in cast {
        api.put(device, &follows(n, &topics)).await;
    }
}

/// Posts what leads to every ending, and waits until all is settled.
async fn play(pipeline: &Pipeline, api: &Api) -> (String, String) {
    answers(pipeline, 3, wait(1));
    answers(pipeline, 4, wait(2));
    answers(pipeline, 7, wait(60));
    let dead = Answer::Unregistered {
        ago_ms: 0,
        no_timestamp: false,
    };
    answers(pipeline, 5, dead);
    let all = json!({"id": "e-1", "topics": ["all"], "title": "t", "data": {"mag": 4.6}});
    let all = api.post_document(&all).await;
    let short = json!({"id": "e-2", "topics": ["short"], "title": "t", "expires_in": "30s"});
    let short = api.post_document(&short).await;
    eventually("two devices wait", async || {
        let unavailable = pipeline.counts().unavailable;
        if unavailable < 3 {
            return Err(format!("{unavailable} of 3"));
        }
        Ok(())
    })
    .await;
    api.put("leaves", &follows(4, &json!(["other"]))).await;
    // The last of all: its second attempt is due after everybody else's.
    eventually("the turn of the one who left", async || {
        let told = object(&why(pipeline, &all, "leaves").await);
        match told["ending"].as_str() {
            Some("dropped") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    pipeline.settled().await;
    (all, short)
}

/// What `why` says to everybody of the cast.
async fn check_endings(pipeline: &Pipeline, all: &str, short: &str, low: &str) {
    let told = why(pipeline, all, "delivered").await;
    let told = check_why(
        &told,
        "delivered",
        &["attempt 1", "as_it_was", "ios-urgent"],
    );
    assert_eq!(told["attempts"][0]["node"], "n1", "{told:#}");
    let told = why(pipeline, "e-1", "filtered").await;
    check_why(
        &told,
        "filtered_out",
        &["mag at least 5", "the event's mag is 4.6"],
    );
    let told = why(pipeline, "api/e-1", "retried").await;
    let told = check_why(&told, "delivered", &["attempt 2", "unavailable"]);
    assert_eq!(told["attempts"][0]["mark"], "later", "{told:#}");
    assert_eq!(told["attempts"][1]["pass"], 2, "{told:#}");
    let told = why(pipeline, all, "leaves").await;
    check_why(
        &told,
        "dropped",
        &["followed the event no longer", "changed_since"],
    );
    let told = why(pipeline, all, "dead").await;
    check_why(
        &told,
        "unregistered",
        &["knows the token no more", "retired"],
    );
    let told = why(pipeline, all, "elsewhere").await;
    check_why(&told, "not_subscribed", &["no pattern"]);
    let told = why(pipeline, short, "expires").await;
    check_why(&told, "expired", &["retry would come too late"]);
    let told = why(pipeline, low, "riser").await;
    check_why(&told, "superseded", &["higher level s6"]);
    let told = why(pipeline, "usgs/us1", "riser").await;
    check_why(&told, "delivered", &["\"level\":\"s6\""]);
    check_why(
        &why(pipeline, "last", "delivered").await,
        "not_subscribed",
        &[],
    );
    for arguments in [["why", all, "nobody"], ["why", "nothing", "delivered"]] {
        let ended = fanfare(pipeline, &arguments).await;
        assert_eq!(ended.code, Some(1), "{}", ended.printed);
        assert!(ended.printed.contains("there is no"), "{}", ended.printed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tells_every_ending_and_verify_adds_up() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    register_the_cast(&api).await;
    let broker = broker(&pipeline).await;
    // Both levels stand before anybody plans.
    let (low, high) = (step(4.5), step(6.0));
    for event in [&low, &high] {
        broker.publish(event, false).await.unwrap();
    }
    let notifier = pipeline.role("notifier", "n1").await;
    let (all, short) = play(&pipeline, &api).await;

    check_endings(&pipeline, &all, &short, low.id().as_str()).await;
    asked::check_deliveries(&pipeline, &api, &all, &short).await;
    asked::check_event(&api, &all).await;

    let ledger = ledger(&pipeline);
    let verified = fanfare(&pipeline, &["verify", "--ledger", &ledger, "--json"]).await;
    assert_eq!(verified.code, Some(0), "{}", verified.printed);
    let report = object(&verified);
    let totals = &report["totals"];
    // `delivered`, `retried`, `expires`, and `riser` for the high level; `leaves` and `dead` have
    // changed since.
    for (part, n) in [("owed", 4), ("accepted", 3), ("expired", 1), ("lost", 0)] {
        assert_eq!(totals[part], n, "{part}: {report:#}");
    }
    assert_eq!(report["events"].as_array().unwrap().len(), 4, "{report:#}");
    assert_eq!(report["ledger"]["repeated"], 0, "{report:#}");
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}

/// Where the doubles wrote down what they took.
fn ledger(pipeline: &Pipeline) -> String {
    pipeline.sim.ledger().flush().unwrap();
    let path = pipeline.sim.whereabouts().ledger.clone().unwrap();
    path.to_str().unwrap().to_owned()
}

async fn broker(pipeline: &Pipeline) -> Broker {
    let options = pipeline.server.lock().await.options("planter");
    let (metrics, readiness) = (Metrics::default(), Readiness::new());
    Broker::connect(options, metrics, readiness).await.unwrap()
}

fn step(step: f64) -> Event {
    event("us1", Level::Step(step), "steps")
}

fn event(item: &str, level: Level, topic: &str) -> Event {
    Event {
        source: SourceName::parse("usgs").unwrap(),
        item: item.to_owned(),
        level,
        topics: vec![Topic::parse(topic).unwrap()],
        kind: "test".to_owned(),
        occurred_at: None,
        expires_at: now() + Duration::from_hours(1),
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: item.to_owned(),
            ..Content::default()
        },
    }
}

#[tokio::test]
async fn without_a_broker_verify_says_neither_yes_nor_no() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["verify", "--server", "nats://127.0.0.1:1"];
    let ended = run(folder.path(), &arguments).await;
    assert_eq!(ended.code, Some(69), "{}", ended.printed);
    let wrong = run(folder.path(), &["verify", "--since", "yesterday"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.printed);
}
