//! An API that is killed while it looks through the registrations: another one does the rest.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_tests::crowd::token;
use fanfare_tests::fault::{Clock, CrashAt};
use fanfare_tests::{Api, Pipeline, Process, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{died, setup};

const DEVICES: usize = 59;
/// Those that are registered again when they were warned of.
const KEPT: usize = 10;
/// More than half of the 59 that are warned of, and then of the 49 that end: however the work falls to two
/// APIs, one of them comes so far, and the other does not.
const WARNED: u64 = 30;
const REMOVED: u64 = 25;
/// What is left for the other, as metrics count.
const WARNED_REST: f64 = 29.0;
const REMOVED_REST: f64 = 24.0;
/// What was not seen for long ends a day after this rule was first kept,
const WARNING: &str = "1d";
/// and what was seen since, five days later.
const EXPIRES_AFTER: &str = "6d";
/// A day takes 32 seconds. All are to be warned of within one, the rest by whoever takes the turn when
/// the one who had it has been dead for a quarter of it.
const HURRY: u32 = 2700;
const DAY_S: i64 = 32;
const WARNINGS: &str = "fanfare_api_registrations_warned_total";
const REMOVALS: &str = "fanfare_api_registrations_removed_total";
/// Nobody is waited for longer.
const PATIENCE: Duration = Duration::from_mins(1);

fn device(n: usize) -> Value {
    json!({"app": "ios", "token": token(n), "topics": ["all"]})
}

/// Two APIs that keep the rule, both of which would die there: who dies, and who is left. Their clocks
/// are so many seconds ahead, and without an index they do not hear the broker's.
async fn one_of_two_dies(pipeline: &Pipeline, crash: &CrashAt, ahead_s: i64) -> (Process, Process) {
    let clock = Clock::new(pipeline.folder(), &crash.point.replace('.', "-"));
    clock.step(ahead_s);
    let begun = ["one", "two"].map(|it| {
        let node = format!("{}-{it}", crash.point.replace('.', "-"));
        let rule = |name: &'static str, value: &str| (name, value.to_owned());
        let variables = [
            rule("FANFARE__API__REGISTRATION_EXPIRES_AFTER", EXPIRES_AFTER),
            rule("FANFARE__API__REGISTRATION_WARNING", WARNING),
            rule("FANFARE_HURRY", &HURRY.to_string()),
            rule("FANFARE__API__INDEX", "false"),
            clock.variable(),
            crash.variable(),
        ];
        pipeline.begin("api", &node, &variables)
    });
    let [one, two] = begun;
    let died = async {
        tokio::select! {
            _ = one.exited() => true,
            _ = two.exited() => false,
        }
    };
    match timeout(PATIENCE, died).await {
        Ok(true) => (one, two),
        Ok(false) => (two, one),
        Err(late) => panic!("void: nobody died at {}: {late}", crash.point),
    }
}

/// The devices that were warned of, as often as they were.
async fn warned(api: &Api) -> Vec<String> {
    let path = "/v1/events?topic=fanfare.registration.expiring&limit=200";
    let told = api.ask(path).await;
    let items = told["items"].as_array().unwrap().iter();
    let mut devices: Vec<_> = items
        .map(|it| it["data"]["device"].as_str().unwrap().to_owned())
        .collect();
    devices.sort_unstable();
    devices
}

/// Waits until this one has done what the other left.
async fn has_done(survivor: &Process, metric: &str, n: f64) {
    eventually(metric, async || {
        let done = survivor.metric(metric).await;
        if done >= n { Ok(()) } else { Err(done) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_whose_api_is_killed_is_ended_by_the_other_with_each_device_once() {
    let pipeline = Pipeline::start(setup()).await;
    let (observer, api) = pipeline.api().await; // It keeps the rule of 270 days.
    // Its clock is an hour behind, and without an index it does not hear the broker's.
    let clock = Clock::new(pipeline.folder(), "old");
    clock.step(-3600);
    let no_index = ("FANFARE__API__INDEX", "false".to_owned());
    let old = pipeline.begin("api", "old", &[clock.variable(), no_index]);
    old.ready().await;
    let at = old.address("the API listens", "address").await;
    let id = |n: usize| format!("phone-{n}");
    let devices: Vec<_> = (0..DEVICES).map(|n| (id(n), device(n))).collect();
    Api::new(at).put_all(&devices).await;
    old.drain(&[]).await;

    let crash = CrashAt::new("sweep.warned", WARNED);
    let (dead, survivor) = one_of_two_dies(&pipeline, &crash, 0).await;
    died(dead, &crash).await;
    let told = warned(&api).await.len() as u64;
    assert!(
        (WARNED..DEVICES as u64).contains(&told),
        "void: {told} warned of"
    );
    has_done(&survivor, WARNINGS, WARNED_REST).await;
    let all: BTreeSet<_> = (0..DEVICES).map(id).collect();
    let told = warned(&api).await;
    assert!(told.iter().eq(&all), "each once: {told:?}");
    for n in 0..DEVICES {
        assert!(api.has(&id(n)).await, "{n} is gone before its time");
    }
    survivor.drain(&[]).await;

    // Whoever comes back now stays.
    for n in 0..KEPT {
        api.put(&id(n), &device(n)).await;
    }
    let crash = CrashAt::new("sweep.removed", REMOVED);
    // A day later, and nobody waits for it.
    let (dead, survivor) = one_of_two_dies(&pipeline, &crash, DAY_S).await;
    died(dead, &crash).await;
    let mut n_left = 0;
    for n in 0..DEVICES {
        n_left += usize::from(api.has(&id(n)).await);
    }
    assert!(n_left > KEPT, "void: it had ended");
    has_done(&survivor, REMOVALS, REMOVED_REST).await;
    for n in 0..DEVICES {
        assert_eq!(api.has(&id(n)).await, n < KEPT, "{n}");
    }
    let removed = survivor.metric(REMOVALS).await;
    assert!(removed <= REMOVED_REST, "each once: {removed}");
    let told = warned(&api).await;
    assert!(told.iter().eq(&all), "each once: {told:?}");
    survivor.drain(&[]).await;
    observer.drain(&[]).await;
}
