//! Dead letters: what was given up, kept with everything that is needed to look at it and to send
//! it again.
//!
//! A letter is stored before the device is marked, or before the message is taken out. It names
//! devices by their hashes only, and never holds a token.

mod case;
mod now;
mod page;
mod read;
mod replay;
mod trail;
mod work;

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::case::{Case, Fate, Hold, Judged, Step};
pub use self::now::{JudgeError, Now};
pub use self::read::{Advisory, Entry, Found, Kind, ReadDeadError, Wanted};
pub use self::replay::{Assessed, Done, Rejudged, ReplayError, Standing};
pub use self::work::{Report, Work, WorkError};

use crate::claim::Message;
use crate::connect::Broker;
use crate::device::AppName;
use crate::event::EventId;
use crate::hash::{DeviceHash, digest, hex};
use crate::plan::{HashRange, Lane, Task};
use crate::request::{Answer, header};
use crate::subject::{Names, Subject};

const BUDGET: Duration = Duration::from_secs(20);

/// Version of the stored form; fields that a reader does not know are ignored.
const SCHEMA: u32 = 1;

/// Why something was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The provider refuses the push, or was asked as often as its publisher allows.
    Refused,
    /// A message that cannot be read.
    Invalid,
    /// A task that makes no progress.
    Poison,
}

impl DeadReason {
    /// The reason's token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Poison => "poison",
        }
    }
}

/// Which task a letter is about, as it stands in the letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfTask {
    /// Its lane, `<app>-urgent` or `<app>-bulk`.
    pub lane: String,
    /// Which part of the plan.
    pub index: u32,
    /// Logarithm of the number of parts.
    pub log2_n: u8,
    /// Revision of the device bucket that a sender's index must have reached.
    pub revision: u64,
}

impl From<&Task> for OfTask {
    fn from(task: &Task) -> Self {
        Self {
            lane: task.lane.to_string(),
            index: task.range.index(),
            log2_n: task.range.log2_n(),
            revision: task.revision,
        }
    }
}

/// A record of what was given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Version of the form; 0 where an early version wrote none.
    #[serde(default)]
    pub schema: u32,
    /// Why.
    pub reason: DeadReason,
    /// Of which event; empty where the message cannot be read.
    pub event: String,
    /// Sequence of the event in its stream; of an unreadable message, its own.
    pub event_seq: u64,
    /// Through which app, `-` where that is not known.
    pub app: String,
    /// To which device (its hash), empty where it is not one device.
    pub device: String,
    /// Attempts so far; of a task, claims in a row that brought no mark.
    pub attempts: u32,
    /// The provider's words or the decoder's.
    pub error: String,
    /// When.
    pub at: Timestamp,
    /// The node that gave it up.
    #[serde(default)]
    pub node: String,
    /// Which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<OfTask>,
    /// Every device of the task with a smaller hash had its turn; without it only devices that
    /// waited for a later pass were left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<String>,
    /// W3C trace context of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Subject of the message that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What the message held, where it cannot be read; base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

impl DeadLetter {
    /// A push that one device will not get: refused, or tried as often as its publisher allows.
    /// `attempts` counts the last one too.
    pub fn refused(
        task: &Task,
        device: DeviceHash,
        attempts: u32,
        error: &str,
        at: Timestamp,
    ) -> Self {
        Self {
            device: device.to_string(),
            attempts,
            error: error.to_owned(),
            ..Self::of_task(DeadReason::Refused, task, at)
        }
    }

    /// A task that `claims` workers in a row took up without leaving a mark or a word. Devices
    /// below `low` had their turn; `None` where only waiting ones are left.
    ///
    /// The task's receipts say the rest, so it is closed as [`crate::receipt::Mark::Dead`] after
    /// this, and not changed before.
    pub fn poisoned(task: &Task, claims: u32, low: Option<DeviceHash>, at: Timestamp) -> Self {
        Self {
            attempts: claims,
            error: format!("{claims} claims in a row without progress"),
            low: low.map(|it| it.to_string()),
            ..Self::of_task(DeadReason::Poison, task, at)
        }
    }

    /// A message that is not what its subject says; `error` is why.
    pub fn unreadable(message: &Message, error: &dyn Error, names: &Names, at: Timestamp) -> Self {
        use base64::Engine;

        let event = message.event_id(names).map(|it| it.to_string());
        let payload = base64::engine::general_purpose::STANDARD.encode(message.payload());
        Self {
            schema: SCHEMA,
            reason: DeadReason::Invalid,
            event: event.unwrap_or_default(),
            event_seq: message.seq(),
            app: "-".to_owned(),
            device: String::new(),
            attempts: 0,
            error: chain(error),
            at,
            node: String::new(),
            task: None,
            low: None,
            traceparent: None,
            subject: Some(message.subject().to_owned()),
            payload: Some(payload),
        }
    }

    fn of_task(reason: DeadReason, task: &Task, at: Timestamp) -> Self {
        Self {
            schema: SCHEMA,
            reason,
            event: task.event.to_string(),
            event_seq: task.event_seq,
            app: task.lane.app.to_string(),
            device: String::new(),
            attempts: 0,
            error: String::new(),
            at,
            node: String::new(),
            task: Some(task.into()),
            low: None,
            traceparent: None,
            subject: None,
            payload: None,
        }
    }

    /// With the node that gives up, and the trace of the event if it has one.
    #[must_use]
    pub fn by(mut self, node: &str, traceparent: Option<&str>) -> Self {
        node.clone_into(&mut self.node);
        self.traceparent = traceparent.map(str::to_owned);
        self
    }

    /// The trace's id within the trace context.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref()?.split('-').nth(1)
    }

    /// What the unreadable message held.
    pub fn payload_bytes(&self) -> Option<Vec<u8>> {
        use base64::Engine;

        let payload = self.payload.as_ref()?;
        base64::engine::general_purpose::STANDARD
            .decode(payload)
            .ok()
    }

    /// The task that the letter is about, with another expiry; `None` where it names none.
    pub fn task_until(&self, expires_at: Timestamp) -> Option<Task> {
        let task = self.task.as_ref()?;
        Some(Task {
            event: EventId::parse(&self.event)?,
            event_seq: self.event_seq,
            lane: Lane::parse(&task.lane)?,
            range: HashRange::new(task.index, task.log2_n)?,
            revision: task.revision,
            expires_at,
        })
    }

    /// The device's token in the subject: the device, or where the task's range begins, so that
    /// every task of an event has a subject of its own.
    fn place(&self) -> DeviceHash {
        let range = self.task.as_ref();
        let range = range.and_then(|it| HashRange::new(it.index, it.log2_n));
        DeviceHash::parse(&self.device)
            .or_else(|| range.map(HashRange::first))
            .unwrap_or(DeviceHash(0))
    }

    /// Tells this giving-up from every other, however similar: of the same device after a replay,
    /// of another message that names nothing.
    fn id(&self, subject: &str) -> String {
        let message = self.subject.as_deref().unwrap_or_default();
        let message = hex(&digest("fanfare.dead", &[message.as_bytes()]));
        let message = message.get(..8).unwrap_or_default();
        let at = self.at.as_nanosecond();
        format!("{subject}.{}.{message}.{at}", self.event_seq)
    }
}

/// Why a dead letter is not known to be stored; nothing may be settled then.
#[derive(Debug, thiserror::Error)]
#[error("the dead letter could not be stored")]
pub struct BuryError;

impl Broker {
    /// Stores a dead letter; storing it twice is harmless.
    ///
    /// Dropping the future leaves it unknown whether it is stored.
    ///
    /// # Errors
    /// [`BuryError`]: the message must not be settled, the device not marked.
    pub async fn bury(&self, letter: &DeadLetter) -> Result<(), BuryError> {
        let zero = "0".repeat(32);
        let event = EventId::parse(&letter.event).or_else(|| EventId::parse(&zero));
        let app = AppName::parse(&letter.app).or_else(|_| AppName::parse("-"));
        let (Some(event), Ok(app)) = (event, app) else {
            return Err(BuryError);
        };
        let subject = self.names.subject(&Subject::Dead {
            reason: letter.reason.as_str().into(),
            event,
            app,
            device: letter.place(),
        });
        let payload = Bytes::from(serde_json::to_vec(letter).unwrap_or_default());
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(header::MSG_ID, letter.id(&subject).as_str());
        match self
            .publish_until_known(&subject, &headers, &payload, BUDGET)
            .await
        {
            Answer::Stored { .. } | Answer::Exists { .. } => Ok(()),
            Answer::Unknown(_) | Answer::BatchOpen => Err(BuryError),
            Answer::Refused(refusal) => {
                tracing::error!(error = &refusal as &dyn Error, "dead letters are refused");
                Err(BuryError)
            }
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
