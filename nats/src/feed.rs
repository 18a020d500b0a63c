//! The device bucket as a stream of changes: a bulk load, then the ordered watch behind it.

use std::time::Duration;

use async_nats::jetstream::consumer::push::{OrderedError, OrderedErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::kv::{Operation, Watch, WatcherError};
use futures::StreamExt;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::{is_marker, kv_subject};
use crate::device::{Device, DeviceId};

/// Messages of one pull of the load; measured to be near the best.
const LOAD_BATCH: usize = 5000;

/// One change of the bucket, in the order of revisions.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A document was stored.
    Put(DeviceId, Box<Device>),
    /// A document was removed.
    Removed(DeviceId),
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

/// The watch behind a load.
#[expect(missing_debug_implementations, reason = "the client's watch has none")]
pub struct DeviceWatch {
    watch: Watch,
    last: u64,
    broker: Broker,
}

impl Broker {
    fn change(&self, key: &str, value: &[u8], is_removal: bool) -> Change {
        let Some(id) = key.strip_prefix("d.") else {
            return Change::Other;
        };
        let Ok(id) = DeviceId::parse(id) else {
            self.metrics.skipped_records.inc();
            return Change::Other;
        };
        if is_removal {
            return Change::Removed(id);
        }
        match Device::decode(value) {
            Ok(device) => Change::Put(id, Box::new(device)),
            Err(error) => {
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
        let stream = self.context.get_stream(&name).await.map_err(read)?;
        usize::try_from(stream.cached_info().state.messages).map_err(read)
    }

    /// Hands every document to `apply` with its revision; returns the revision to watch from.
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
        let stream = self
            .context
            .get_stream(format!("KV_{bucket}"))
            .await
            .map_err(read)?;
        let last = stream.cached_info().state.last_sequence;
        let consumer = stream
            .create_consumer(pull::Config {
                deliver_policy: DeliverPolicy::LastPerSubject,
                ack_policy: AckPolicy::None,
                filter_subject: kv_subject(&bucket, "d.>"),
                memory_storage: true,
                num_replicas: 1,
                inactive_threshold: Duration::from_secs(30),
                ..pull::Config::default()
            })
            .await
            .map_err(read)?;
        let mut left = consumer.cached_info().num_pending;
        let prefix = kv_subject(&bucket, "");
        while left > 0 {
            let mut batch = consumer
                .batch()
                .max_messages(LOAD_BATCH)
                .expires(Duration::from_secs(5))
                .messages()
                .await
                .map_err(read)?;
            let before = left;
            while let Some(message) = batch.next().await {
                let message = message.map_err(read)?;
                let (seq, pending) = {
                    let info = message.info().map_err(read)?;
                    (info.stream_sequence, info.pending)
                };
                left = pending;
                let key = message.subject.strip_prefix(&prefix).unwrap_or("");
                let is_removal = message.headers.as_ref().is_some_and(is_marker);
                apply(self.change(key, &message.payload, is_removal), seq);
                if left == 0 {
                    break;
                }
            }
            if left == before {
                return Err(FeedError::Read("the load stands still".to_owned()));
            }
        }
        Ok(last)
    }

    /// Watches all changes after a revision.
    ///
    /// # Errors
    /// [`FeedError::Read`].
    pub async fn watch_devices(&self, after: u64) -> Result<DeviceWatch, FeedError> {
        let bucket = self.names.devices_bucket();
        let store = self.context.get_key_value(bucket).await.map_err(read)?;
        let watch = store
            .watch_all_from_revision(after + 1)
            .await
            .map_err(read)?;
        Ok(DeviceWatch {
            watch,
            last: after,
            broker: self.clone(),
        })
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
    /// The next change and its revision, each greater than the one before. It resumes by itself
    /// after a lost connection, and ten seconds after a server fell silent.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`FeedError`]: load again.
    pub async fn next(&mut self) -> Result<(Change, u64), FeedError> {
        let entry = loop {
            match self.watch.next().await.ok_or(FeedError::Ended)? {
                // Where the watch had shown nothing yet it resumes from the beginning.
                Ok(entry) if entry.revision > self.last => break entry,
                Ok(_) => {}
                // The watch's consumer died with its server; being asked again it makes another.
                Err(error) if is_silence(&error) => {
                    tracing::debug!(%error, "watch of the device bucket resumes");
                }
                Err(error) => return Err(read(error)),
            }
        };
        self.last = entry.revision;
        let is_removal = match entry.operation {
            Operation::Put => false,
            Operation::Delete | Operation::Purge => true,
        };
        let change = self.broker.change(&entry.key, &entry.value, is_removal);
        Ok((change, entry.revision))
    }
}
