//! After an unsubscribe returned, no send starts later than two seconds after it.

use std::collections::HashMap;
use std::time::Duration;

use fanfare_tests::eventually::at_least;
use fanfare_tests::{Pipeline, Registrations, Setup, eventually, now_us};

use crate::support::{many, token};

const N_DEVICES: usize = 4000;
const N_DELETED: usize = 500;

/// The promise: `freshness_ms` as shipped.
const MOST_AFTER_US: i64 = 2_000_000;

/// Waits until a time is over, in Unix microseconds.
async fn reached(at_us: i64) {
    eventually("a later time", async || {
        let left_us = at_us - now_us();
        if left_us < 0 { Ok(()) } else { Err(left_us) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_send_starts_two_seconds_after_a_device_was_removed_during_a_fan_out() {
    // 16 at once of 160 ms each: at most 100 a second, until the removals are two seconds old. So they
    // fall into the fan-out, however long they take.
    let setup = Setup {
        latency: Duration::from_millis(160),
        concurrency: 16,
        ..Setup::default()
    };
    let pipeline = Pipeline::start(setup).await;
    let (api_process, api) = pipeline.api().await;
    let notifier = pipeline.role("notifier", "n1").await;
    let mut registrations = Registrations::default();
    api.put_all(&many(N_DEVICES, &["all"], &mut registrations))
        .await;

    let event = api.post("e-1", &["all"]).await;
    eventually("the fan-out is going", async || {
        at_least(pipeline.counts().accepted, 50)
    })
    .await;
    // Every eighth device, so that some are in every task, sent to or not.
    let chosen = (0..N_DELETED).map(|it| it * (N_DEVICES / N_DELETED));
    let chosen: HashMap<String, String> = chosen
        .map(|it| (format!("device-{it}"), token(it)))
        .collect();
    let names: Vec<String> = chosen.keys().cloned().collect();
    let deleted = api.delete_all(&names).await;
    let last_us = deleted.iter().map(|(_, at_us)| *at_us).max().unwrap();
    reached(last_us + MOST_AFTER_US).await;
    pipeline.set_latency(Duration::from_millis(5));
    pipeline.settled().await;

    let requests = pipeline.requests_of(&event);
    let ended_us = requests.iter().map(|it| it.at_us).max().unwrap();
    assert!(
        ended_us > last_us + MOST_AFTER_US,
        "void: the fan-out ended {} us after the last removal",
        ended_us - last_us
    );
    let by_token: HashMap<&str, i64> = requests
        .iter()
        .map(|it| (it.token.as_str(), it.at_us))
        .collect();
    let mut n_spared = 0;
    for (device, deleted_us) in &deleted {
        match by_token.get(chosen[device].as_str()) {
            None => n_spared += 1,
            Some(sent_us) => assert!(
                *sent_us <= deleted_us + MOST_AFTER_US,
                "{device}: sent {} us after its removal was answered",
                sent_us - deleted_us
            ),
        }
    }
    println!("{n_spared} of {N_DELETED} removed devices were spared");
    assert!(
        n_spared > 0,
        "void: all were sent to before they were removed"
    );
    // Everybody else got it, once.
    assert_eq!(by_token.len(), N_DEVICES - n_spared);
    assert_eq!(requests.len(), by_token.len());
    notifier.drain(&[]).await;
    api_process.drain(&[]).await;
}
