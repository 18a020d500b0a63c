//! A notifier that was away while devices were removed pushes to none of them when it is back.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream;
use fanfare_nats_server::process::Signal;
use fanfare_tests::eventually::{at_least, eventually_within};
use fanfare_tests::proxy::Weather;
use fanfare_tests::{Api, Pipeline, Process, Registrations, Setup, eventually};
use serde_json::Value;

use crate::support::{many, token};

/// So many that a fan-out goes on when a notifier is back.
const MANY: usize = 3200;
/// More than are removed.
const FEW: usize = 1400;
const N_REMOVED: usize = 1000;

/// The promise: `freshness_ms` as shipped.
const MOST_AFTER_US: i64 = 2_000_000;

/// What is said when deletions may have been missed.
const STARTS_OVER: &str = "device index is loaded again after a long absence";

/// 32 at once of 40 ms each: 800 a second. The window is so large that only the age of the index
/// ends the sending of a notifier that is cut off.
fn slow() -> Setup {
    Setup {
        latency: Duration::from_millis(40),
        window: 4096,
        has_proxy: true,
        ..Setup::default()
    }
}

/// A pipeline with devices, an API that is never cut off and a notifier that may be.
struct Stage {
    pipeline: Pipeline,
    api: Api,
    processes: (Process, Process),
    left: BTreeSet<usize>,
}

impl Stage {
    async fn set(setup: Setup, n_devices: usize) -> Self {
        let pipeline = Pipeline::start(setup).await;
        let (api_process, api) = pipeline.api_past_the_proxy().await;
        let notifier = pipeline.role("notifier", "n1").await;
        let mut registrations = Registrations::default();
        let devices: Vec<(String, Value)> = many(n_devices, &["all"], &mut registrations);
        api.put_all(&devices).await;
        Self {
            pipeline,
            api,
            processes: (api_process, notifier),
            left: (0..n_devices).collect(),
        }
    }

    fn notifier(&self) -> &Process {
        &self.processes.1
    }

    fn weather(&self, weather: Weather) {
        self.pipeline.proxy.as_ref().unwrap().set(weather);
    }

    /// Removes a thousand, spread over all that are left; token to when it was answered.
    async fn remove(&mut self) -> BTreeMap<String, i64> {
        let step = self.left.len() / N_REMOVED;
        let chosen: Vec<usize> = self.left.iter().copied().step_by(step).collect();
        let chosen = &chosen[..N_REMOVED];
        let names: Vec<String> = chosen.iter().map(|it| format!("device-{it}")).collect();
        let removed = self.api.delete_all(&names).await;
        self.left.retain(|it| !chosen.contains(it));
        let number = |name: &str| name.trim_start_matches("device-").parse().unwrap();
        removed
            .into_iter()
            .map(|(name, at_us)| (token(number(&name)), at_us))
            .collect()
    }

    /// A fan-out that goes on when this returns.
    async fn fan_out(&self, id: &str) -> String {
        let n_before = self.pipeline.counts().accepted;
        let event = self.api.post(id, &["all"]).await;
        eventually("the fan-out is going", async || {
            at_least(self.pipeline.counts().accepted - n_before, 200)
        })
        .await;
        event
    }

    /// The sends to removed devices that began too late, and how many of the removed were spared.
    fn late(&self, event: &str, removed: &BTreeMap<String, i64>) -> (usize, usize) {
        let sent: BTreeMap<String, i64> = self
            .pipeline
            .requests_of(event)
            .into_iter()
            .map(|it| (it.token, it.at_us))
            .collect();
        let is_late = |(token, at_us): &(&String, &i64)| {
            sent.get(*token)
                .is_some_and(|sent_us| *sent_us > **at_us + MOST_AFTER_US)
        };
        let n_spared = removed.keys().filter(|it| !sent.contains_key(*it)).count();
        (removed.iter().filter(is_late).count(), n_spared)
    }

    /// One more event goes to all that are left and to nobody else, once each.
    async fn reaches_exactly_who_is_left(&self, id: &str) {
        self.pipeline.set_latency(Duration::ZERO);
        let event = self.api.post(id, &["all"]).await;
        self.pipeline.settled().await;
        let mut sent: Vec<String> = self
            .pipeline
            .requests_of(&event)
            .into_iter()
            .map(|it| it.token)
            .collect();
        sent.sort_unstable();
        let mut left: Vec<String> = self.left.iter().map(|it| token(*it)).collect();
        left.sort_unstable();
        let n_surplus = sent.iter().filter(|it| !left.contains(it)).count();
        assert_eq!(n_surplus, 0, "{id}: pushed to removed devices");
        assert!(sent == left, "{id}: {} of {} sent", sent.len(), left.len());
    }

    /// The index of the one that was away holds what a fresh one holds: both push to the same.
    async fn end(self) {
        self.reaches_exactly_who_is_left("by-who-was-away").await;
        let (api_process, notifier) = (&self.processes.0, &self.processes.1);
        eventually("its index counts as many", async || {
            let n = notifier.metric("fanfare_devices").await;
            if n.to_string() == self.left.len().to_string() {
                Ok(())
            } else {
                Err(n)
            }
        })
        .await;
        notifier.signal(Signal::Terminate);
        let _ended = notifier.exited().await;
        let fresh = self.pipeline.role("notifier", "n2").await;
        self.reaches_exactly_who_is_left("by-a-fresh-one").await;
        fresh.drain(&[]).await;
        api_process.signal(Signal::Terminate);
        let _ended = api_process.exited().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_was_removed_while_a_notifier_was_cut_off_or_frozen_is_pushed_to() {
    let mut stage = Stage::set(slow(), MANY).await;
    let event = stage.fan_out("e-cut").await;
    stage.weather(Weather::Cut);
    let removed = stage.remove().await;
    // Its own two seconds are over: it has stopped by itself.
    let n_stopped = standstill(&stage).await;
    assert!(n_stopped < MANY as u64, "void: the fan-out is over");
    stage.weather(Weather::Fair);
    stage.pipeline.settled().await;
    let (n_late, n_spared) = stage.late(&event, &removed);
    let n_after = stage.pipeline.counts().accepted - n_stopped;
    println!("cut off: {n_spared} of {N_REMOVED} spared, {n_after} sent after the return");
    assert_eq!(n_late, 0, "sent later than two seconds after the removal");
    assert!(
        n_spared > 0 && n_after > 0,
        "void: nothing was left to send"
    );

    let event = stage.fan_out("e-frozen").await;
    stage.notifier().signal(Signal::Stop);
    let n_stopped = standstill(&stage).await;
    let removed = stage.remove().await;
    let until_us = fanfare_tests::now_us() + MOST_AFTER_US;
    eventually("two seconds are over", async || {
        let left_us = until_us - fanfare_tests::now_us();
        if left_us < 0 { Ok(()) } else { Err(left_us) }
    })
    .await;
    stage.notifier().signal(Signal::Continue);
    stage.pipeline.settled().await;
    let (n_late, n_spared) = stage.late(&event, &removed);
    let n_after = stage.pipeline.counts().accepted - n_stopped;
    println!(
        "frozen: {n_spared} of {N_REMOVED} spared, {n_after} sent after the return, {n_late} late"
    );
    // What it had begun when it froze: nobody can stop that.
    let concurrency = stage.pipeline.setup().concurrency;
    assert!(n_late <= concurrency, "{n_late} began after it was back");
    assert!(
        n_spared > 0 && n_after > 0,
        "void: nothing was left to send"
    );
    assert_eq!(
        stage.notifier().logged(STARTS_OVER, "message"),
        None,
        "it could catch up"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_away_for_longer_than_removals_are_remembered_loads_everything_anew() {
    let setup = Setup {
        extra: "[nats]\nmarker_ttl_s = 5\n".to_owned(),
        latency: Duration::ZERO,
        ..slow()
    };
    let mut stage = Stage::set(setup, FEW).await;
    stage.reaches_exactly_who_is_left("before").await;
    stage.weather(Weather::Cut);
    let n_before = stored(&stage).await;
    stage.remove().await;
    let limit = Duration::from_secs(20);
    eventually_within(limit, "the removals are forgotten", async || {
        let n = stored(&stage).await;
        if n + N_REMOVED as u64 <= n_before {
            Ok(())
        } else {
            Err(format!("{n} of {n_before} are stored"))
        }
    })
    .await;
    assert_eq!(stage.notifier().logged(STARTS_OVER, "message"), None);
    stage.weather(Weather::Fair);
    stage.reaches_exactly_who_is_left("after").await;
    assert!(
        stage.notifier().logged(STARTS_OVER, "message").is_some(),
        "void: it did not notice that it was away"
    );
    stage.end().await;
}

/// Waits until nothing has been sent for half a second; returns how many were.
async fn standstill(stage: &Stage) -> u64 {
    let mut seen = (stage.pipeline.counts().accepted, fanfare_tests::now_us());
    eventually("nothing is sent", async || {
        let n = stage.pipeline.counts().accepted;
        let now = fanfare_tests::now_us();
        if n != seen.0 {
            seen = (n, now);
        }
        if now - seen.1 > 500_000 {
            Ok(n)
        } else {
            Err(n)
        }
    })
    .await
}

/// Documents and markers in the bucket.
async fn stored(stage: &Stage) -> u64 {
    let client = async_nats::connect(stage.pipeline.broker()).await.unwrap();
    let stream = jetstream::new(client)
        .get_stream("KV_fanfare_devices")
        .await;
    stream.unwrap().cached_info().state.messages
}
