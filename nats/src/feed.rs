//! The device bucket as a stream of changes: a bulk load, then the ordered watch behind it.

use std::time::Duration;

use async_nats::jetstream::consumer::push::{OrderedError, OrderedErrorKind};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::kv::{Operation, Watch, WatcherError};
use async_nats::jetstream::stream::RawMessageErrorKind;
use futures::StreamExt;
use jiff::Timestamp;
use rand::Rng;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connect::Broker;
use crate::consumer::{Patience, one_reading};
use crate::control::{is_marker, kv_subject};
use crate::device::{Device, DeviceId};

/// Messages of one pull of the load; measured to be near the best.
const LOAD_BATCH: usize = 5000;

/// How long a watch tries to resume before it gives up: an election takes 4 to 11 s.
const RESUME_WITHIN: Duration = Duration::from_secs(20);

/// One change of the bucket, in the order of revisions.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A document was stored.
    Put(DeviceId, Box<Device>),
    /// A document was removed.
    Removed(DeviceId),
    /// A later version stored a document, whose schema this one does not know.
    Later(DeviceId, u32),
    /// A barrier, or a record that cannot be read (which is counted).
    Other,
}

/// Why the bucket cannot be followed at the moment; start over after a pause.
#[derive(Debug, Error)]
pub enum FeedError {
    /// The bucket or its consumer.
    #[error("the device bucket cannot be read: {0}")]
    Read(String),
    /// The watch ended.
    #[error("the watch of the device bucket ended")]
    Ended,
}

/// What the broker says of a change besides what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it was stored, by the broker's clock.
    pub stored_at: Timestamp,
    /// Nothing was stored behind it when the broker sent it.
    pub is_last: bool,
}

/// The consumer of a load stands after 2.4 s on a million keys (measured). A server that was cut off
/// from the others never answers, also not when it is back: so a load begins anew before long.
const CREATED_WITHIN: Duration = Duration::from_secs(10);

/// The watch behind a load.
#[expect(missing_debug_implementations, reason = "the client's watch has none")]
pub struct DeviceWatch {
    watch: Watch,
    last: u64,
    heard: Option<Heard>,
    reconnects: watch::Receiver<u64>,
    is_stale: bool,
    broker: Broker,
}

impl Broker {
    fn change(&self, key: &str, value: &[u8], is_removal: bool) -> Change {
        let Some(id) = key.strip_prefix("d.") else {
            return Change::Other;
        };
        let Ok(id) = DeviceId::parse_stored(id) else {
            self.metrics.skipped_records.inc();
            return Change::Other;
        };
        if is_removal {
            return Change::Removed(id);
        }
        match Device::decode(value) {
            Ok(device) => Change::Put(id, Box::new(device)),
            Err(error) => {
                if let Some(schema) = error.later() {
                    self.metrics.later_schemas.inc();
                    return Change::Later(id, schema);
                }
                self.metrics.skipped_records.inc();
                tracing::warn!(device.id = %id, error = &error as &dyn std::error::Error, "device skipped");
                Change::Other
            }
        }
    }

    /// Number of documents, about; for reserving room and showing progress.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn n_devices(&self) -> Result<usize, FeedError> {
        let name = format!("KV_{}", self.names.devices_bucket());
        let stream = self.reads.get_stream(&name).await.map_err(read)?;
        usize::try_from(stream.cached_info().state.messages).map_err(read)
    }

    /// The revision of the last write there was.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn last_device_revision(&self) -> Result<u64, FeedError> {
        let name = format!("KV_{}", self.names.devices_bucket());
        let stream = self.reads.get_stream(&name).await.map_err(read)?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// The first revision from `from` on that still stands, from the leader.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn next_device_revision(&self, from: u64) -> Result<Option<u64>, FeedError> {
        let bucket = self.names.devices_bucket();
        let name = format!("KV_{bucket}");
        let stream = self.reads.get_stream_no_info(&name).await.map_err(read)?;
        let keys = kv_subject(&bucket, ">");
        match stream.get_first_raw_message_by_subject(keys, from).await {
            Ok(message) => Ok(Some(message.sequence)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(read(error)),
        }
    }

    /// Hands every document to `apply` with its revision; returns the revision to watch from.
    ///
    /// That is the highest revision that was shown, and not the last one that the bucket has: the
    /// consumer may sit on a server that has just come back and lags behind the leader. What is between
    /// the two would never be seen (seen: devices missing, and removed ones pushed to, for as long as
    /// the process lived).
    ///
    /// Dropping the future stops the load; start over then.
    ///
    /// # Errors
    /// [`FeedError::Read`]: start over after a pause.
    pub async fn load_devices(
        &self,
        mut apply: impl FnMut(Change, u64) + Send,
    ) -> Result<u64, FeedError> {
        let bucket = self.names.devices_bucket();
        let name = format!("KV_{bucket}");
        let stream = self.context.get_stream_no_info(&name).await.map_err(read)?;
        let creation = stream.create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: kv_subject(&bucket, "d.>"),
            ..one_reading()
        });
        let consumer = tokio::time::timeout(CREATED_WITHIN, creation)
            .await
            .map_err(read)?
            .map_err(read)?;
        let mut left = consumer.cached_info().num_pending;
        let prefix = kv_subject(&bucket, "");
        let mut seen = 0;
        let mut patience = Patience::default();
        while left > 0 {
            let mut batch = consumer
                .batch()
                .max_messages(LOAD_BATCH)
                .expires(Duration::from_secs(5))
                .messages()
                .await
                .map_err(read)?;
            let before = left;
            let mut is_early = false;
            while let Some(message) = batch.next().await {
                let message = match message {
                    Ok(message) => message,
                    Err(error) if patience.bears(&error).await => {
                        is_early = true;
                        break;
                    }
                    Err(error) => return Err(read(error)),
                };
                let (seq, pending) = {
                    let info = message.info().map_err(read)?;
                    (info.stream_sequence, info.pending)
                };
                left = pending;
                let key = message.subject.strip_prefix(&prefix).unwrap_or("");
                let is_removal = message.headers.as_ref().is_some_and(is_marker);
                seen = seen.max(seq);
                apply(self.change(key, &message.payload, is_removal), seq);
                if left == 0 {
                    break;
                }
            }
            if left == before && !is_early {
                return Err(FeedError::Read("the load stands still".to_owned()));
            }
        }
        Ok(seen)
    }

    /// Watches all changes after a revision.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn watch_devices(&self, after: u64) -> Result<DeviceWatch, FeedError> {
        Ok(DeviceWatch {
            watch: self.open_watch(after).await?,
            last: after,
            heard: None,
            reconnects: self.reconnects(),
            is_stale: false,
            broker: self.clone(),
        })
    }

    async fn open_watch(&self, after: u64) -> Result<Watch, FeedError> {
        let bucket = self.names.devices_bucket();
        let store = self.reads.get_key_value(bucket).await.map_err(read)?;
        let watch = store.watch_all_from_revision(after + 1).await;
        watch.map_err(read)
    }
}

fn read(error: impl std::fmt::Display) -> FeedError {
    FeedError::Read(error.to_string())
}

fn is_silence(error: &WatcherError) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|it| it.downcast_ref::<OrderedError>());
    cause.is_some_and(|it| it.kind() == OrderedErrorKind::MissingHeartbeat)
}

impl DeviceWatch {
    /// Begins the watch anew behind what it has shown last. The client's own watch notices that the
    /// server of its consumer died only after ten seconds, so call this when a change that must
    /// have happened is overdue.
    ///
    /// Dropping the future leaves the watch as it was.
    ///
    /// # Errors
    /// [`FeedError::Read`]: the watch is as it was.
    pub async fn resume(&mut self) -> Result<(), FeedError> {
        self.watch = self.broker.open_watch(self.last).await?;
        self.is_stale = false;
        Ok(())
    }

    async fn resume_patiently(&mut self) -> Result<(), FeedError> {
        let deadline = Instant::now() + RESUME_WITHIN;
        while let Err(error) = self.resume().await {
            if Instant::now() >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "the watch of the device bucket cannot resume yet");
            let pause = rand::rng().random_range(100..=300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    /// The next change and its revision, each greater than the one before. It resumes at once by
    /// itself after a lost connection.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FeedError`]: load again.
    pub async fn next(&mut self) -> Result<(Change, u64), FeedError> {
        let entry = loop {
            if self.is_stale {
                self.resume_patiently().await?;
            }
            let entry = tokio::select! {
                biased;
                Ok(()) = self.reconnects.changed() => {
                    self.is_stale = true;
                    continue;
                }
                entry = self.watch.next() => entry.ok_or(FeedError::Ended)?,
            };
            match entry {
                Ok(entry) if entry.revision > self.last => break entry,
                Ok(_) => {}
                Err(error) if is_silence(&error) => self.is_stale = true,
                Err(error) => return Err(read(error)),
            }
        };
        self.last = entry.revision;
        let is_removal = match entry.operation {
            Operation::Put => false,
            Operation::Delete | Operation::Purge => true,
        };
        let change = self.broker.change(&entry.key, &entry.value, is_removal);
        if let Ok(stored_at) = Timestamp::from_nanosecond(entry.created.unix_timestamp_nanos()) {
            if matches!(change, Change::Other) {
                self.broker.barrier_echo.came_back(&entry.value, stored_at);
            }
            self.heard = Some(Heard {
                stored_at,
                is_last: entry.delta == 0,
            });
        }
        Ok((change, entry.revision))
    }

    /// What the broker said of the change that [`Self::next`] gave last.
    pub fn heard(&self) -> Option<Heard> {
        self.heard
    }
}
