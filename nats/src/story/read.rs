//! Fetching what is judged: small reads, each from the leader, and bulk reads where there is much.

mod case;
mod events;
mod named;
mod stretch;
mod tally;

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use futures::StreamExt;
use jiff::Timestamp;
use thiserror::Error;

pub use self::case::Letters;
pub use self::events::{Standings, StoredEvent};
pub use self::named::Named;
pub use self::stretch::{StoredReceipt, Stretch};
use super::census::{Census, Draft};
use crate::connect::Broker;
use crate::consumer::{Patience, one_reading};
use crate::control::{is_marker, kv_subject};
use crate::dead::DeadLetter;
use crate::device::{AppName, Device, DeviceId};
use crate::event::EventId;
use crate::genuine;
use crate::hash::DeviceHash;
use crate::plan::{Lane, Plan};
use crate::receipt::Receipt;
use crate::subject::Subject;

/// Receipts of a plan with more tasks are fetched in bulk.
const SINGLES_UP_TO: u32 = 4;
/// Messages of one bulk pull.
const BATCH: usize = 2000;

/// Why something could not be read. What was read so far says nothing.
#[derive(Debug, Error)]
#[error("{what} could not be read: {why}")]
pub struct StoryError {
    what: String,
    why: String,
}

fn unread(what: &str) -> impl Fn(&dyn std::fmt::Display) -> StoryError + use<> {
    let what = what.to_owned();
    move |why| StoryError {
        what: what.clone(),
        why: why.to_string(),
    }
}

/// What stands under a device's id.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// A document.
    Stands {
        /// Its revision.
        revision: u64,
        /// When it was written.
        at: Timestamp,
        /// What it says.
        device: Box<Device>,
    },
    /// It was removed; what it said is not kept.
    Removed {
        /// Revision of the removal.
        revision: u64,
        /// When.
        at: Timestamp,
    },
    /// Never heard of, or removed longer ago than is remembered.
    Unknown,
}

/// A dead letter as it lies in its stream.
#[derive(Clone, Debug)]
pub struct Buried {
    /// Its sequence.
    pub seq: u64,
    /// What it says.
    pub letter: DeadLetter,
}

fn at(message: &StreamMessage) -> Timestamp {
    Timestamp::from_nanosecond(message.time.unix_timestamp_nanos()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn receipt(subject: &str, message: &StreamMessage) -> Result<Receipt, StoryError> {
    Receipt::decode(&message.payload).map_err(|error| unread(subject)(&error))
}

impl Broker {
    async fn stream_of(&self, name: String) -> Result<Stream<()>, StoryError> {
        let stream = self.reads.get_stream_no_info(&name).await;
        stream.map_err(|error| unread(&name)(&error))
    }

    /// The first message of a subject at or behind a sequence, from the leader.
    async fn message_from(
        &self,
        stream: &Stream<()>,
        subject: &str,
        seq: u64,
    ) -> Result<Option<StreamMessage>, StoryError> {
        match stream.get_first_raw_message_by_subject(subject, seq).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::InvalidSubject
                | RawMessageErrorKind::JetStream(_)
                | RawMessageErrorKind::Other => Err(unread(subject)(&error)),
            },
        }
    }

    /// Every receipt of an event, in the order of the stream, with its sequence.
    ///
    /// # Errors
    /// [`StoryError`]; also for a receipt that is not readable, which makes every sum doubtful.
    pub async fn each_receipt(
        &self,
        plan: &Plan,
        mut take: impl FnMut(&Lane, u32, u64, Receipt) + Send,
    ) -> Result<(), StoryError> {
        if plan.n_tasks() <= SINGLES_UP_TO {
            for task in plan.tasks() {
                let n = task.range.index();
                for (seq, receipt) in self.receipt_chain(&plan.event, &task.lane, n).await? {
                    take(&task.lane, n, seq, receipt);
                }
            }
            return Ok(());
        }
        let filter = self.names.event_receipts(&plan.event);
        self.each_message(self.names.receipts(), filter, |subject, seq, payload| {
            let Ok(Subject::Receipt { lane, n, .. }) = self.names.parse(subject) else {
                return Ok(());
            };
            let receipt = Receipt::decode(payload).map_err(|error| unread(subject)(&error))?;
            take(&lane, n, seq, receipt);
            Ok(())
        })
        .await
    }

    /// All receipts of one task.
    ///
    /// # Errors
    /// As [`Broker::each_receipt`].
    pub async fn receipt_chain(
        &self,
        event: &EventId,
        lane: &Lane,
        n: u32,
    ) -> Result<Vec<(u64, Receipt)>, StoryError> {
        let subject = self.receipt_subject(event, lane, n);
        let stream = self.stream_of(self.names.receipts()).await?;
        let (mut chain, mut from) = (Vec::new(), 1);
        while let Some(message) = self.message_from(&stream, &subject, from).await? {
            from = message.sequence + 1;
            if !genuine::is_receipt(&subject, &message.headers) {
                continue;
            }
            chain.push((message.sequence, receipt(&subject, &message)?));
        }
        Ok(chain)
    }

    fn receipt_subject(&self, event: &EventId, lane: &Lane, n: u32) -> String {
        self.names.subject(&Subject::Receipt {
            event: event.clone(),
            lane: lane.clone(),
            n,
        })
    }

    async fn each_message(
        &self,
        stream: String,
        filter_subject: String,
        mut take: impl FnMut(&str, u64, &[u8]) -> Result<(), StoryError> + Send,
    ) -> Result<(), StoryError> {
        let failed = unread(&filter_subject);
        let stream = self.context.get_stream_no_info(stream).await;
        let consumer = stream
            .map_err(|error| failed(&error))?
            .create_consumer(pull::Config {
                deliver_policy: DeliverPolicy::All,
                filter_subject,
                ..one_reading()
            })
            .await
            .map_err(|error| failed(&error))?;
        let mut left = consumer.cached_info().num_pending;
        let mut patience = Patience::default();
        while left > 0 {
            let mut batch = consumer
                .batch()
                .max_messages(BATCH)
                .expires(Duration::from_secs(5))
                .messages()
                .await
                .map_err(|error| failed(&error))?;
            let before = left;
            let mut is_early = false;
            while let Some(message) = batch.next().await {
                let message = match message {
                    Ok(message) => message,
                    Err(error) if patience.bears(&error).await => {
                        is_early = true;
                        break;
                    }
                    Err(error) => return Err(failed(&error)),
                };
                let (seq, pending) = {
                    let info = message.info().map_err(|error| failed(&error))?;
                    (info.stream_sequence, info.pending)
                };
                left = pending;
                let headers = message.headers.as_ref();
                if headers.is_some_and(|it| genuine::is_receipt(&message.subject, it)) {
                    take(&message.subject, seq, &message.payload)?;
                }
                if left == 0 {
                    break;
                }
            }
            if left == before && !is_early {
                return Err(failed(&"the reading stands still"));
            }
        }
        Ok(())
    }

    /// All device documents; `told` hears their number now and then.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn census(&self, mut told: impl FnMut(usize) + Send) -> Result<Census, StoryError> {
        let mut draft = Draft::default();
        let loaded = self.load_devices(|change, revision| {
            draft.note(&change, revision);
            if draft.len().is_multiple_of(4096) {
                told(draft.len());
            }
        });
        let loaded = loaded.await;
        loaded.map_err(|error| unread("the device bucket")(&error))?;
        Ok(draft.sealed())
    }

    /// What stands under a device's id, from the leader.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn document(&self, id: &DeviceId) -> Result<Document, StoryError> {
        let failed = unread("the device's document");
        let bucket = self.names.devices_bucket();
        let subject = kv_subject(&bucket, &format!("d.{id}"));
        let last = self.last_message(&format!("KV_{bucket}"), &subject).await;
        let Some(last) = last.map_err(|error| failed(&error))? else {
            return Ok(Document::Unknown);
        };
        let (revision, at) = (last.sequence, at(&last));
        if is_marker(&last.headers) {
            return Ok(Document::Removed { revision, at });
        }
        let device = Device::decode(&last.payload).map_err(|error| failed(&error))?;
        Ok(Document::Stands {
            revision,
            at,
            device: Box::new(device),
        })
    }

    /// The dead letters of one device, and those of whole tasks, of an event.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn letters(
        &self,
        event: &EventId,
        app: &AppName,
        device: DeviceHash,
    ) -> Result<Vec<Buried>, StoryError> {
        let prefix = self.names.prefix();
        let filters = [
            format!("{prefix}.dead.refused.{event}.{app}.{device}"),
            format!("{prefix}.dead.poison.{event}.{app}.*"),
        ];
        let stream = self.stream_of(self.names.dead()).await?;
        let mut found = Vec::new();
        for filter in filters {
            let mut from = 1;
            while let Some(message) = self.message_from(&stream, &filter, from).await? {
                from = message.sequence + 1;
                if let Ok(letter) = serde_json::from_slice(&message.payload) {
                    let seq = message.sequence;
                    found.push(Buried { seq, letter });
                }
            }
        }
        found.sort_by_key(|it| it.seq);
        Ok(found)
    }
}
