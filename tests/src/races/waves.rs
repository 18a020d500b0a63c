//! Many races at once, wave after wave, and what stood in the way meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::future::join_all;

use super::client::{Answer, Node};
use super::devices::Contested;
use super::events::{self, Winners};

/// Races at the same moment.
const AT_ONCE: usize = 6;

/// How much was raced for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things of which there can be one.
    pub races: u64,
    /// Requests without a final answer.
    pub unknown: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { races, unknown } = self;
        write!(
            f,
            "{races} races, one first in each; {unknown} answers that were not known at first"
        )
    }
}

impl Tally {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let n_unknown = answers.iter().filter(|it| it.is_after_unknown).count();
        Self {
            races: 1,
            unknown: n_unknown as u64,
        }
    }

    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.races += other.races;
        self.unknown += other.unknown;
    }
}

/// Races for events and devices until `meanwhile` is over and at least `least` waves are; then holds
/// every answer against what the broker at `url` stores. `meanwhile` is told how many waves are over.
///
/// `name` is new in each run, for the ids.
///
/// # Panics
/// If one race has no winner or two, or a winner is not what is stored.
pub async fn run<F: Future<Output = ()>>(
    nodes: &[Node],
    url: &str,
    name: &str,
    least: u64,
    meanwhile: impl FnOnce(WavesOver) -> F,
) -> Tally {
    let over = Arc::new(AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let fault = async {
        meanwhile(WavesOver(over.clone())).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let racing = async {
        let (mut tally, mut winners) = (Tally::default(), Winners::new());
        let mut devices: Vec<Contested> = (0..AT_ONCE)
            .map(|n| Contested::new(format!("{name}-{n}")))
            .collect();
        let mut n_waves = 0;
        while n_waves < least || !is_over.load(Ordering::Relaxed) {
            n_waves += 1;
            let posts = join_all((0..AT_ONCE).map(|n| {
                let id = format!("{name}-{n_waves}-{n}");
                async move {
                    let raced = if n % 3 == 2 {
                        events::same(nodes, &id).await
                    } else {
                        events::different(nodes, &id).await
                    };
                    (id, raced)
                }
            }));
            let rounds = join_all(devices.iter_mut().map(|it| it.round(nodes)));
            let (posts, rounds) = tokio::join!(posts, rounds);
            for (id, (title, its)) in posts {
                winners.insert(id, title);
                tally.add(its);
            }
            for its in rounds {
                tally.add(its);
            }
            over.fetch_add(1, Ordering::Relaxed);
        }
        (tally, winners)
    };
    let ((), (tally, winners)) = tokio::join!(fault, racing);
    events::check(url, &winners).await;
    tally
}

/// How many waves are over.
#[derive(Clone, Debug)]
pub struct WavesOver(Arc<AtomicU64>);

impl WavesOver {
    /// Waits until so many more are over than now.
    pub async fn more(&self, n: u64) {
        let until = self.0.load(Ordering::Relaxed) + n;
        crate::eventually::eventually("more races", async || {
            crate::eventually::at_least(self.0.load(Ordering::Relaxed), until)
        })
        .await;
    }
}
