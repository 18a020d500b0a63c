//! The device bucket: guarded writes that return the revision of the put, and barriers.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::{ReadError, is_marker, kv_subject};
use crate::device::{DecodeDeviceError, Device, DeviceId};
use crate::request::{Answer, Refusal, expecting, header};

/// How long deletions are remembered (design section 5) unless the configuration says otherwise:
/// followers that were away longer rebuild.
pub const MARKER_TTL: Duration = Duration::from_hours(7 * 24);
/// Names one write among all. Not the message id, of which the server would remember every one for
/// two minutes: a hundred megabytes while a million devices register.
const WRITE: &str = "Fanfare-Write";
/// How long a caller is kept waiting while the broker elects; then it is told to come again.
const BUDGET: Duration = Duration::from_secs(2);

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Anything: the last write wins.
    Any,
    /// No such device.
    Absent,
    /// Exactly this revision.
    Revision(u64),
}

/// Why a device was not written.
#[derive(Debug, Error)]
pub enum WriteDeviceError {
    /// The document is not at the expected revision.
    #[error("the device is not as expected: another write came first")]
    Conflict,
    /// No quorum or no connection; it is not known whether the write will stand. Try again.
    #[error("the broker gave no final answer")]
    Unavailable,
    /// The bucket refuses.
    #[error("the broker refuses the write")]
    Refused(#[source] Refusal),
    /// The leader could not be read.
    #[error("the stored document could not be read")]
    Read(#[source] ReadError),
}

/// Why a device could not be read.
#[derive(Debug, Error)]
pub enum ReadDeviceError {
    /// The leader did not answer.
    #[error("the broker gave no final answer")]
    Unavailable(#[source] ReadError),
    /// The stored document is not readable.
    #[error("the stored document is not readable")]
    Decode(#[source] DecodeDeviceError),
}

/// A device as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Revision of the document.
    pub revision: u64,
    /// The document.
    pub device: Device,
}

impl Broker {
    /// Reads a device from the leader.
    ///
    /// # Errors
    /// [`ReadDeviceError`].
    pub async fn device(&self, id: &DeviceId) -> Result<Option<Stored>, ReadDeviceError> {
        let last = self
            .device_last(id)
            .await
            .map_err(ReadDeviceError::Unavailable)?;
        let Some(last) = last.filter(|it| !is_marker(&it.headers)) else {
            return Ok(None);
        };
        let mut device = Device::decode(&last.payload).map_err(ReadDeviceError::Decode)?;
        // Whoever writes it again with its token keeps its place among those who have the token.
        device.holding = device.holding.at(last.sequence);
        Ok(Some(Stored {
            revision: last.sequence,
            device,
        }))
    }

    async fn device_last(&self, id: &DeviceId) -> Result<Option<StreamMessage>, ReadError> {
        let bucket = self.names.devices_bucket();
        self.last_message(
            &format!("KV_{bucket}"),
            &kv_subject(&bucket, &format!("d.{id}")),
        )
        .await
    }

    /// Stores a device's document and returns its revision.
    ///
    /// Dropping the future leaves it unknown whether the document is stored.
    ///
    /// # Errors
    /// [`WriteDeviceError`]; after `Unavailable` the same write may be tried again.
    pub async fn put_device(
        &self,
        id: &DeviceId,
        device: &Device,
        expect: Expect,
    ) -> Result<u64, WriteDeviceError> {
        // Tells our own document from an equal one of another writer where its answer was lost: of
        // two who replace the same revision one is told that it was late, whatever both wrote.
        let mut headers = HeaderMap::new();
        let write = format!("{:x}", Self::nonce());
        headers.insert(WRITE, write.as_str());
        self.write_device(id, headers, device.encode().into(), expect)
            .await
    }

    /// Removes a device's document; `Ok(None)` if there was none.
    ///
    /// Dropping the future leaves it unknown whether it is removed.
    ///
    /// # Errors
    /// [`WriteDeviceError`].
    pub async fn delete_device(
        &self,
        id: &DeviceId,
        expect: Expect,
    ) -> Result<Option<u64>, WriteDeviceError> {
        if !self.is_connected() {
            return Err(WriteDeviceError::Unavailable);
        }
        let last = self.device_last(id).await.map_err(WriteDeviceError::Read)?;
        let Some(last) = last.filter(|it| !is_marker(&it.headers)) else {
            return match expect {
                Expect::Any | Expect::Absent => Ok(None),
                Expect::Revision(_) => Err(WriteDeviceError::Conflict),
            };
        };
        let expect = match expect {
            Expect::Absent => return Err(WriteDeviceError::Conflict),
            Expect::Revision(revision) if revision != last.sequence => {
                return Err(WriteDeviceError::Conflict);
            }
            Expect::Any => Expect::Any,
            Expect::Revision(revision) => Expect::Revision(revision),
        };
        let mut headers = HeaderMap::new();
        // Tells our own marker from another's where its answer was lost.
        let write = format!("{:x}", Self::nonce());
        headers.insert(WRITE, write.as_str());
        headers.insert(header::KV_OPERATION, "PURGE");
        headers.insert(header::ROLLUP, "sub");
        headers.insert(header::TTL, self.marker_ttl.as_secs().to_string().as_str());
        self.write_device(id, headers, Bytes::new(), expect)
            .await
            .map(Some)
    }

    async fn write_device(
        &self,
        id: &DeviceId,
        mut headers: HeaderMap,
        payload: Bytes,
        expect: Expect,
    ) -> Result<u64, WriteDeviceError> {
        if !self.is_connected() {
            return Err(WriteDeviceError::Unavailable); // The client would keep it and send it later.
        }
        let subject = kv_subject(&self.names.devices_bucket(), &format!("d.{id}"));
        let mut expected = match expect {
            Expect::Any => None,
            Expect::Absent => Some(0),
            Expect::Revision(revision) => Some(revision),
        };
        loop {
            if let Some(expected) = expected {
                for (name, values) in expecting(expected).iter() {
                    for value in values {
                        headers.insert(name.clone(), value.clone());
                    }
                }
            }
            match self
                .publish_until_known(&subject, &headers, &payload, BUDGET)
                .await
            {
                Answer::Stored { seq, .. } => return Ok(seq),
                Answer::Exists { .. } => {
                    let last = self.device_last(id).await.map_err(WriteDeviceError::Read)?;
                    match last {
                        // Our own write, whose answer was lost and whose retry was refused.
                        Some(last) if is_own(&last, &headers) => return Ok(last.sequence),
                        // A deletion's marker is the last value: create on top of it.
                        Some(last) if expect == Expect::Absent && is_marker(&last.headers) => {
                            expected = Some(last.sequence);
                        }
                        Some(_) | None => return Err(WriteDeviceError::Conflict),
                    }
                }
                Answer::Unknown(_) | Answer::BatchOpen => {
                    return Err(WriteDeviceError::Unavailable);
                }
                Answer::Refused(refusal) => return Err(WriteDeviceError::Refused(refusal)),
            }
        }
    }

    /// How long deletions are remembered.
    pub fn marker_ttl(&self) -> Duration {
        self.marker_ttl
    }

    /// Writes this process's barrier and returns its revision: whoever sees it in the watch has
    /// seen everything stored before.
    ///
    /// # Errors
    /// [`WriteDeviceError::Unavailable`] without a quorum; that is what makes a cut-off process
    /// stop sending.
    pub async fn put_barrier(&self) -> Result<u64, WriteDeviceError> {
        let subject = kv_subject(
            &self.names.devices_bucket(),
            &format!("b.{}", crate::hash::hex(self.node().as_bytes())),
        );
        let sign = format!("{:016x}", Self::nonce());
        self.barrier_echo.expect(&sign);
        let answer = self.ask(&subject, HeaderMap::new(), sign.into()).await;
        match answer {
            Answer::Stored { seq, .. } => Ok(seq),
            Answer::Exists { .. } | Answer::Unknown(_) | Answer::BatchOpen => {
                Err(WriteDeviceError::Unavailable)
            }
            Answer::Refused(refusal) => Err(WriteDeviceError::Refused(refusal)),
        }
    }
}

/// Whether a message is the one that was published with these headers.
fn is_own(last: &StreamMessage, headers: &HeaderMap) -> bool {
    let write = headers.get(WRITE);
    write.is_some() && last.headers.get(WRITE) == write
}
