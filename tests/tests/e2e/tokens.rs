//! Tokens that move, are renewed, or are dead.

use std::time::Duration;

use fanfare_sim::ledger::{Request, Verdict};
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use fanfare_tests::eventually::at_least;
use fanfare_tests::{Pipeline, Registrations, Setup, eventually};
use serde_json::{Value, json};

use crate::support::{many, token};

fn device(app: &str, user: &str, token: &str) -> Value {
    json!({"app": app, "user": user, "token": token, "topics": ["all"]})
}

fn accepted<'a>(requests: &'a [Request], token: &str) -> Vec<&'a Request> {
    requests
        .iter()
        .filter(|it| it.token == token && it.verdict == Verdict::Accepted)
        .collect()
}

/// The next push to this token is to come again after so many seconds.
fn asks_to_wait(pipeline: &Pipeline, token: &str, seconds: u32) {
    let retry_after = Some(RetryAfter::Seconds(seconds));
    let wait = Answer::TooMany {
        scope: Scope::Device,
        retry_after,
    };
    let rule = Rule {
        token: Some(token.to_owned()),
        count: Some(1),
        ..Rule::new(wait)
    };
    pipeline.sim.add_rule(rule);
}

/// Checks how often each token was accepted for an event.
#[track_caller]
fn check(pipeline: &Pipeline, event: &str, expected: &[(&String, usize)]) {
    let requests = pipeline.requests_of(event);
    for (token, n) in expected {
        assert_eq!(
            accepted(&requests, token).len(),
            *n,
            "{token}: {requests:#?}"
        );
    }
}

/// What is done while the first device's push waits for its second attempt.
#[derive(Clone, Copy, Debug)]
enum Order {
    RenewedThenTaken,
    TakenThenRenewed,
}

async fn a_token_moves_during_a_wait(app: &str, order: Order) {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let (old, renewed, other) = (token(1), token(2), token(3));
    api.put("first", &device(app, "ada", &old)).await;
    asks_to_wait(&pipeline, &old, 3);
    let event = api.post("e-1", &["all"]).await;
    eventually("the push has to wait", async || {
        at_least(pipeline.counts().unavailable, 1)
    })
    .await;

    let renewal = device(app, "ada", &renewed);
    // Who is another user gets a token that is free, and has to ask for one that is not (`challenge`).
    let taker = match order {
        Order::RenewedThenTaken => "bob",
        Order::TakenThenRenewed => "ada",
    };
    let taking = device(app, taker, &old);
    match order {
        Order::RenewedThenTaken => {
            api.put("first", &renewal).await;
            api.put("second", &taking).await;
        }
        Order::TakenThenRenewed => {
            api.put("second", &taking).await;
            api.put("first", &renewal).await;
        }
    }
    // Somebody who joins late gets what comes later, as does who took the token.
    api.put("third", &device(app, "eve", &other)).await;
    eventually("the second attempt", async || {
        at_least(pipeline.counts().accepted, 1)
    })
    .await;
    pipeline.settled().await;
    let requests = pipeline.requests_of(&event);
    assert_eq!(
        accepted(&requests, &renewed).len(),
        1,
        "{order:?}: {requests:#?}"
    );
    assert_eq!(
        accepted(&requests, &old).len(),
        0,
        "{order:?}: {requests:#?}"
    );
    assert_eq!(pipeline.counts().accepted, 1, "{order:?}: {requests:#?}");

    let marker = api.post("e-2", &["all"]).await;
    eventually("three pushes of the next event", async || {
        at_least(pipeline.requests_of(&marker).len() as u64, 3)
    })
    .await;
    pipeline.settled().await;
    check(&pipeline, &marker, &[(&renewed, 1), (&old, 1), (&other, 1)]);
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_renewed_and_then_taken_by_another_user_during_a_wait_is_not_sent_to() {
    a_token_moves_during_a_wait("ios", Order::RenewedThenTaken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_another_device_took_before_its_renewal_during_a_wait_is_not_sent_to() {
    a_token_moves_during_a_wait("android", Order::TakenThenRenewed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_is_removed_unless_it_was_registered_after_the_verdict() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let mut registrations = Registrations::default();
    api.put_all(&many(8, &["all"], &mut registrations)).await;
    let hour_ms = 3_600_000;
    // 0 and 2 are of APNs, 1 of FCM, which names no time.
    for (n, ago_ms) in [(0, 0), (1, 0), (2, hour_ms)] {
        let dead = Answer::Unregistered {
            ago_ms,
            no_timestamp: false,
        };
        let rule = Rule {
            token: Some(token(n)),
            count: Some(1),
            ..Rule::new(dead)
        };
        pipeline.sim.add_rule(rule);
    }
    api.post("e-1", &["all"]).await;
    eventually("two devices are gone", async || {
        let are_there = (api.has("device-0").await, api.has("device-1").await);
        if are_there == (false, false) {
            Ok(())
        } else {
            Err(format!("{are_there:?}"))
        }
    })
    .await;
    pipeline.settled().await;
    assert_eq!(pipeline.counts().refused, 3);
    assert!(
        api.has("device-2").await,
        "it registered after the provider's verdict"
    );

    let next = api.post("e-2", &["all"]).await;
    eventually("the next event", async || {
        at_least(pipeline.requests_of(&next).len() as u64, 6)
    })
    .await;
    pipeline.settled().await;
    let requests = pipeline.requests_of(&next);
    assert_eq!(requests.len(), 6, "{requests:#?}");
    assert_eq!(accepted(&requests, &token(2)).len(), 1, "{requests:#?}");
    assert!(pipeline.dead_letters().await.is_empty());
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_the_provider_asks_for_is_kept_and_then_the_push_is_made_once() {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let mut registrations = Registrations::default();
    api.put_all(&many(6, &["all"], &mut registrations)).await;
    asks_to_wait(&pipeline, &token(4), 2);
    let event = api.post("e-1", &["all"]).await;
    eventually("all pushes", async || {
        at_least(pipeline.counts().accepted, 6)
    })
    .await;
    pipeline.settled().await;
    pipeline.audit(&registrations).await.check(0);
    let to_it: Vec<_> = pipeline
        .requests_of(&event)
        .into_iter()
        .filter(|it| it.token == token(4))
        .collect();
    assert_eq!(to_it.len(), 2, "{to_it:#?}");
    let waited = Duration::from_micros((to_it[1].at_us - to_it[0].at_us).unsigned_abs());
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}
