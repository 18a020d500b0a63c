//! A token that is somebody else's: the registration waits until whoever holds the token has confirmed
//! it.
//!
//! Whose a token is, the documents say (`device/holding.rs` of the nats crate), and what this process
//! knows of them may be late. So it never gives a token away: a document that was taken in too early is
//! sent nothing, and is challenged here when it is noticed ([`keep`]).
//!
//! The nonce is told by the push alone: of it the document has a hash, and nothing that is read shows its
//! event. One token is challenged once a minute, whoever asks for it: the minute and a hash of the token
//! are the event's identity, which is stored once.

use std::time::Duration;

use fanfare_nats::bucket::{Expect, ReadDeviceError, WriteDeviceError};
use fanfare_nats::event::{CHALLENGE, Content, Guarantee, SourceName};
use fanfare_nats::events::ReadEventError;
use fanfare_nats::key::{NewSecret, SecretHash};
use fanfare_nats::policy::Retry;
use fanfare_nats::publish::{PublishEventError, Published};
use fanfare_nats::{Broker, Device, DeviceId, Event, Level, ScreenId, Token, Topic, Urgency, fail};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use serde_json::Map;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::known::Known;
use crate::metric::Metrics;

/// The `CloudEvents` type of a challenge.
const KIND: &str = "fanfare.challenge";
/// How long a challenge may be answered.
const LASTS: SignedDuration = SignedDuration::from_mins(10);
/// Seconds in which a token is challenged once.
const WINDOW_S: i64 = 60;
/// Devices that are challenged between two pauses.
const AT_ONCE: usize = 64;
/// The longest pause between two looks for devices that were taken in too early.
const PAUSE: Duration = Duration::from_secs(1);

/// A document to be stored, and the nonce to be sent when it is.
pub(super) struct Judged {
    pub(super) device: Device,
    pub(super) nonce: Option<NewSecret>,
}

/// What became of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Now,
    /// The token was challenged a moment ago; so many seconds later it may be again.
    NotBefore(i64),
}

/// Why a device was not challenged that should be; it is tried again at the next change.
#[derive(Debug, Error)]
enum Missed {
    #[error("the document could not be read")]
    Read(#[from] ReadDeviceError),
    #[error("the document could not be written")]
    Write(#[from] WriteDeviceError),
    #[error("the challenge could not be stored")]
    Publish(#[from] PublishEventError),
}

/// Lets a registration wait whose token is somebody else's.
///
/// # Errors
/// What was sent before could not be read.
pub(super) async fn judge(
    broker: &Broker,
    known: &Known,
    id: &DeviceId,
    device: Device,
    before: Option<&Device>,
    now: Timestamp,
) -> Result<Judged, ReadEventError> {
    if !is_anothers(broker, known, id, &device).await {
        let nonce = None;
        return Ok(Judged { device, nonce });
    }
    let asked = before.and_then(|it| it.pending.as_ref());
    if let Some(asked) = asked.filter(|it| it.token == device.token)
        && now.duration_since(asked.asked_at).as_secs() < WINDOW_S
        && is_sent(broker, &asked.token, asked.asked_at, &asked.nonce).await?
    {
        let mut device = device.waiting(asked.nonce, asked.asked_at, asked.expires_at);
        if let Some(pending) = &mut device.pending {
            pending.n_wrong = asked.n_wrong;
        }
        let nonce = None;
        return Ok(Judged { device, nonce });
    }
    Ok(waiting(device, now))
}

/// Whether the token is somebody else's. Who says yes asks once more when he knows everything: the other
/// device may have given the token up this moment, as when one logs out and another in.
async fn is_anothers(broker: &Broker, known: &Known, id: &DeviceId, device: &Device) -> bool {
    if !known.must_be_confirmed(id, device).await {
        return false;
    }
    known.catch_up(broker).await;
    known.must_be_confirmed(id, device).await
}

fn waiting(device: Device, now: Timestamp) -> Judged {
    let nonce = NewSecret::nonce();
    Judged {
        device: device.waiting(nonce.hash(), now, now + LASTS),
        nonce: Some(nonce),
    }
}

/// By what a challenge is stored once. Nobody can post it, or stand in its way: what clients write has no
/// control characters, and no tenant is called so.
fn item(token: &Token, at: Timestamp) -> String {
    let window = at.as_second().div_euclid(WINDOW_S);
    format!("Challenge\u{1f}{}-{window}", token.alias())
}

/// Whether this nonce is on its way: who made it may have died before he sent it, and another device may
/// have been challenged for the token.
async fn is_sent(
    broker: &Broker,
    token: &Token,
    at: Timestamp,
    nonce: &SecretHash,
) -> Result<bool, ReadEventError> {
    let source = SourceName::api();
    let screen = ScreenId::new(&source, &item(token, at));
    let stored = broker.stored_event(&source, &screen, &Level::First).await?;
    let stored = stored.and_then(|(_, event)| SecretHash::of_nonce(event.challenge()?));
    Ok(stored.is_some_and(|it| it.is_same(nonce)))
}

/// Sends the nonce to the token, after the document that waits for it is stored.
///
/// # Errors
/// It is not known to be on its way; the same registration again sends another.
pub(super) async fn send(
    broker: &Broker,
    metrics: &Metrics,
    id: &DeviceId,
    device: &Device,
    nonce: &NewSecret,
) -> Result<Sent, PublishEventError> {
    let Some(event) = event(id, device, nonce) else {
        return Ok(Sent::Now);
    };
    fail::point("challenge.due");
    match broker.publish(&event, false).await? {
        Published::Stored(_) => {
            fail::point("challenge.sent");
            metrics.challenge_sent();
            Ok(Sent::Now)
        }
        Published::Already => {
            let now = event.occurred_at.unwrap_or(event.expires_at);
            Ok(Sent::NotBefore(
                WINDOW_S - now.as_second().rem_euclid(WINDOW_S),
            ))
        }
    }
}

fn event(id: &DeviceId, device: &Device, nonce: &NewSecret) -> Option<Event> {
    let pending = device.pending.as_ref()?;
    let mut data = Map::new();
    data.insert(CHALLENGE.to_owned(), nonce.reveal().into());
    Some(Event {
        source: SourceName::api(),
        item: item(&pending.token, pending.asked_at),
        level: Level::First,
        topics: vec![Topic::of_challenge(id)],
        kind: KIND.to_owned(),
        occurred_at: Some(pending.asked_at),
        expires_at: pending.expires_at,
        urgency: Urgency::Urgent,
        guarantee: Guarantee::AtLeastOnce,
        retry: Retry::DEFAULT,
        digest: None,
        traceparent: None,
        content: Content {
            title: "Confirm this device".to_owned(),
            body: Some("Open the app to get notifications here.".to_owned()),
            data,
            ..Content::default()
        },
    })
}

/// Challenges, until `stop`, devices that were taken in before it was known here, or there, whose the token
/// is. Every API does it, and of several that notice one writes the document.
///
/// Dropping the future ends it; the next change, or the next process, goes on.
pub(crate) fn keep(
    known: &Known,
    broker: &Broker,
    metrics: &Metrics,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    notice(known.clone(), broker.clone(), metrics.clone(), stop.clone())
}

async fn notice(known: Known, broker: Broker, metrics: Metrics, stop: CancellationToken) {
    let Some(mut changes) = known.changes() else {
        return;
    };
    let work = async {
        loop {
            let contested = known.contested(AT_ONCE);
            if contested.as_ref().is_some_and(Vec::is_empty) && changes.changed().await.is_err() {
                return; // Nobody follows the devices any more.
            }
            for id in contested.unwrap_or_default() {
                if let Err(error) = challenge(&known, &broker, &metrics, &id, clock::now()).await {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(error, device.id = %id, "a device is not challenged yet");
                }
            }
            let pause = PAUSE.mul_f64(rand::rng().random_range(0.25..1.0));
            sleep(pause).await;
        }
    };
    let _stopped = stop.run_until_cancelled(work).await;
}

/// Lets a device wait that does not, and sends it its challenge.
async fn challenge(
    known: &Known,
    broker: &Broker,
    metrics: &Metrics,
    id: &DeviceId,
    now: Timestamp,
) -> Result<(), Missed> {
    let Some(stored) = broker.device(id).await? else {
        return Ok(());
    };
    let device = stored.device;
    if device.pending.is_some() || !is_anothers(broker, known, id, &device).await {
        return Ok(());
    }
    let Judged { device, nonce } = waiting(device, now);
    let expect = Expect::Revision(stored.revision);
    match broker.put_device(id, &device, expect).await {
        Ok(_) => {}
        Err(WriteDeviceError::Conflict) => return Ok(()), // Another one was first, or it was written anew.
        Err(error) => return Err(error.into()),
    }
    if let Some(nonce) = nonce {
        send(broker, metrics, id, &device, &nonce).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fanfare_nats::AppName;
    use fanfare_nats::device::Holding;

    use super::*;

    fn asked(second: i64) -> (Device, NewSecret) {
        let device = Device {
            app: AppName::parse("ios").unwrap(),
            token: Token::parse("a-token-of-somebody").unwrap(),
            user: None,
            locale: None,
            time_zone: None,
            subscriptions: Vec::new(),
            registered_at: Timestamp::UNIX_EPOCH,
            last_seen: None,
            secret: None,
            holding: Holding::default(),
            pending: None,
        };
        let judged = waiting(device, Timestamp::from_second(second).unwrap());
        (judged.device, judged.nonce.unwrap())
    }

    fn made(id: &str, second: i64) -> Event {
        let (device, nonce) = asked(second);
        event(&DeviceId::parse_stored(id).unwrap(), &device, &nonce).unwrap()
    }

    #[test]
    fn a_token_has_one_challenge_a_minute_whichever_device_and_tenant_asks() {
        let first = made("his", 60);
        assert_eq!(first.id(), made("another", 119).id());
        assert_eq!(first.id(), made("acme=his", 61).id());
        assert_ne!(first.id(), made("his", 120).id());
    }

    #[test]
    fn a_challenge_tells_the_nonce_and_neither_token_nor_hash() {
        let (device, nonce) = asked(60);
        let id = DeviceId::parse("his").unwrap();
        let event = event(&id, &device, &nonce).unwrap();
        assert!(event.is_challenge());
        assert_eq!(event.challenge(), Some(nonce.reveal()));
        assert!(!format!("{event:?}").contains("a-token-of"), "{event:?}");
        let pending = device.pending.unwrap();
        assert!(pending.nonce.is_same(&nonce.hash()));
        assert_eq!(event.expires_at, pending.asked_at + LASTS);
    }
}
