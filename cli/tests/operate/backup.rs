//! A backup that is taken while everything runs, the loss of the broker, and the way back.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_nats_server::process::Signal;

use crate::stage::{Roles, Stage, eventually};

const N_DEVICES: usize = 150;

type Sent = BTreeMap<(String, String), usize>;

/// How often an event was sent: at least, at most, and how many devices got it.
fn of(sent: &Sent, event: &str) -> (usize, usize, usize) {
    let counts: Vec<usize> = sent
        .iter()
        .filter(|((id, _), _)| id == event)
        .map(|(_, n)| *n)
        .collect();
    let least = counts.iter().min().copied().unwrap_or(0);
    let most = counts.iter().max().copied().unwrap_or(0);
    (least, most, counts.len())
}

/// To how many devices it was sent a second time.
fn repeated(sent: &Sent, event: &str) -> usize {
    let is_its = |((id, _), n): &(&(String, String), &usize)| id == event && **n > 1;
    sent.iter().filter(is_its).count()
}

async fn reached(stage: &Stage, event: &str, n: usize) {
    eventually("everybody has it", async || {
        (of(&stage.sent(), event).2 >= n).then_some(())
    })
    .await;
}

/// Waits until the receipts say all that was sent.
async fn recorded(stage: &Stage, notifier: &Roles) {
    notifier
        .reaches(&stage.client, "fanfare_receipts_total", 2.0)
        .await;
    eventually("everything is recorded", async || {
        let used = notifier.metric(&stage.client, "fanfare_credit_used").await;
        (used == 0.0).then_some(())
    })
    .await;
}

async fn lose_and_restore(stage: &mut Stage, folder: &str) {
    stage.lose_the_broker().await;
    let (code, printed) = stage.run(&["admin", "restore", folder]).await;
    assert_eq!(code, Some(0), "{printed}");
    println!("{printed}");
    let (code, printed) = stage.run(&["admin", "restore", folder]).await;
    assert_eq!(code, Some(1), "never over what is there: {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_not_repeated_and_what_came_later_comes_again() {
    let mut stage = Stage::start().await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    stage.register(at, N_DEVICES).await;
    stage.set_latency(Duration::from_millis(10));
    let notifier = stage.roles(&["notifier"], "").await;
    let done = stage.post(at, "done").await;
    reached(&stage, &done, N_DEVICES).await;
    recorded(&stage, &notifier).await;

    stage.set_latency(Duration::from_millis(400));
    let running = stage.post(at, "running").await;
    // Twice the concurrency: what was sent first is recorded. The others take longer than a backup.
    reached(&stage, &running, 64).await;
    stage.set_latency(Duration::from_secs(3));
    let folder = stage.path("backup");
    let (code, printed) = stage.run(&["admin", "backup", &folder]).await;
    assert_eq!(code, Some(0), "{printed}");
    let n_sent = of(&stage.sent(), &running).2;
    assert!(n_sent < N_DEVICES, "void: the fan-out was over");
    stage.set_latency(Duration::ZERO);
    let later = stage.post(at, "later").await;
    reached(&stage, &running, N_DEVICES).await;
    reached(&stage, &later, N_DEVICES).await;
    notifier
        .drains(Signal::Terminate, Duration::from_secs(10))
        .await;
    api.drains(Signal::Terminate, Duration::from_secs(10)).await;
    let before = stage.sent();

    lose_and_restore(&mut stage, &folder).await;
    let api = stage.roles(&["api"], "").await;
    let at = api.api().await;
    let notifier = stage.roles(&["notifier"], "").await;
    // Its id is not known any more: whoever is not sure posts it again, and it comes again.
    assert_eq!(stage.post(at, "later").await, later);
    let fresh = stage.post(at, "fresh").await;
    reached(&stage, &fresh, N_DEVICES).await;
    eventually("what came later came again", async || {
        (of(&stage.sent(), &later).0 == 2).then_some(())
    })
    .await;
    // What was not even sent when the backup ended cannot be recorded in it.
    eventually("what was not recorded came again", async || {
        (repeated(&stage.sent(), &running) >= N_DEVICES - n_sent).then_some(())
    })
    .await;
    notifier
        .drains(Signal::Terminate, Duration::from_secs(10))
        .await;
    let after = stage.sent();
    assert_eq!(of(&after, &done), (1, 1, N_DEVICES), "it was recorded");
    assert_eq!(of(&after, &fresh), (1, 1, N_DEVICES));
    assert_eq!(of(&before, &running), (1, 1, N_DEVICES));
    let (least, most, n_devices) = of(&after, &running);
    assert_eq!((least, n_devices), (1, N_DEVICES));
    assert!(most <= 2, "{most}");
    let n_repeated = repeated(&after, &running);
    println!("of {N_DEVICES}, {n_sent} were sent when the backup ended; {n_repeated} came again");
    assert!(n_repeated < N_DEVICES, "receipts of the backup count");
    api.drains(Signal::Terminate, Duration::from_secs(10)).await;
}
