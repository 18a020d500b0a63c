//! Who changed what: a record of each change, in a stream of its own.
//!
//! A message holds the records of one process and one tenant that were made at the same time, so that
//! a thousand registrations a second are not a thousand messages more. It lies under the user that
//! wrote it, which the broker checks, and the tenant whose it is, so that what is another's is not
//! even read: `<prefix>.audit.<user>.<tenant>.<node>`. Records name devices, topics and keys; never a
//! token, a secret or what a document says.

mod read;

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::read::{Kept, Place, ReadAuditError};

use crate::connect::Broker;
use crate::members::key_part;
use crate::permissions::Role;
use crate::request::{Answer, Refusal, header};
use crate::tenant::Tenant;

/// Version of the stored form; fields that a reader does not know are ignored.
const SCHEMA: u32 = 1;

/// The most records of one message: about 25 KiB, and well below 1 MiB however long their names are.
pub const MOST: usize = 128;

/// Who changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Who {
    /// Somebody with this key.
    Key {
        /// Its id.
        id: String,
    },
    /// A device, with its own secret; which one stands among what was changed.
    Device,
    /// Whoever asked an API that asks for no keys.
    Anyone,
    /// Somebody at a command line.
    Command {
        /// On this machine.
        host: String,
    },
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it was made, by the clock of the process.
    pub at: Timestamp,
    /// Who asked for it.
    pub who: Who,
    /// What: the operation's id in the API's contract, or one made like it for a command.
    pub what: String,
    /// What was changed, by kind: `device`, `pattern`, `lane`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, String>,
    /// The status of the answer. From 500 on, and without one because nobody was there any more to be
    /// answered, it is not known whether the change was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The revision that it brought about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// What one message holds.
#[derive(Debug, Serialize, Deserialize)]
struct Message {
    schema: u32,
    records: Vec<Change>,
}

/// Why records are not known to be kept.
#[derive(Debug, Error)]
pub enum AuditError {
    /// No final answer, or there is no such stream. The same again settles it.
    #[error(
        "no answer; if there is no stream for it yet, `fanfare admin apply` makes it, and the user needs \
         its new list"
    )]
    Unknown,
    /// The stream refuses.
    #[error("the stream of the audit refuses the record")]
    Refused(#[source] Refusal),
}

impl Broker {
    /// Stores records of one tenant, as one message. It asks once: what else this connection writes does
    /// not wait for the audit. `id` is the message's; within two minutes it is stored once.
    ///
    /// Dropping the future leaves it unknown whether they are stored.
    ///
    /// # Errors
    /// [`AuditError::Unknown`]: try again with the same `id`. [`AuditError::Refused`]: an operator has
    /// to act first.
    pub async fn keep_changes(
        &self,
        user: Role,
        tenant: &Tenant,
        records: &[Change],
        id: &str,
    ) -> Result<(), AuditError> {
        let subject = self.names.audit_of(user, tenant, &key_part(self.node()));
        let message = Message {
            schema: SCHEMA,
            records: records.to_vec(),
        };
        // Texts and numbers cannot fail.
        let payload = Bytes::from(serde_json::to_vec(&message).unwrap_or_default());
        let mut headers = HeaderMap::new();
        headers.insert(header::MSG_ID, id);
        match self.ask(&subject, headers, payload).await {
            Answer::Stored { .. } | Answer::Exists { .. } => Ok(()),
            Answer::Unknown(_) | Answer::BatchOpen => Err(AuditError::Unknown),
            Answer::Refused(refusal) => Err(AuditError::Refused(refusal)),
        }
    }
}
