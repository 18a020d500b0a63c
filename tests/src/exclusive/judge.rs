//! What is stored of what was shown, read off the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;

use crate::pipeline::connect;

/// How long one pull waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the stream of events says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Ticks that had to be stored.
    pub owed: u64,
    /// Of these, never stored.
    pub lost: u64,
    /// Stored more than once.
    pub repeated: u64,
    /// Stored under a lease after something was stored under a later one of the same source.
    pub late: u64,
    /// The longest run of such.
    pub longest_late: u64,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ticks: owed {}, lost {}, stored twice {}, stored late {} (most at once {})",
            self.owed, self.lost, self.repeated, self.late, self.longest_late
        )
    }
}

/// One stored tick.
struct Stored {
    source: String,
    n: usize,
    lease: u64,
}

/// Compares what is stored with the numbers that each source had reached: everything from its first
/// stored tick on is owed.
///
/// # Panics
/// If the stream cannot be read.
pub async fn judge(url: &str, shown: &[usize]) -> Judged {
    let mut of: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for it in stored(url).await {
        of.entry(it.source.clone()).or_default().push(it);
    }
    let mut judged = Judged::default();
    for (n, last) in shown.iter().enumerate() {
        let stored = of.remove(&format!("s{n}")).unwrap_or_default();
        let mut numbers: BTreeMap<usize, u64> = BTreeMap::new();
        let (mut newest, mut run) = (0, 0);
        for it in &stored {
            *numbers.entry(it.n).or_default() += 1;
            newest = newest.max(it.lease);
            run = if it.lease < newest { run + 1 } else { 0 };
            judged.late += u64::from(it.lease < newest);
            judged.longest_late = judged.longest_late.max(run);
        }
        let first = numbers.keys().next().copied().unwrap_or(1);
        for it in first..=*last {
            judged.owed += 1;
            let n = numbers.get(&it).copied().unwrap_or_default();
            judged.lost += u64::from(n == 0);
            judged.repeated += n.saturating_sub(1);
        }
    }
    judged
}

async fn stored(url: &str) -> Vec<Stored> {
    let context = jetstream::new(connect(url).await);
    let stream = context.get_stream("FANFARE_EVENTS").await.unwrap();
    let mut left = stream.cached_info().state.messages;
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut found = Vec::new();
    while left > 0 {
        let batch = consumer.batch().max_messages(1000);
        let mut messages = batch.expires(PATIENCE).messages().await.unwrap();
        while let Some(message) = messages.next().await {
            found.push(read(&message.unwrap()));
            left = left.saturating_sub(1); // More arrives while we read.
        }
    }
    found
}

fn read(message: &async_nats::Message) -> Stored {
    let header = |name: &str| {
        let found = message.headers.as_ref().and_then(|it| it.get(name));
        found.map(ToString::to_string).unwrap_or_default()
    };
    Stored {
        source: header("ce-source").rsplit(':').next().unwrap().to_owned(),
        n: header("ce-item").parse().unwrap(),
        lease: header("Fanfare-Lease").parse().unwrap(),
    }
}
