//! What the broker holds at the end, read with its own client: receipts that only grow, events that
//! stand once, dead letters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use serde_json::Value;

use crate::pipeline::connect;

/// Messages asked for at once.
const BATCH: usize = 500;
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the last of them may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Default)]
pub struct Held {
    /// Stored events.
    pub n_events: u64,
    /// Receipts.
    pub n_receipts: u64,
    /// Claims beyond the first of each task's pass: take-overs.
    pub n_takeovers: u64,
    /// Each take-over, told: when, of what, from which delivery to which, after how long a silence.
    pub takeovers: Vec<String>,
    /// Devices that wait for a later pass.
    pub n_pending: u64,
    /// Tasks by the most claims in a row that brought no mark, from two on.
    pub idle_claims: BTreeMap<u64, u64>,
    /// Dead letters by reason.
    pub dead: BTreeMap<String, u64>,
    /// When the event of each title was stored first, in Unix microseconds.
    pub stored: HashMap<String, i64>,
    /// Its event id.
    pub ids: HashMap<String, String>,
    /// What must never be.
    pub violations: Vec<String>,
}

struct Message {
    subject: String,
    /// Its event id, if it is an event.
    id: String,
    /// When it was stored, in Unix microseconds.
    at_us: i64,
    payload: Vec<u8>,
}

async fn read(url: &str, name: &str) -> Vec<Message> {
    let context = jetstream::new(connect(url).await);
    let mut stream: stream::Stream = context.get_stream(name).await.unwrap();
    let n = stream.info().await.unwrap().state.messages;
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        ..pull::Config::default()
    };
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut found = Vec::new();
    let mut n_refused = 0;
    while (found.len() as u64) < n {
        let mut batch = consumer
            .fetch()
            .max_messages(BATCH)
            .expires(PATIENCE)
            .messages()
            .await
            .unwrap();
        let before = found.len();
        while let Some(message) = batch.next().await {
            let Ok(message) = message else {
                // A consumer that was just made may not be known everywhere in a cluster: 503.
                n_refused += 1;
                assert!(n_refused < 50, "{name} cannot be read: {message:?}");
                tokio::time::sleep(AGAIN).await;
                break;
            };
            n_refused = 0;
            let at_ns = message.info().map(|it| it.published.unix_timestamp_nanos());
            let id = message.headers.as_ref().and_then(|it| it.get("ce-id"));
            let id = id.map(ToString::to_string);
            found.push(Message {
                subject: message.subject.to_string(),
                id: id.unwrap_or_default(),
                at_us: at_ns.map_or(0, |it| i64::try_from(it / 1000).unwrap_or_default()),
                payload: message.payload.to_vec(),
            });
        }
        if found.len() == before && n_refused == 0 {
            break;
        }
    }
    found
}

/// Reads events, receipts and dead letters, and judges I5 and I7.
///
/// # Panics
/// If the broker does not answer.
pub async fn look(url: &str) -> Held {
    let mut held = Held::default();
    events(&read(url, "FANFARE_EVENTS").await, &mut held);
    receipts(&read(url, "FANFARE_RECEIPTS").await, &mut held);
    for letter in read(url, "FANFARE_DEAD").await {
        let value: Value = serde_json::from_slice(&letter.payload).unwrap_or_default();
        let reason = value["reason"].as_str().unwrap_or("?").to_owned();
        *held.dead.entry(reason).or_default() += 1;
    }
    held
}

/// I5, its first half: one stored event per item and level.
fn events(messages: &[Message], held: &mut Held) {
    let mut subjects = BTreeSet::new();
    for message in messages {
        held.n_events += 1;
        let content: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let title = content["title"].as_str().unwrap_or_default().to_owned();
        held.ids.insert(title.clone(), message.id.clone());
        held.stored.entry(title).or_insert(message.at_us);
        if !subjects.insert(&message.subject) {
            let text = format!("I5: {} is stored twice", message.subject);
            held.violations.push(text);
        }
    }
}

/// What a receipt says of a task's progress.
struct Progress {
    at_us: i64,
    claim: (u64, u64, u64),
    nonce: String,
    low: Option<String>,
    above: BTreeSet<String>,
    n_later: u64,
    n_idle: u64,
}

fn takeover(message: &Message, before: &Progress, now: &Progress) -> String {
    let time = jiff::Timestamp::from_microsecond(now.at_us).unwrap_or_default();
    let silent_ms = (now.at_us - before.at_us) / 1000;
    format!(
        "{time:.3} {}: claim {:?} after {:?}, which was heard {silent_ms} ms before",
        message.subject, now.claim, before.claim
    )
}

fn progress(payload: &[u8], at_us: i64) -> Option<Progress> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let claim = &value["claim"];
    let number = |name: &str| claim[name].as_u64().unwrap_or_default();
    let above = value["above"].as_array().cloned().unwrap_or_default();
    let n_later = value["later"].as_array().map_or(0, Vec::len) as u64;
    Some(Progress {
        at_us,
        claim: (number("epoch"), number("pass"), number("delivered")),
        nonce: claim["nonce"].to_string(),
        low: value["low"].as_str().map(str::to_owned),
        above: above
            .iter()
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect(),
        n_later,
        n_idle: value["idle_claims"].as_u64().unwrap_or_default(),
    })
}

impl Progress {
    /// Whether `hash` had its turn; hashes are hexadecimal and of one length.
    fn has(&self, hash: &str) -> bool {
        self.low.as_deref().is_none_or(|low| hash < low) || self.above.contains(hash)
    }

    /// Why this cannot follow `before`, if it cannot.
    fn shrinks(&self, before: &Self) -> Option<&'static str> {
        if self.claim < before.claim {
            return Some("an older claim follows");
        }
        if self.claim == before.claim && self.nonce != before.nonce {
            return Some("two workers with an equal claim");
        }
        let is_back = match (&self.low, &before.low) {
            (Some(_), None) => true,
            (Some(now), Some(then)) => now < then,
            (None, _) => false,
        };
        if is_back {
            return Some("the walk goes back");
        }
        if before.above.iter().any(|it| !self.has(it)) {
            return Some("a turn is forgotten");
        }
        None
    }
}

/// I7: receipts and claims only grow.
fn receipts(messages: &[Message], held: &mut Held) {
    let mut last: BTreeMap<&str, Progress> = BTreeMap::new();
    let mut idle: BTreeMap<&str, u64> = BTreeMap::new();
    for message in messages {
        held.n_receipts += 1;
        let Some(now) = progress(&message.payload, message.at_us) else {
            let text = format!("I7: {} holds something else", message.subject);
            held.violations.push(text);
            continue;
        };
        let most = idle.entry(&message.subject).or_default();
        *most = (*most).max(now.n_idle);
        if let Some(before) = last.get(message.subject.as_str()) {
            if let Some(why) = now.shrinks(before) {
                held.violations
                    .push(format!("I7: {}: {why}", message.subject));
            }
            if now.claim.1 == before.claim.1 && now.nonce != before.nonce {
                held.n_takeovers += 1;
                held.takeovers.push(takeover(message, before, &now));
            }
        }
        last.insert(&message.subject, now);
    }
    for n in idle.into_values().filter(|it| *it > 1) {
        *held.idle_claims.entry(n).or_default() += 1;
    }
    held.n_pending = last.values().map(|it| it.n_later).sum();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(receipts: &[&str]) -> usize {
        let message = |it: &&str| Message {
            subject: "fanfare.receipt.e.ios-bulk.0".into(),
            id: String::new(),
            at_us: 0,
            payload: it.as_bytes().to_vec(),
        };
        let messages: Vec<_> = receipts.iter().map(message).collect();
        let mut held = Held::default();
        super::receipts(&messages, &mut held);
        held.violations.len()
    }

    #[test]
    fn a_receipt_that_takes_something_back_is_seen() {
        let receipt = |claim: (u64, u64), low: &str, above: &str| {
            format!(
                r#"{{"claim":{{"epoch":1,"pass":1,"delivered":{},"nonce":{}}},"low":{low},"above":[{above}]}}"#,
                claim.0, claim.1
            )
        };
        let first = receipt((1, 7), "\"05\"", "\"08\"");
        let grown = receipt((1, 7), "\"09\"", "");
        let taken = receipt((2, 8), "null", "");
        assert_eq!(found(&[&first, &grown, &taken]), 0);
        assert_eq!(found(&[&taken, &first]), 1, "older claim");
        assert_eq!(found(&[&first, &receipt((1, 9), "\"09\"", "")]), 1, "equal");
        assert_eq!(
            found(&[&first, &receipt((2, 9), "\"04\"", "\"08\"")]),
            1,
            "back"
        );
        assert_eq!(
            found(&[&first, &receipt((2, 9), "\"06\"", "")]),
            1,
            "forgotten"
        );
    }
}
