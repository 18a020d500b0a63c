//! Faults that are done to living processes, to the broker, and to what is between them.

use std::time::Duration;

use fanfare_nats::testing::TestServer;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::seat::{Role, Seat};
use crate::fault::fill_disk;
use crate::proxy::{Proxy, Weather};

/// Waits, unless it is over before.
async fn pause(time: Duration, stop: &CancellationToken) {
    let _over = stop.run_until_cancelled(sleep(time)).await;
}

/// Waits, and whether it is not over then.
async fn goes_on(time: Duration, stop: &CancellationToken) -> bool {
    pause(time, stop).await;
    !stop.is_cancelled()
}

fn between(chance: &mut StdRng, least_ms: u64, most_ms: u64) -> Duration {
    Duration::from_millis(chance.random_range(least_ms..most_ms))
}

/// Freezes one process after another for longer than `ack_wait`; returns how many.
pub(super) async fn keep_freezing(
    seats: &[Seat],
    ack_wait: Duration,
    mut chance: StdRng,
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    while !stop.is_cancelled() {
        let seat = &seats[chance.random_range(0..seats.len())];
        // Mostly senders.
        if seat.role != Role::Notifier && chance.random_range(0..3) > 0 {
            continue;
        }
        seat.freeze(true).await;
        n += 1;
        // Thawed in any case.
        sleep(ack_wait.mul_f64(chance.random_range(1.2..2.5))).await;
        seat.freeze(false).await;
        pause(between(&mut chance, 500, 2500), stop).await;
    }
    n
}

/// Restarts the broker, in order and by SIGKILL in turn; returns how often.
pub(super) async fn keep_restarting(
    server: &Mutex<TestServer>,
    seats: &[Seat],
    mut chance: StdRng,
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    while goes_on(between(&mut chance, 4000, 9000), stop).await {
        let mut server = server.lock().await;
        seats.iter().for_each(Seat::hit);
        if n % 2 == 0 {
            server.server().kill9().await.unwrap();
        } else {
            server.server().stop().await;
        }
        sleep(between(&mut chance, 50, 2500)).await;
        server.server().restart().await.unwrap();
        n += 1;
    }
    n
}

/// Changes the weather between processes and broker; returns how often.
pub(super) async fn keep_raining(
    proxy: &Proxy,
    seats: &[Seat],
    mut chance: StdRng,
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    while goes_on(between(&mut chance, 1500, 5000), stop).await {
        seats.iter().for_each(Seat::hit);
        let (weather, time) = match chance.random_range(0..4) {
            0 => (Weather::Cut, between(&mut chance, 20, 5000)),
            1 => (Weather::Stalled, between(&mut chance, 200, 6000)),
            2 => (Weather::Cut, Duration::from_millis(1)),
            _ => {
                let late = between(&mut chance, 5, 150);
                (Weather::Slow(late), between(&mut chance, 500, 5000))
            }
        };
        proxy.set(weather);
        sleep(time).await;
        proxy.set(Weather::Fair);
        n += 1;
    }
    n
}

/// Steps the clock of one process after another by an hour, on and back; returns how often.
pub(super) async fn keep_stepping(
    seats: &[Seat],
    mut chance: StdRng,
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    while !stop.is_cancelled() {
        pause(between(&mut chance, 500, 3000), stop).await;
        let seat = &seats[chance.random_range(0..seats.len())];
        seat.hit();
        let by_s = [3600, -3600][chance.random_range(0..2)];
        seat.clock.step(by_s);
        n += 1;
        pause(between(&mut chance, 1000, 8000), stop).await;
        seat.clock.step(0);
    }
    n
}

/// Fills the broker's disk for a while; returns how often. A stream that could not be written takes
/// nothing more before the server is restarted, so that is done, as an operator would.
pub(super) async fn keep_filling(
    server: &Mutex<TestServer>,
    seats: &[Seat],
    mut chance: StdRng,
    stop: &CancellationToken,
) -> u64 {
    let mut n = 0;
    while goes_on(between(&mut chance, 5000, 9000), stop).await {
        let mut server = server.lock().await;
        seats.iter().for_each(Seat::hit);
        fill_disk(&mut server, true);
        sleep(between(&mut chance, 1000, 6000)).await;
        fill_disk(&mut server, false);
        server.server().restart().await.unwrap();
        n += 1;
    }
    n
}
