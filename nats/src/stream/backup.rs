//! Copies streams out of a broker and back in, with their consumers, while everything runs.
//!
//! The broker copies one stream at a time, so the copies are of different moments. The order makes
//! them fit: what a later copy says of an earlier one is true in it. See [`Broker::backup_order`].

use std::io::{Read, Write};
use std::time::Duration;

use async_nats::Request;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Value, json};
use thiserror::Error;

use crate::connect::Broker;

/// Bytes of a message; the broker's limit for one is 1 MiB by default.
const CHUNK: usize = 128 * 1024;
/// A broker that says nothing for so long has given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Status of the message after the last chunk (nats-server, `stream.go`).
const COMPLETE: u16 = 204;

/// Why a stream was not copied.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The broker refuses, or does not answer.
    #[error("the broker does not copy {name}: {text}")]
    Broker {
        /// Which stream.
        name: String,
        /// The broker's words.
        text: String,
    },
    /// The file.
    #[error("the copy of {name} cannot be read or written")]
    File {
        /// Which stream.
        name: String,
        /// The cause.
        #[source]
        cause: std::io::Error,
    },
}

impl Broker {
    /// The streams in the order in which they must be copied.
    ///
    /// Cursors before events: a cursor never says that something was stored which is not.
    /// Receipts before tasks: each receipt's plan is there, so nothing is cut anew under it. Tasks
    /// before events: each task's event is there; events whose plan is not are planned again
    /// ([`Broker::begin_epoch`]). Devices last: the bucket has reached every plan's revision.
    pub fn backup_order(&self) -> Vec<String> {
        let bucket = |name: String| format!("KV_{name}");
        vec![
            bucket(self.names.control_bucket()),
            self.names.receipts(),
            self.names.tasks(),
            self.names.events(),
            bucket(self.names.devices_bucket()),
            bucket(self.names.keys_bucket()),
            self.names.dead(),
            self.names.audit(),
        ]
    }

    /// Copies a stream with its consumers into `sink`; returns what [`Broker::restore`] needs beside
    /// the bytes.
    ///
    /// Dropping the future ends the copy; the stream is not touched.
    ///
    /// # Errors
    /// [`BackupError`]: what was written is of no use.
    pub async fn back_up(
        &self,
        name: &str,
        sink: &mut (impl Write + Send),
    ) -> Result<Value, BackupError> {
        let failed = |text: String| BackupError::Broker {
            name: name.to_owned(),
            text,
        };
        let inbox = self.client.new_inbox();
        let mut chunks = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| failed(error.to_string()))?;
        let ask = json!({"deliver_subject": inbox, "chunk_size": CHUNK, "jsck": true});
        let subject = format!("STREAM.SNAPSHOT.{name}");
        let told = self.api(&subject, &ask).await.map_err(failed)?;
        loop {
            let chunk = tokio::time::timeout(SILENCE, chunks.next()).await;
            let Ok(Some(chunk)) = chunk else {
                return Err(failed("it stopped in the middle".to_owned()));
            };
            if chunk.payload.is_empty() {
                if chunk.status.is_none_or(|it| it.as_u16() == COMPLETE) {
                    break;
                }
                let text = chunk.description.unwrap_or_default();
                return Err(failed(format!("it gave up: {text}")));
            }
            let written = sink.write_all(&chunk.payload);
            written.map_err(|cause| BackupError::File {
                name: name.to_owned(),
                cause,
            })?;
            // The broker sends as fast as it hears this.
            if let Some(reply) = chunk.reply {
                let heard = self.client.publish(reply, Bytes::new()).await;
                heard.map_err(|error| failed(error.to_string()))?;
            }
        }
        Ok(json!({"config": told.get("config"), "state": told.get("state")}))
    }

    /// Makes a stream from a copy. There must be none of its name.
    ///
    /// Dropping the future leaves no stream behind.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn restore(
        &self,
        name: &str,
        about: &Value,
        source: &mut (impl Read + Send),
    ) -> Result<(), BackupError> {
        let failed = |text: String| BackupError::Broker {
            name: name.to_owned(),
            text,
        };
        let subject = format!("STREAM.RESTORE.{name}");
        let told = self.api(&subject, about).await.map_err(failed)?;
        let to = told.get("deliver_subject").and_then(Value::as_str);
        let to = to.ok_or_else(|| failed("it names no subject for the bytes".to_owned()))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = source
                .read(&mut buffer)
                .map_err(|cause| BackupError::File {
                    name: name.to_owned(),
                    cause,
                })?;
            let chunk = Bytes::copy_from_slice(buffer.get(..n).unwrap_or_default());
            let request = Request::new().payload(chunk).timeout(Some(SILENCE));
            let answer = self.client.send_request(to.to_owned(), request).await;
            let answer = answer.map_err(|error| failed(error.to_string()))?;
            // Chunks are answered with nothing, the end with the stream.
            if !answer.payload.is_empty() {
                let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
                if let Some(error) = answer.get("error") {
                    let text = error.get("description").and_then(Value::as_str);
                    let text = text.unwrap_or("refused");
                    return Err(failed(text.to_owned()));
                }
            }
            if n == 0 {
                return Ok(());
            }
        }
    }
}
