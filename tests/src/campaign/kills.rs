//! Processes that die, at named places and at any time, and are followed at once by the next.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::seat::{How, Role, Seat, chance};
use crate::fault::CrashAt;
use crate::pipeline::Pipeline;

/// Named places of a role, and up to which passage chance chooses.
fn places(role: Role) -> &'static [(&'static str, u64)] {
    match role {
        Role::Fetcher => &[
            ("fetch.before-publish", 3),
            ("fetch.published", 3),
            ("fetch.before-cursor", 3),
        ],
        Role::Api => &[("api.before-write", 5), ("api.written", 5)],
        Role::Notifier => &[
            ("plan.taken", 2),
            ("plan.counted", 2),
            ("plan.half-stored", 1),
            ("plan.stored", 2),
            ("plan.acked", 2),
            ("task.taken", 6),
            ("task.claimed", 6),
            ("task.sending", 700),
            ("task.answered", 700),
            ("task.before-receipt", 30),
            ("task.receipt-stored", 30),
            ("task.all-recorded", 5),
            ("task.wakeup-stored", 2),
            ("task.acked", 5),
            ("token.removed", 1),
            ("dead.stored", 1),
        ],
    }
}

/// How often, of ten, a process is told to die at a place; else it dies by time.
const BY_PLACE: u32 = 5;

/// How a killer goes about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A process works at least and at most so long, once it is ready, before it is killed by time.
    pub(super) works: (Duration, Duration),
    /// Who waits for its place to come by is killed after so long all the same.
    pub(super) patience: Duration,
}

impl Pace {
    /// For many kills: enough time to be in full swing.
    pub(super) fn quick(role: Role) -> Self {
        let (least, most, patience) = match role {
            Role::Notifier => (1500, 5000, 5),
            // Less often, so that most kills hit a sender.
            Role::Fetcher | Role::Api => (12_000, 36_000, 30),
        };
        Self {
            works: (Duration::from_millis(least), Duration::from_millis(most)),
            patience: Duration::from_secs(patience),
        }
    }

    /// For the shipped `ack_wait`, which a task of the dead waits for.
    pub(super) fn calm(role: Role) -> Self {
        let quick = Self::quick(role);
        Self {
            works: (quick.works.0 * 8, quick.works.1 * 8),
            patience: quick.patience * 8,
        }
    }
}

/// Keeps a seat taken and kills whoever sits there, until `stop`; then somebody sits there, alive.
pub(super) async fn keep_killing(
    pipeline: &Pipeline,
    seat: &Seat,
    pace: Pace,
    seed: u64,
    stop: &CancellationToken,
) {
    let mut chance = chance(seed, seat.number);
    while !stop.is_cancelled() {
        let crash = wish(seat.role, &mut chance);
        seat.start(pipeline, crash.as_ref()).await;
        let works = chance.random_range(pace.works.0..pace.works.1);
        let limit = if crash.is_some() {
            pace.patience
        } else {
            works
        };
        tokio::select! {
            () = seat.ended() => {}
            () = sleep(limit) => seat.kill().await,
            // Told to die at a place, it would still do so.
            () = stop.cancelled() => seat.kill().await,
        }
        let is_unasked = seat
            .lives()
            .last()
            .is_some_and(|it| matches!(it.how, How::Unasked(_)));
        if is_unasked {
            sleep(Duration::from_millis(500)).await; // Something is wrong; do not spin.
        }
    }
    seat.start(pipeline, None).await;
}

fn wish(role: Role, chance: &mut StdRng) -> Option<CrashAt> {
    if chance.random_range(0..10) >= BY_PLACE {
        return None;
    }
    let (point, most) = places(role).choose(chance)?;
    Some(CrashAt::new(point, chance.random_range(1..=*most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_place_is_somebodys() {
        let roles = [Role::Fetcher, Role::Notifier, Role::Api];
        let mut known: Vec<_> = roles
            .iter()
            .flat_map(|it| places(*it))
            .map(|it| it.0)
            .collect();
        let mut all = fanfare_nats::fail::POINTS.to_vec();
        known.sort_unstable();
        all.sort_unstable();
        assert_eq!(known, all);
    }
}
