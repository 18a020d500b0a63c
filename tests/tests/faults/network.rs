//! The way to the broker: cut, stalled, slow.

use std::time::Duration;

use fanfare_tests::Setup;
use fanfare_tests::crowd::sends_in_flight;
use fanfare_tests::proxy::Weather;
use tokio::time::sleep;

use crate::support::{ACK_WAIT, Stage, setup};

const N: usize = 1500;

#[tokio::test(flavor = "multi_thread")]
async fn a_way_to_the_broker_that_is_cut_stalled_or_slow_loses_nothing() {
    let stage = Stage::set(
        Setup {
            has_proxy: true,
            ..setup()
        },
        N,
    )
    .await;
    let notifiers = vec![
        stage.pipeline.role("notifier", "n1").await,
        stage.pipeline.role("notifier", "n2").await,
    ];
    let weathers = [
        // A blink, and longer than a task may lie.
        (Weather::Cut, Duration::from_millis(5)),
        (Weather::Cut, ACK_WAIT * 3 / 2),
        (Weather::Stalled, ACK_WAIT * 3 / 2),
        (Weather::Slow(Duration::from_millis(40)), ACK_WAIT),
    ];
    let proxy = stage.pipeline.proxy.as_ref().unwrap();
    let mut n_held_up = 0;
    for (n, (weather, time)) in weathers.into_iter().enumerate() {
        stage.api.post(&format!("e-{n}"), &["all"]).await;
        sends_in_flight(&notifiers[0]).await;
        let n_pushes = stage.pipeline.counts().deliveries;
        assert!(
            n_pushes < ((n + 1) * N) as u64,
            "void: the fan-out is over before {weather:?}"
        );
        proxy.set(weather);
        sleep(time).await;
        // In fair weather it would have been over long before.
        let is_held_up = stage.pipeline.counts().deliveries < ((n + 1) * N) as u64;
        n_held_up += u64::from(is_held_up && time > ACK_WAIT);
        proxy.set(Weather::Fair);
        stage.rest((n + 1) * N).await;
    }
    // A worker that is heard again in time keeps its task: of a cut alone none need come again.
    let n_again = stage.pipeline.tasks_redelivered().await;
    println!("{n_held_up} held up, {n_again} tasks came again");
    assert!(
        n_held_up + n_again > 0,
        "void: nothing was held up, and no task came again"
    );
    // Three faults that cut, for two processes.
    let window = stage.pipeline.window();
    stage.judge(6 * window, notifiers).await;
}
