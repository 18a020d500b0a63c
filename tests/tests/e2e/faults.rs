//! Processes that end while pushes are on their way.

use std::time::Duration;

use fanfare_nats_server::process::Signal;
use fanfare_tests::eventually::at_least;
use fanfare_tests::{Api, Pipeline, Process, Registrations, Setup, eventually};

use crate::support::{many, sends_in_flight};

const N_DEVICES: usize = 1500;

fn slow() -> Setup {
    Setup {
        latency: Duration::from_millis(40),
        concurrency: 24,
        ..Setup::default()
    }
}

/// A fan-out to all devices, going on in `first` and perhaps another.
async fn running_fan_out(pipeline: &Pipeline, api: &Api, first: &Process) -> Registrations {
    let mut registrations = Registrations::default();
    api.put_all(&many(N_DEVICES, &["all"], &mut registrations))
        .await;
    api.post("e-1", &["all"]).await;
    sends_in_flight(first).await;
    assert!(
        pipeline.counts().accepted < N_DEVICES as u64,
        "void: the fan-out is over"
    );
    registrations
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_notifier_loses_nothing_and_repeats_at_most_its_window() {
    let pipeline = Pipeline::start(slow()).await;
    let (api_process, api) = pipeline.api().await;
    let killed = pipeline.role("notifier", "n1").await;
    let registrations = running_fan_out(&pipeline, &api, &killed).await;
    killed.kill().await;
    let successor = pipeline.role("notifier", "n2").await;
    eventually("all pushes", async || {
        at_least(pipeline.counts().deliveries, N_DEVICES as u64)
    })
    .await;
    pipeline.settled().await;
    let audit = pipeline.audit(&registrations).await;
    println!("repeated {}", audit.repeated());
    audit.check(pipeline.window());
    assert!(
        pipeline.tasks_redelivered().await > 0,
        "void: no task came again"
    );
    successor.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_that_is_asked_to_end_repeats_nothing_and_hands_over_at_once() {
    let pipeline = Pipeline::start(slow()).await;
    let (api_process, api) = pipeline.api().await;
    let leaving = pipeline.role("notifier", "n1").await;
    let registrations = running_fan_out(&pipeline, &api, &leaving).await;
    let staying = pipeline.role("notifier", "n2").await;
    let n_before = pipeline.counts().deliveries;
    assert!(n_before < N_DEVICES as u64, "void: the fan-out is over");
    leaving.drain(&[]).await;
    let n_then = pipeline.counts().deliveries;
    assert!(
        n_then < N_DEVICES as u64,
        "void: nothing was left to hand over"
    );
    eventually("all pushes", async || {
        at_least(pipeline.counts().deliveries, N_DEVICES as u64)
    })
    .await;
    pipeline.settled().await;
    pipeline.audit(&registrations).await.check(0);
    staying.drain(&[]).await;
    api_process.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_notifier_is_fenced_when_it_wakes() {
    let pipeline = Pipeline::start(slow()).await;
    let (api_process, api) = pipeline.api().await;
    let frozen = pipeline.role("notifier", "n1").await;
    let registrations = running_fan_out(&pipeline, &api, &frozen).await;
    frozen.signal(Signal::Stop);
    let other = pipeline.role("notifier", "n2").await;
    eventually("all pushes", async || {
        at_least(pipeline.counts().deliveries, N_DEVICES as u64)
    })
    .await;
    frozen.signal(Signal::Continue);
    eventually("it hears that its tasks are another's", async || {
        let n_fenced = frozen.metric("fanfare_fenced_claims_total").await;
        if n_fenced > 0.0 {
            Ok(())
        } else {
            Err(n_fenced)
        }
    })
    .await;
    pipeline.settled().await;
    let audit = pipeline.audit(&registrations).await;
    println!("repeated {}", audit.repeated());
    audit.check(pipeline.window());
    assert!(
        pipeline.tasks_redelivered().await > 0,
        "void: no task came again"
    );
    // Whatever it has to say about the time that it missed.
    frozen.drain(&["WARN"]).await;
    other.drain(&[]).await;
    api_process.drain(&[]).await;
}
