//! Processes that are killed at every named place.

use std::time::Duration;

use fanfare_nats::fail::POINTS;
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use fanfare_tests::crowd::{many, token};
use fanfare_tests::eventually::{at_least, eventually_within};
use fanfare_tests::fault::CrashAt;
use fanfare_tests::{Pipeline, Process, Registrations, Setup, eventually};
use serde_json::json;

use crate::support::{Stage, died, setup};

/// Devices of an event; two tasks for each app.
const N: usize = 1200;
const QUAKES: &str = "/quakes/all_day.geojson";

fn places(role: &str) -> Vec<&'static str> {
    let is_its = |it: &&&str| it.starts_with(role);
    POINTS.iter().filter(is_its).copied().collect()
}

/// Which passage finds it in the middle of its work.
fn passage(point: &str) -> u64 {
    match point {
        "task.sending" | "task.answered" => 300,
        "task.before-receipt" | "task.receipt-stored" => 12,
        "task.taken" | "task.claimed" => 2,
        _ => 1,
    }
}

/// The tokens of the device that is gone at this place, and of the one that is always refused.
fn gone(n: usize) -> usize {
    2 * N + n
}
const REFUSED: usize = 4 * N;

/// Neither of them is owed anything, because the provider never takes a push to them.
async fn strangers(stage: &Stage, n: usize) {
    for stranger in [gone(n), REFUSED] {
        let document = json!({"app": "ios", "token": token(stranger), "topics": ["all"]});
        stage
            .api
            .put(&format!("stranger-{stranger}"), &document)
            .await;
    }
    let rule = |n: usize, count, answer| Rule {
        token: Some(token(n)),
        count,
        ..Rule::new(answer)
    };
    let sim = &stage.pipeline.sim;
    let wait = Answer::TooMany {
        scope: Scope::Device,
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    sim.add_rule(rule(0, Some(1), wait));
    let unregistered = Answer::Unregistered {
        ago_ms: 0,
        no_timestamp: false,
    };
    sim.add_rule(rule(gone(n), None, unregistered));
    let refused = Answer::Reason {
        status: 400,
        reason: "BadExpirationDate".to_owned(),
        retry_after: None,
    };
    sim.add_rule(rule(REFUSED, None, refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_killed_at_each_named_place_loses_nothing_and_repeats_at_most_its_window() {
    let stage = Stage::set(setup(), N).await;
    let places = [
        places("plan."),
        places("task."),
        places("token."),
        places("dead."),
    ]
    .concat();
    let mut n_bitten = 0;
    for (n, point) in places.iter().enumerate() {
        strangers(&stage, n).await;
        let crash = CrashAt::new(point, passage(point));
        let killed = stage
            .pipeline
            .begin("notifier", &format!("n{n}"), &[crash.variable()]);
        killed.ready().await;
        let before = stage.pipeline.counts().repeated;
        stage.api.post(&format!("e-{n}"), &["all"]).await;
        died(killed, &crash).await;
        let successor = stage.pipeline.role("notifier", &format!("s{n}")).await;
        stage.rest((n + 1) * N).await;
        let repeated = stage.pipeline.counts().repeated - before;
        println!("{point}: {repeated} repeated");
        assert!(repeated <= stage.pipeline.window(), "{point}: {repeated}");
        n_bitten += u64::from(repeated > 0);
        successor.drain(&["WARN", "ERROR"]).await;
    }
    assert!(n_bitten > 3, "void: hardly a place had a send in flight");
    let most = stage.pipeline.window() * places.len() as u64;
    stage.judge(most, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_at_each_named_place_keeps_what_it_answered_and_takes_it_again() {
    let stage = Stage::set(setup(), 10).await;
    let notifier = stage.pipeline.role("notifier", "n1").await;
    for (n, point) in places("api.").into_iter().enumerate() {
        for what in ["event", "device"] {
            let crash = CrashAt::new(point, 1);
            let killed = stage
                .pipeline
                .begin("api", &format!("{what}-{n}"), &[crash.variable()]);
            killed.ready().await;
            let at = killed.address("the API listens", "address").await;
            let client = fanfare_tests::api::client();
            let title = format!("{what}-{n}");
            let request = if what == "event" {
                let event =
                    json!({"id": title, "topics": ["all"], "title": title, "body": "a test"});
                client.post(format!("http://{at}/v1/events")).json(&event)
            } else {
                let device = json!({"app": "ios", "token": token(900 + n), "topics": ["none"]});
                client
                    .put(format!("http://{at}/v1/devices/late-{n}"))
                    .json(&device)
            };
            assert!(request.send().await.is_err(), "{point}: it answered");
            died(killed, &crash).await;
            // The client does what the API asks for: the same again, wherever.
            if what == "event" {
                stage.api.post_again(&title, &["all"]).await;
            } else {
                let device = json!({"app": "ios", "token": token(900 + n), "topics": ["none"]});
                stage.api.put(&format!("late-{n}"), &device).await;
                assert!(stage.api.has(&format!("late-{n}")).await);
            }
        }
    }
    stage.rest(2 * 10).await;
    assert_eq!(stage.pipeline.stored_events().await.len(), 2, "each once");
    stage.judge(0, vec![notifier]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_killed_at_each_named_place_brings_each_item_once() {
    let pipeline = Pipeline::start(Setup {
        latency: Duration::ZERO,
        ..setup()
    })
    .await;
    let (_api_process, api) = pipeline.api().await;
    let mut registrations = Registrations::default();
    api.put_all(&many(20, &["quakes.>"], &mut registrations))
        .await;
    let _notifier = pipeline.role("notifier", "n1").await;
    // The baseline is agreed before anything is news.
    let first = pipeline.role("fetcher", "f0").await;
    polled(&first).await;
    first.drain(&[]).await;
    for (n, point) in places("fetch.").into_iter().enumerate() {
        let crash = CrashAt::new(point, 1);
        let killed = pipeline.begin("fetcher", &format!("f{n}"), &[crash.variable()]);
        killed.ready().await;
        assert!(pipeline.sim.advance_feed(QUAKES, 3));
        died(killed, &crash).await;
        let successor = pipeline.role("fetcher", &format!("s{n}")).await;
        let shown = pipeline.sim.emissions();
        let mut new: Vec<_> = shown.iter().map(|it| it.id.as_str()).collect();
        new.sort_unstable();
        new.dedup();
        eventually_within(Duration::from_secs(40), "each item", async || {
            at_least(
                pipeline.stored_events().await.len() as u64,
                new.len() as u64,
            )
        })
        .await;
        assert_eq!(pipeline.stored_events().await.len(), new.len(), "{point}");
        successor.drain(&["WARN"]).await;
    }
    pipeline.settled().await;
    pipeline.audit(&registrations).await.check(0);
}

async fn polled(fetcher: &Process) {
    eventually("it has polled", async || {
        let n = fetcher.metric("fanfare_source_polls_total").await;
        if n > 0.0 { Ok(()) } else { Err(n) }
    })
    .await;
}
