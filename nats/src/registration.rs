//! Registrations one after another, for what looks after them: who has not been seen for long.

use std::time::Duration;

use async_nats::jetstream::stream::RawMessageErrorKind;
use jiff::Timestamp;

use crate::connect::Broker;
use crate::control::{ControlError, Created, is_marker, kv_subject};
use crate::device::{Device, DeviceId};
use crate::feed::FeedError;

/// A document as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Of which device.
    pub id: DeviceId,
    /// Its revision.
    pub revision: u64,
    /// When it was written, by the broker's clock.
    pub written_at: Timestamp,
    /// What it says.
    pub device: Device,
}

impl Broker {
    /// The first document at or behind a revision, from the leader. What is no document, or cannot be
    /// read, is passed over: it is somebody else's to tell.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn registration_from(
        &self,
        revision: u64,
    ) -> Result<Option<Registration>, FeedError> {
        let read = |error: &dyn std::fmt::Display| FeedError::Read(error.to_string());
        let bucket = self.names.devices_bucket();
        let stream = self.reads.get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| read(&error))?;
        let (all, prefix) = (kv_subject(&bucket, "d.*"), kv_subject(&bucket, "d."));
        let mut from = revision.max(1);
        loop {
            let next = stream.get_first_raw_message_by_subject(all.as_str(), from);
            let message = match next.await {
                Ok(message) => message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                    return Ok(None);
                }
                Err(error) => return Err(read(&error)),
            };
            from = message.sequence + 1;
            let id = message.subject.strip_prefix(&prefix);
            let id = id.and_then(|it| DeviceId::parse_stored(it).ok());
            let device = Device::decode(&message.payload).ok();
            let nanoseconds = message.time.unix_timestamp_nanos();
            let at = Timestamp::from_nanosecond(nanoseconds).ok();
            if is_marker(&message.headers) {
                continue;
            }
            if let (Some(id), Some(device), Some(written_at)) = (id, device, at) {
                return Ok(Some(Registration {
                    id,
                    revision: message.sequence,
                    written_at,
                    device,
                }));
            }
        }
    }

    /// Whether this call takes the turn to look after registrations: one does within a period. Nobody is
    /// elected; were there two, they would do the same twice.
    ///
    /// # Errors
    /// [`ControlError`]: nobody knows, so it is not this one's turn.
    pub async fn take_sweep(&self, period: Duration) -> Result<bool, ControlError> {
        let by = self.node().as_bytes().to_vec().into();
        let taken = self.control_create_for("sweep.turn", by, Some(period));
        Ok(matches!(taken.await?, Created::Mine(_)))
    }

    /// Since when registrations expire after this time: whoever says it first says it for all, so that
    /// a rule that is new, or another one, removes nothing before everybody could be warned.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn sweeping_since(
        &self,
        expires_after: Duration,
        now: Timestamp,
    ) -> Result<Timestamp, ControlError> {
        let key = format!("sweep.since-{}", expires_after.as_secs());
        let said = now.to_string().into_bytes().into();
        match self.control_create_for(&key, said, None).await? {
            Created::Mine(_) => Ok(now),
            Created::Theirs(record) => {
                let since = std::str::from_utf8(&record.value).ok();
                // What nobody can read protects everybody.
                Ok(since.and_then(|it| it.parse().ok()).unwrap_or(now))
            }
        }
    }
}
