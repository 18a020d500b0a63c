//! The checkpoint of a task, appended by compare-and-set: the last one says where to resume, all of
//! them together are the audit trail.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::DeviceHash;
use crate::schema;

/// Who works on a task. A claim counts only if it is greater than the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim {
    /// Raised at each re-creation of the lane's durable, where delivery counts start again.
    pub epoch: u64,
    /// Which run over the devices.
    pub pass: u32,
    /// Stream sequence of the message that was taken; 0 where there is none. A wake-up may fire
    /// twice, and the delivery counts of two messages say nothing about each other.
    #[serde(default)]
    pub message: u64,
    /// The broker's delivery count.
    pub delivered: u64,
    /// Chosen by the worker; tells its own claim from an equal one of another.
    pub nonce: u64,
}

/// What a worker may do with a message, given the recorded claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append the claim and begin.
    Take,
    /// The claim is recorded already, by this worker: begin.
    Own,
    /// A later pass has begun, so everything of this one is recorded; or another message has begun
    /// this pass, and comes again until it is through. Acknowledge.
    Obsolete,
    /// Another worker's claim is as great or greater: forget the message.
    Refused,
}

impl Claim {
    /// Judges `self` against what is recorded. Equal claims are refused: after a hard restart of a
    /// single broker delivery counts may repeat, and accepting them doubles the bound on repeats.
    pub fn against(&self, recorded: Option<&Claim>) -> Verdict {
        let Some(recorded) = recorded else {
            return Verdict::Take;
        };
        if recorded == self {
            return Verdict::Own;
        }
        if self.epoch == recorded.epoch && self.pass < recorded.pass {
            return Verdict::Obsolete;
        }
        let is_other = self.message != recorded.message && self.message != 0;
        if self.pass == recorded.pass && is_other && recorded.message != 0 {
            return Verdict::Obsolete;
        }
        let key = |it: &Claim| (it.epoch, it.pass, it.delivered);
        if key(self) > key(recorded) {
            Verdict::Take
        } else {
            Verdict::Refused
        }
    }
}

/// What became of one device in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The provider took it.
    Accepted,
    /// The provider knows the token no more.
    Unregistered,
    /// The provider refuses this push; a dead letter holds it.
    Refused,
    /// Again in a later pass.
    Later,
    /// Not sent: expired.
    Expired,
    /// Not sent: a higher level of the item stands.
    Superseded,
    /// Not sent: gone, unsubscribed, or the token is another device's, before its turn came.
    Dropped,
    /// Not repeated: the first request may have been delivered, and the event is at most once.
    Unclear,
    /// Not sent: the task made no progress over several claims; a dead letter holds it.
    Dead,
}

impl Mark {
    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unregistered => "unregistered",
            Self::Refused => "refused",
            Self::Later => "later",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Dropped => "dropped",
            Self::Unclear => "unclear",
            Self::Dead => "dead",
        }
    }

    /// Whether the device is through.
    pub fn is_done(self) -> bool {
        match self {
            Self::Later => false,
            Self::Accepted
            | Self::Unregistered
            | Self::Refused
            | Self::Expired
            | Self::Superseded
            | Self::Dropped
            | Self::Unclear
            | Self::Dead => true,
        }
    }
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Which device.
    pub device: DeviceHash,
    /// What became of it.
    pub mark: Mark,
    /// Which attempt, from 1; 0 where nothing was sent.
    pub attempt: u32,
    /// The provider's answer in a word, or why nothing was sent.
    pub reason: Option<String>,
    /// When the answer was read.
    pub at: Timestamp,
}

/// A device that waits for a later pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Later {
    /// Attempts so far.
    pub attempts: u32,
    /// When to try again.
    pub due: Timestamp,
}

/// The state of a task, and what happened since the receipt before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Whose it is.
    pub claim: Claim,
    /// The node that wrote it.
    pub node: String,
    /// Every device with a smaller hash had its turn; `None` when the walk has ended.
    pub low: Option<DeviceHash>,
    /// Devices at or above `low` that had their turn.
    pub above: BTreeSet<DeviceHash>,
    /// Devices that wait for a later pass.
    pub later: BTreeMap<DeviceHash, Later>,
    /// Devices whose request may have been written and whose outcome is not recorded: kept where an
    /// event is sent at most once, so that whoever takes the task over leaves them alone.
    pub intended: BTreeSet<DeviceHash>,
    /// What became of everyone who had no turn, where the task ended before the walk did: expired,
    /// superseded or dead.
    pub rest: Option<Mark>,
    /// Consecutive claims, this one included, whose workers left neither a mark nor a word
    /// (poison limits). Progress resets it, and so does handing the task back in good order.
    pub claims_without_mark: u32,
    /// Its writer begins nothing more and has nothing in flight: whoever gets the message may take the
    /// task at once. Without it a young receipt says that somebody is at work.
    pub is_handed_back: bool,
    /// What happened since the receipt before.
    pub lines: Vec<Line>,
    /// When it was written.
    pub at: Timestamp,
}

impl Receipt {
    /// The first receipt of a task: a claim and nothing done.
    pub fn first(claim: Claim, node: &str, at: Timestamp) -> Self {
        Self {
            claim,
            node: node.to_owned(),
            low: Some(DeviceHash(0)),
            above: BTreeSet::new(),
            later: BTreeMap::new(),
            intended: BTreeSet::new(),
            rest: None,
            claims_without_mark: 1,
            is_handed_back: false,
            lines: Vec::new(),
            at,
        }
    }

    /// Whether nothing is left: the walk has ended and nobody waits.
    pub fn is_finished(&self) -> bool {
        self.low.is_none() && self.later.is_empty()
    }

    /// Whether a device had its turn in the walk.
    pub fn is_marked(&self, device: DeviceHash) -> bool {
        self.low.is_none_or(|low| device < low) || self.above.contains(&device)
    }
}

const SCHEMA: u32 = 1;
/// Of receipts with intents: a version that does not know them must not resume there.
const SCHEMA_WITH_INTENTS: u32 = 2;

#[derive(Serialize, Deserialize)]
struct WireReceipt {
    schema: u32,
    claim: Claim,
    node: String,
    low: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    above: Vec<String>,
    /// Device, attempts, due in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    later: Vec<(String, u32, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    intended: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rest: Option<Mark>,
    idle_claims: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    handed_back: bool,
    /// Milliseconds since 1970.
    at: i64,
    /// Device, mark, attempt, milliseconds before `at`, reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<(String, Mark, u32, i64, Option<String>)>,
}

/// Why stored bytes are no receipt.
#[derive(Debug, Error)]
pub enum DecodeReceiptError {
    /// Not the JSON shape.
    #[error("the receipt has another shape")]
    Shape(#[source] serde_json::Error),
    /// Written by a later version.
    #[error("the receipt has schema {0}, this version reads {SCHEMA_WITH_INTENTS}")]
    Schema(u32),
    /// A hash or a time is not valid.
    #[error("the receipt has a value that is not valid")]
    Value,
}

impl Receipt {
    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        let at = self.at.as_millisecond();
        let wire = WireReceipt {
            schema: if self.intended.is_empty() {
                SCHEMA
            } else {
                SCHEMA_WITH_INTENTS
            },
            claim: self.claim,
            node: self.node.clone(),
            low: self.low.map(|it| it.to_string()),
            above: self.above.iter().map(ToString::to_string).collect(),
            later: self
                .later
                .iter()
                .map(|(device, it)| (device.to_string(), it.attempts, it.due.as_millisecond()))
                .collect(),
            intended: self.intended.iter().map(ToString::to_string).collect(),
            rest: self.rest,
            idle_claims: self.claims_without_mark,
            handed_back: self.is_handed_back,
            at,
            lines: self
                .lines
                .iter()
                .map(|it| {
                    let before = at - it.at.as_millisecond();
                    (
                        it.device.to_string(),
                        it.mark,
                        it.attempt,
                        before,
                        it.reason.clone(),
                    )
                })
                .collect(),
        };
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`DecodeReceiptError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeReceiptError> {
        let wire: WireReceipt = serde_json::from_slice(bytes).map_err(|error| {
            // A later version's shape may be quite another one.
            match schema::later_than(SCHEMA_WITH_INTENTS, bytes) {
                Some(later) => DecodeReceiptError::Schema(later),
                None => DecodeReceiptError::Shape(error),
            }
        })?;
        if ![SCHEMA, SCHEMA_WITH_INTENTS].contains(&wire.schema) {
            return Err(DecodeReceiptError::Schema(wire.schema));
        }
        read_wire(wire).ok_or(DecodeReceiptError::Value)
    }
}

fn read_wire(wire: WireReceipt) -> Option<Receipt> {
    let hash = |it: &String| DeviceHash::parse(it);
    let time = |ms: i64| Timestamp::from_millisecond(ms).ok();
    Some(Receipt {
        claim: wire.claim,
        node: wire.node,
        low: match &wire.low {
            Some(low) => Some(hash(low)?),
            None => None,
        },
        above: wire.above.iter().map(hash).collect::<Option<_>>()?,
        later: wire
            .later
            .iter()
            .map(|(device, attempts, due)| {
                Some((
                    hash(device)?,
                    Later {
                        attempts: *attempts,
                        due: time(*due)?,
                    },
                ))
            })
            .collect::<Option<_>>()?,
        intended: wire.intended.iter().map(hash).collect::<Option<_>>()?,
        rest: wire.rest,
        claims_without_mark: wire.idle_claims,
        is_handed_back: wire.handed_back,
        at: time(wire.at)?,
        lines: wire
            .lines
            .into_iter()
            .map(|(device, mark, attempt, before, reason)| {
                let (device, at) = (hash(&device)?, time(wire.at.checked_sub(before)?)?);
                Some(Line {
                    device,
                    mark,
                    attempt,
                    reason,
                    at,
                })
            })
            .collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests;
