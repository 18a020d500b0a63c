//! One app's provider in trouble while another app sends.

use fanfare_nats::Urgency;
use fanfare_nats::testing::eventually;
use fanfare_sim::script::{Answer, RetryAfter};

use crate::stage::{BAD, GOOD, Stage, repeated};

const N: usize = 2000;

/// Without a division of places the good app took 5.9 times as long beside a provider that never
/// answers (one run). With it, on two cores shared with other work: 1.06 to 1.63 there, 1.01 to 1.13
/// beside the other troubles.
const NOT_FELT: f64 = 2.0;

/// The good app's fan-out, alone and while the bad app's provider is in trouble; then the bad one
/// heals, and its work is there. Returns how much longer the good one took.
async fn trouble(name: &str, answer: Answer, may_repeat: bool) -> f64 {
    let stage = Stage::with_devices(N).await;
    let running = stage.start().await;
    stage.time(GOOD, "warm-up", N).await;
    let alone = stage.time(GOOD, "alone", N).await;
    stage.spoil(answer);
    let kept = stage.publish(BAD, "kept", Urgency::Urgent).await;
    // The trouble is felt: everything that the bad app may have is under way.
    eventually(async || !stage.requests(BAD).is_empty()).await;
    // The shortest of three at most: what else the machine does makes one longer, but not all.
    let mut ratio = f64::MAX;
    for n in 0..3 {
        let beside = stage.time(GOOD, &format!("beside-{n}"), N).await;
        ratio = ratio.min(beside.as_secs_f64() / alone.as_secs_f64());
        println!("{name}: alone {alone:?}, beside {beside:?}, at best {ratio:.2}");
        if ratio < NOT_FELT {
            break;
        }
    }
    assert!(
        stage.accepted(&kept).len() < N,
        "void: there was no trouble"
    );
    stage.heal();
    eventually(async || stage.accepted(&kept).len() == N).await;
    if !may_repeat {
        assert!(repeated(&stage.accepted(&kept)).is_empty());
    }
    stage.end(running).await;
    ratio
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_never_answers_is_not_felt_by_another_app() {
    let never = Answer::Slow {
        head_ms: 3_600_000,
        body_ms: 0,
    };
    let ratio = trouble("never answers", never, true).await;
    assert!(ratio < NOT_FELT, "{ratio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_wants_us_to_be_slower_is_not_felt_by_another_app() {
    let slower = Answer::Reason {
        status: 429,
        reason: "TooManyProviderTokenUpdates".to_owned(),
        retry_after: Some(RetryAfter::Seconds(2)),
    };
    let ratio = trouble("429", slower, false).await;
    assert!(ratio < NOT_FELT, "{ratio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_in_an_outage_is_not_felt_by_another_app() {
    let outage = Answer::Unavailable { retry_after: None };
    let ratio = trouble("503", outage, false).await;
    assert!(ratio < NOT_FELT, "{ratio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_of_one_app_are_not_felt_by_another() {
    let refused = Answer::Reason {
        status: 403,
        reason: "InvalidProviderToken".to_owned(),
        retry_after: None,
    };
    let ratio = trouble("403", refused, false).await;
    assert!(ratio < NOT_FELT, "{ratio}");
}

/// What the provider asks for, in microseconds.
const SECOND_US: i64 = 1_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_back_is_tried_with_one_request_and_then_used() {
    let stage = Stage::with_devices(200).await;
    let running = stage.start().await;
    stage.spoil(Answer::Unavailable {
        retry_after: Some(RetryAfter::Seconds(1)),
    });
    let kept = stage.publish(BAD, "kept", Urgency::Urgent).await;
    // What was under way when it opened was begun within milliseconds; each trial waits a second.
    let trials = || {
        let requests = stage.requests(BAD);
        let first_us = requests.first().map_or(i64::MAX, |it| it.at_us);
        let is_later = |it: &i64| *it > first_us.saturating_add(SECOND_US / 2);
        let times = requests.iter().map(|it| it.at_us).filter(is_later);
        times.collect::<Vec<_>>()
    };
    eventually(async || trials().len() >= 2).await;
    let times = trials();
    assert!(
        times[1] - times[0] > SECOND_US / 2,
        "one at a time: {times:?}"
    );
    stage.heal();
    eventually(async || stage.accepted(&kept).len() == 200).await;
    assert!(repeated(&stage.accepted(&kept)).is_empty());
    stage.end(running).await;
}
