//! Messages in hand when the leader of their consumer dies: which of them come again although their
//! time is not up.

use std::collections::BTreeMap;
use std::time::Duration;

use fanfare_nats::claim::Message;
use fanfare_nats::consumer::Claims;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::plans::Plans;
use super::rig::{Rig, lane_of, patiently};
use super::values::plan;

/// Messages of each of two plans; each is shared by two kinds.
const LOG2_MESSAGES: u8 = 7;
/// How many pulls of a second must bring nothing before the early ones are all there.
const QUIET: u32 = 2;

/// A new leader knows the times of its deliveries to the second.
const SLACK: Duration = Duration::from_secs(2);

/// How a message came, and what was said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hand {
    /// For the first time.
    First,
    /// Again, because it was handed back.
    HandedBack,
    /// Again, because its time was up; no word was said in this delivery.
    Silent,
    /// Again, because its time was up; it was said at once that work goes on.
    Extended,
}

/// For each kind: how many were in hand, and how many of them came again before their time.
pub(crate) type Early = BTreeMap<Hand, (u64, u64)>;

/// Messages whose time runs out.
pub(crate) struct Forgotten {
    claims: Claims,
    /// When they come again.
    pub(crate) due: Instant,
    round: usize,
}

/// Messages in hand.
pub(crate) struct InHand {
    claims: Claims,
    /// When the last word about each was said.
    held: Vec<(Hand, Instant, Message)>,
}

/// So many messages, one after another; `keep` says what becomes of each.
async fn take(
    claims: &Claims,
    n: usize,
    mut keep: impl AsyncFnMut(Message) -> Option<(Hand, Message)>,
) -> Vec<(Hand, Instant, Message)> {
    let mut held = Vec::new();
    let mut n_taken = 0;
    while n_taken < n {
        let Ok(Some(message)) = claims.next().await else {
            continue;
        };
        let word = Instant::now();
        if let Some((hand, message)) = keep(message).await {
            held.push((hand, word, message));
            n_taken += 1;
        }
    }
    held
}

impl Forgotten {
    /// Takes messages and says nothing about them.
    pub(crate) async fn arm(rig: &Rig, seat: usize, round: usize, plans: &Plans) -> Self {
        let broker = rig.broker("held", seat).await;
        let plan = plan(&format!("forgotten-{round}"), "held", LOG2_MESSAGES, 1);
        plans.commit(&broker, &plan).await;
        let claims = patiently(async || broker.task_claims(&lane_of("held")).await).await;
        let taken = take(&claims, 1 << LOG2_MESSAGES, async |it| {
            Some((Hand::Silent, it))
        })
        .await;
        for (_, _, message) in taken {
            message.forget();
        }
        let due = Instant::now() + claims.ack_wait();
        Self { claims, due, round }
    }

    /// Waits until they have come again, and takes others meanwhile.
    pub(crate) async fn come_again(self, rig: &Rig, seat: usize, plans: &Plans) -> InHand {
        let Self { claims, round, .. } = self;
        let broker = rig.broker("held", seat).await;
        let n = 1 << LOG2_MESSAGES;
        let again = take(&claims, n, async |message| {
            let is_extended = message.seq() % 2 == 0;
            if is_extended {
                message.extend().await;
            }
            let hand = if is_extended {
                Hand::Extended
            } else {
                Hand::Silent
            };
            Some((hand, message))
        });
        let mut held = again.await;
        let plan = plan(&format!("in-hand-{round}"), "held", LOG2_MESSAGES, 1);
        plans.commit(&broker, &plan).await;
        let others = take(&claims, n, async |message| {
            let is_first = message.seq() % 2 == 0;
            match message.delivered() {
                1 if is_first => Some((Hand::First, message)),
                1 => {
                    message.nak(None).await;
                    None
                }
                _ => Some((Hand::HandedBack, message)),
            }
        });
        held.extend(others.await);
        broker.flush().await;
        InHand { claims, held }
    }
}

impl InHand {
    /// Takes what comes until nothing more comes after `led`, then settles everything. Returns also how
    /// many delivery counts did not grow.
    pub(crate) async fn finish(self, led: &CancellationToken) -> (Early, u64) {
        let mut early = Early::new();
        let mut known = BTreeMap::new();
        for (hand, word, message) in &self.held {
            early.entry(*hand).or_default().0 += 1;
            known.insert(message.seq(), (*hand, *word, message.delivered()));
        }
        let mut again: BTreeMap<u64, Message> = BTreeMap::new();
        let (mut n_quiet, mut n_not_greater) = (0, 0);
        while n_quiet < QUIET && again.len() < known.len() {
            let message = match self.claims.next().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    n_quiet += u32::from(led.is_cancelled());
                    continue;
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let seq = message.seq();
            if let Some((hand, word, delivered)) = known.get(&seq) {
                let is_early =
                    word.elapsed() + SLACK < self.claims.ack_wait() && !again.contains_key(&seq);
                early.entry(*hand).or_default().1 += u64::from(is_early);
                n_not_greater += u64::from(message.delivered() <= *delivered);
            }
            if let Some(before) = again.insert(seq, message) {
                before.forget();
            }
        }
        for (_, _, message) in self.held {
            if let Some(later) = again.insert(message.seq(), message) {
                // An acknowledgement of the older delivery is honoured as well.
                later.forget();
            }
        }
        for message in again.into_values() {
            let _comes_again = message.ack().await;
        }
        (early, n_not_greater)
    }
}
