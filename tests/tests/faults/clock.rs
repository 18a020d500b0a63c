//! Clocks that step.

use fanfare_tests::crowd::sends_in_flight;
use fanfare_tests::fault::Clock;

use crate::support::{Stage, setup};

const N: usize = 1200;

/// Providers take no credential from an hour ahead, so while its clock is wrong such a process may be
/// able to send nothing: then its work is another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_notifier_whose_clock_steps_by_an_hour_neither_loses_nor_repeats_a_push() {
    let stage = Stage::set(setup(), N).await;
    let clock = Clock::new(stage.pipeline.folder(), "n1");
    let stepping = stage.pipeline.begin("notifier", "n1", &[clock.variable()]);
    stepping.ready().await;
    let steady = stage.pipeline.role("notifier", "n2").await;
    for (n, seconds) in [3600, 0, -3600, 0].into_iter().enumerate() {
        stage.api.post(&format!("e-{n}"), &["all"]).await;
        // While its clock is wrong, it may be the other who sends.
        let is_right = n % 2 == 0;
        sends_in_flight(if is_right { &stepping } else { &steady }).await;
        let n_pushes = stage.pipeline.counts().deliveries;
        assert!(n_pushes < ((n + 1) * N) as u64, "void: the fan-out is over");
        clock.step(seconds);
        stage.rest((n + 1) * N).await;
    }
    // Its clock is right again, and so it has to be able to do it alone.
    steady.drain(&["WARN", "ERROR"]).await;
    stage.api.post("e-last", &["all"]).await;
    stage.rest(5 * N).await;
    stage.judge(0, vec![stepping]).await;
}
