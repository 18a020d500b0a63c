//! Who is alive, of each role: records in the control bucket that go away by themselves.
//!
//! For display, for the division of rate limits and for elections; never for safety. A member that
//! died is counted for up to [`TTL`] longer, one that was cut off from the broker is not counted
//! although it lives.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::connect::Broker;
use crate::control::{is_marker, kv_subject};
use crate::hash::hex;
use crate::request::{Answer, header};

/// A member that is not heard of for so long is none. Shorter times lose members at elections,
/// which take 4 to 11 s (measured for leases, which live by the same rule).
pub const TTL: Duration = Duration::from_secs(20);
/// How often a member says that it lives.
pub const RENEW_EVERY: Duration = Duration::from_secs(4);
/// How long the record of a goodbye is kept.
const GOODBYE: Duration = Duration::from_mins(1);
/// More members than anyone has; a bound on one reading.
const MOST: usize = 4096;

/// A process in one of its roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `fetcher`, `notifier` or `api`.
    pub role: String,
    /// The process among all.
    pub node: String,
    /// The machine.
    pub host: String,
    /// What is running.
    pub version: String,
    /// Its part of what is divided among the members of a role; usually 1.
    pub weight: u32,
    /// Since when.
    pub started: Timestamp,
    /// What keeps the process from being ready, as of the last renewal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// A member as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it says of itself.
    pub member: Member,
    /// When it last said so, by the broker's clock.
    pub renewed: Timestamp,
}

/// Why members could not be read, or a member not be registered; try again.
#[derive(Debug, Error)]
pub enum MembersError {
    /// No final answer, or a refusal.
    #[error("the member {key} is not registered: {text}")]
    Write {
        /// Which record.
        key: String,
        /// What was answered.
        text: String,
    },
    /// No answer.
    #[error("the members of role {role} cannot be read: {text}")]
    Read {
        /// Which role.
        role: String,
        /// The broker's words.
        text: String,
    },
}

impl Seen {
    /// One process is several members, one in each of its roles.
    fn key(&self) -> (&str, &str) {
        (&self.member.role, &self.member.node)
    }
}

impl Broker {
    /// Says that a member lives, for [`TTL`] from now. A raw publish, because the client's own
    /// creation with a TTL loses it on a key that was deleted before.
    ///
    /// # Errors
    /// [`MembersError::Write`]: say it again soon.
    pub async fn put_member(&self, member: &Member) -> Result<(), MembersError> {
        let key = self.member_key(&member.role);
        let mut headers = HeaderMap::new();
        headers.insert(header::TTL, TTL.as_secs().to_string().as_str());
        let body = serde_json::to_vec(member).unwrap_or_default(); // Plain strings cannot fail.
        self.write_member(key, headers, body.into()).await
    }

    /// Says goodbye for this process in a role, so that the others need not wait for [`TTL`].
    ///
    /// # Errors
    /// [`MembersError::Write`]: the record goes away by itself.
    pub async fn remove_member(&self, role: &str) -> Result<(), MembersError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::KV_OPERATION, "PURGE");
        headers.insert(header::ROLLUP, "sub");
        headers.insert(header::TTL, GOODBYE.as_secs().to_string().as_str());
        self.write_member(self.member_key(role), headers, Bytes::new())
            .await
    }

    async fn write_member(
        &self,
        key: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(), MembersError> {
        let subject = kv_subject(&self.names.control_bucket(), &key);
        match self.ask(&subject, headers, body).await {
            Answer::Stored { .. } => Ok(()),
            Answer::Refused(refusal) => Err(MembersError::Write {
                key,
                text: refusal.to_string(),
            }),
            Answer::Exists { .. } | Answer::Unknown(_) | Answer::BatchOpen => {
                Err(MembersError::Write {
                    key,
                    text: "no final answer".to_owned(),
                })
            }
        }
    }

    /// The members of a role, by node, from the leader: nobody needs the right to direct gets, whose
    /// answers could be made to lie under any subject with a body of the asker's choice.
    ///
    /// # Errors
    /// [`MembersError::Read`].
    pub async fn members(&self, role: &str) -> Result<Vec<Member>, MembersError> {
        let seen = self.members_seen(role).await?;
        Ok(seen.into_iter().map(|it| it.member).collect())
    }

    /// As [`Self::members`], with the time of each one's last renewal; `*` are all roles.
    ///
    /// # Errors
    /// [`MembersError::Read`].
    pub async fn members_seen(&self, role: &str) -> Result<Vec<Seen>, MembersError> {
        let bucket = self.names.control_bucket();
        let read = |text: String| MembersError::Read {
            role: role.to_owned(),
            text,
        };
        let stream = self.reads.get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| read(error.to_string()))?;
        let subject = kv_subject(&bucket, &format!("m.{role}.*"));
        let mut members: Vec<Seen> = Vec::new();
        let mut from = 1;
        for _ in 0..MOST {
            let next = stream.get_first_raw_message_by_subject(subject.as_str(), from);
            let message = match next.await {
                Ok(message) => message,
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(read(error.to_string())),
            };
            from = message.sequence + 1;
            if is_marker(&message.headers) {
                continue;
            }
            let Ok(member) = serde_json::from_slice::<Member>(&message.payload) else {
                self.metrics.skipped_records.inc();
                continue;
            };
            let renewed = Timestamp::from_nanosecond(message.time.unix_timestamp_nanos());
            let seen = Seen {
                renewed: renewed.unwrap_or_default(),
                member,
            };
            // A record that was renewed meanwhile is met a second time.
            let is_same = |it: &&mut Seen| it.key() == seen.key();
            match members.iter_mut().find(is_same) {
                Some(known) => *known = seen,
                None => members.push(seen),
            }
        }
        members.sort_by(|one, two| one.key().cmp(&two.key()));
        Ok(members)
    }

    fn member_key(&self, role: &str) -> String {
        format!("m.{role}.{}", key_part(self.node()))
    }
}

/// A node's name as part of a key: as it is if it is fit for one, else in hexadecimal.
pub(crate) fn key_part(node: &str) -> String {
    let is_fit = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
    if !node.is_empty() && node.bytes().all(is_fit) {
        node.to_owned()
    } else {
        hex(node.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_node_has_a_key() {
        assert_eq!(key_part("n1-a_B"), "n1-a_B");
        assert_eq!(key_part("n.1"), "6e2e31");
        assert_eq!(key_part(""), "");
    }
}
