//! Stores the document of a registration.
//!
//! A write reads the document, judges the preconditions and writes at exactly the revision it read;
//! if another write came first, it starts over. So a token's `registered_at` is never taken from a
//! document that was replaced meanwhile, and of two `If-Match` writers exactly one wins. What may be
//! a new device is first written as one, unread. A token that is somebody else's is challenged first
//! (`challenge`).

use fanfare_nats::bucket::Expect;
use fanfare_nats::key::NewSecret;
use fanfare_nats::{Device, DeviceId, fail};
use jiff::Timestamp;

use super::challenge::{self, Judged, Sent};
use super::document::Wanted;
use super::{Found, again_or, find, judge};
use crate::access::Caller;
use crate::call::unavailable;
use crate::precondition::Preconditions;
use crate::problem::{Kind, Problem};
use crate::router::Api;

/// Who writes, and on what conditions.
pub(crate) struct Writer<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) preconditions: &'a Preconditions,
    /// The device's, if it gets one.
    pub(crate) secret: Option<&'a NewSecret>,
    /// Nothing is known of such a device; what there is may be newer.
    pub(crate) seems_new: bool,
    pub(crate) now: Timestamp,
}

impl Writer<'_> {
    /// Whether it seems to write where there is nothing, and may. Then that is tried before anything
    /// is read, and it is the broker who says that there is something.
    fn may_create(&self, wanted: &Wanted) -> bool {
        let may = self.caller.may_write(Ok(None), wanted.claim());
        self.seems_new && may.is_ok() && self.preconditions.judge(None).is_ok()
    }
}

/// What was stored.
pub(crate) struct Written {
    pub(super) device: Device,
    pub(super) revision: u64,
    pub(crate) is_new: bool,
    /// Of one that waits.
    pub(super) challenge: Sent,
}

impl Written {
    /// Whether the token is somebody else's, so that it waits.
    pub(crate) fn is_pending(&self) -> bool {
        self.device.pending.is_some()
    }
}

/// Stores a document.
///
/// # Errors
/// A problem; what became of the write may be unknown.
pub(crate) async fn write(
    api: &Api,
    id: &DeviceId,
    wanted: Wanted,
    writer: &Writer<'_>,
) -> Result<Written, Problem> {
    let broker = &api.broker;
    let mut is_guess = writer.may_create(&wanted);
    loop {
        let found = if is_guess {
            Found::Nothing
        } else {
            find(broker, id).await?
        };
        // First: a precondition tells what there is.
        let leave = writer.caller.may_write(found.device(), wanted.claim())?;
        let (expect, before) = match &found {
            Found::Nothing => (Expect::Absent, None),
            Found::Device(stored) => (Expect::Revision(stored.revision), Some(&stored.device)),
            Found::Unreadable => (Expect::Any, None),
        };
        judge(writer.preconditions, &found)?;
        let wanted = wanted.clone();
        let device = wanted.over(before, leave, writer.secret, writer.now);
        let place = api.places.take(broker, &api.known, id, &device, before);
        let place = match place.await {
            Ok(place) => place,
            Err(_) if is_guess => {
                is_guess = false; // What is there may be his already.
                continue;
            }
            Err(problem) => return Err(problem),
        };
        let judged = challenge::judge(broker, &api.known, id, device, before, writer.now).await;
        let Judged { device, nonce } = judged.map_err(|error| unavailable(&error))?;
        fail::point("api.before-write");
        match broker.put_device(id, &device, expect).await {
            Ok(revision) => {
                fail::point("api.written");
                if let Some(place) = place {
                    place.stored(revision);
                }
                let is_new = expect == Expect::Absent;
                let challenge = match nonce {
                    Some(nonce) => send(api, id, &device, &nonce).await?,
                    None => Sent::Now,
                };
                return Ok(Written {
                    device,
                    revision,
                    is_new,
                    challenge,
                });
            }
            Err(error) => again_or(error, writer.preconditions)?,
        }
        is_guess = false;
    }
}

async fn send(
    api: &Api,
    id: &DeviceId,
    device: &Device,
    nonce: &NewSecret,
) -> Result<Sent, Problem> {
    let sent = challenge::send(&api.broker, &api.metrics, id, device, nonce).await;
    sent.map_err(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::debug!(error, device.id = %id, "a challenge may not have been sent");
        Problem::new(
            Kind::BrokerUnavailable,
            "the device is stored and waits for a confirmation, and its challenge may not have been \
             sent: send the same again",
        )
    })
}
