//! The bucket of keys: written by whoever hands keys out, read by every API process.
//!
//! A key's document is `k.<tenant>.<id>`; when it was last used is `u.<tenant>.<id>`, which the API
//! may write, so that the right to note a use is not the right to make a key.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::{is_marker, kv_subject};
use crate::key::{DecodeKeyError, Key, KeyId, Tenant};
use crate::request::{Answer, Refusal, expecting};

/// More keys than anyone has; a bound on one reading.
const MOST: usize = 65_536;
/// How long a write is tried while the broker elects.
const BUDGET: Duration = Duration::from_secs(15);

/// Names a key among those of all tenants.
pub type KeyName = (Tenant, KeyId);

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredKey {
    /// Revision of the document.
    pub revision: u64,
    /// The document.
    pub key: Key,
}

/// What became of a key.
#[derive(Debug)]
pub enum KeyChange {
    /// A document was stored.
    Put(KeyName, Result<Box<Key>, DecodeKeyError>),
    /// A document was removed.
    Removed(KeyName),
    /// Something lies where keys do that is none.
    Foreign,
}

/// Why keys could not be read or written.
#[derive(Debug, Error)]
pub enum KeysError {
    /// No answer; try again.
    #[error("the keys could not be read: {0}")]
    Read(String),
    /// The document is not at the expected revision.
    #[error("the key was changed by somebody else meanwhile")]
    Conflict,
    /// No final answer; the same write may be tried again.
    #[error("the broker gave no final answer: it is not known whether the key is stored")]
    Unknown,
    /// The bucket refuses.
    #[error("the broker refuses the key")]
    Refused(#[source] Refusal),
}

impl Broker {
    /// What was stored of keys from revision `from` on, oldest first, from the leader; at most one
    /// change of each key.
    ///
    /// # Errors
    /// [`KeysError::Read`].
    pub async fn key_changes(&self, from: u64) -> Result<Vec<(u64, KeyChange)>, KeysError> {
        let records = self.key_records("k.>", from).await?;
        let changes = records.iter().map(|it| (it.sequence, self.key_change(it)));
        Ok(changes.collect())
    }

    fn key_change(&self, record: &StreamMessage) -> KeyChange {
        let Some(name) = self.key_name(record.subject.as_str(), "k.") else {
            self.metrics.skipped_records.inc();
            return KeyChange::Foreign;
        };
        if is_marker(&record.headers) {
            return KeyChange::Removed(name);
        }
        let (tenant, id) = name.clone();
        let key = Key::decode(tenant, id, &record.payload).map(Box::new);
        if let Err(error) = &key {
            match error {
                DecodeKeyError::Schema(_) => self.metrics.later_schemas.inc(),
                DecodeKeyError::Shape(_) | DecodeKeyError::Hash => {
                    self.metrics.skipped_records.inc()
                }
            };
        }
        KeyChange::Put(name, key)
    }

    /// All keys that can be read, by name.
    ///
    /// # Errors
    /// [`KeysError::Read`].
    pub async fn keys(&self) -> Result<Vec<StoredKey>, KeysError> {
        let mut keys: BTreeMap<KeyName, StoredKey> = BTreeMap::new();
        for (revision, change) in self.key_changes(1).await? {
            match change {
                // A key that was changed meanwhile is met a second time.
                KeyChange::Put(name, Ok(key)) => {
                    let key = *key;
                    keys.insert(name, StoredKey { revision, key });
                }
                KeyChange::Put(name, Err(_)) | KeyChange::Removed(name) => {
                    keys.remove(&name);
                }
                KeyChange::Foreign => {}
            }
        }
        Ok(keys.into_values().collect())
    }

    /// When each key was last used, to the hour.
    ///
    /// # Errors
    /// [`KeysError::Read`].
    pub async fn key_uses(&self) -> Result<BTreeMap<KeyName, Timestamp>, KeysError> {
        let records = self.key_records("u.>", 1).await?;
        let used = |it: &StreamMessage| {
            let name = self.key_name(it.subject.as_str(), "u.")?;
            let at = std::str::from_utf8(&it.payload).ok()?.parse().ok()?;
            (!is_marker(&it.headers)).then_some((name, at))
        };
        Ok(records.iter().filter_map(used).collect())
    }

    /// Stores a new key.
    ///
    /// Dropping the future leaves it unknown whether it is stored.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn create_key(&self, key: &Key) -> Result<u64, KeysError> {
        self.write_key(key, 0).await
    }

    /// Stores a key in place of the one at `revision`.
    ///
    /// Dropping the future leaves it unknown whether it is stored.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn replace_key(&self, key: &Key, revision: u64) -> Result<u64, KeysError> {
        self.write_key(key, revision).await
    }

    async fn write_key(&self, key: &Key, expected: u64) -> Result<u64, KeysError> {
        let subject = self.key_subject("k", &key.tenant, &key.id);
        let payload = Bytes::from(key.encode());
        let headers = expecting(expected);
        let answer = self.publish_until_known(&subject, &headers, &payload, BUDGET);
        match answer.await {
            Answer::Stored { seq, .. } => Ok(seq),
            Answer::Exists { .. } => {
                let stream = format!("KV_{}", self.names.keys_bucket());
                let last = self.last_message(&stream, &subject).await;
                match last.map_err(|error| KeysError::Read(error.to_string()))? {
                    // Our own, whose answer was lost. No two documents have the same hashes.
                    Some(last) if last.payload == payload => Ok(last.sequence),
                    Some(_) | None => Err(KeysError::Conflict),
                }
            }
            Answer::Unknown(_) | Answer::BatchOpen => Err(KeysError::Unknown),
            Answer::Refused(refusal) => Err(KeysError::Refused(refusal)),
        }
    }

    /// Notes that a key was used; once and without much patience, because it is for people only.
    ///
    /// # Errors
    /// [`KeysError`].
    pub async fn note_key_use(&self, name: &KeyName, at: Timestamp) -> Result<(), KeysError> {
        let subject = self.key_subject("u", &name.0, &name.1);
        let answer = self.ask(&subject, HeaderMap::new(), at.to_string().into());
        match answer.await {
            Answer::Stored { .. } => Ok(()),
            Answer::Refused(refusal) => Err(KeysError::Refused(refusal)),
            Answer::Exists { .. } | Answer::Unknown(_) | Answer::BatchOpen => {
                Err(KeysError::Unknown)
            }
        }
    }

    fn key_subject(&self, kind: &str, tenant: &Tenant, id: &KeyId) -> String {
        let key = format!("{kind}.{tenant}.{id}");
        kv_subject(&self.names.keys_bucket(), &key)
    }

    fn key_name(&self, subject: &str, kind: &str) -> Option<KeyName> {
        let bucket = kv_subject(&self.names.keys_bucket(), kind);
        let (tenant, id) = subject.strip_prefix(&bucket)?.split_once('.')?;
        Some((Tenant::parse(tenant)?, KeyId::parse(id)?))
    }

    /// The last message of each key that matches, oldest first, from the leader.
    async fn key_records(&self, keys: &str, from: u64) -> Result<Vec<StreamMessage>, KeysError> {
        let read = |error: &dyn std::fmt::Display| KeysError::Read(error.to_string());
        let bucket = self.names.keys_bucket();
        let stream = self.reads.get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| read(&error))?;
        let subject = kv_subject(&bucket, keys);
        let (mut found, mut from) = (Vec::new(), from);
        while found.len() < MOST {
            let next = stream.get_first_raw_message_by_subject(subject.as_str(), from);
            match next.await {
                Ok(message) => {
                    from = message.sequence + 1;
                    found.push(message);
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                    return Ok(found);
                }
                Err(error) => return Err(read(&error)),
            }
        }
        Err(read(&"there are more than anyone has"))
    }
}
