//! Dead letters: what was given up, kept with its payload.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::connect::Broker;
use crate::device::AppName;
use crate::event::EventId;
use crate::hash::DeviceHash;
use crate::request::{Answer, header};
use crate::subject::Subject;

const BUDGET: Duration = Duration::from_secs(20);

/// Why something was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The provider refuses the push.
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

/// A record of what was given up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Why.
    pub reason: DeadReason,
    /// Of which event; the zero id where the message cannot be read.
    pub event: String,
    /// Sequence of the event in its stream.
    pub event_seq: u64,
    /// Through which app, `-` where that is not known.
    pub app: String,
    /// To which device (its hash), zero where it is not one device.
    pub device: String,
    /// Attempts so far.
    pub attempts: u32,
    /// The provider's words or the decoder's.
    pub error: String,
    /// When.
    pub at: Timestamp,
    /// What the message held, where it cannot be read; base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Why a dead letter is not known to be stored; nothing may be settled then.
#[derive(Debug, Error)]
#[error("the dead letter could not be stored")]
pub struct BuryError;

impl Broker {
    /// Stores a dead letter; storing it twice is harmless.
    ///
    /// Dropping the future leaves it unknown whether it is stored.
    ///
    /// # Errors
    /// [`BuryError`]: the message must not be settled.
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
            device: DeviceHash::parse(&letter.device).unwrap_or(DeviceHash(0)),
        });
        let payload = Bytes::from(serde_json::to_vec(letter).unwrap_or_default());
        let mut headers = async_nats::HeaderMap::new();
        let id = format!("{subject}.{}", letter.attempts);
        headers.insert(header::MSG_ID, id.as_str());
        match self
            .publish_until_known(&subject, &headers, &payload, BUDGET)
            .await
        {
            Answer::Stored { .. } | Answer::Exists { .. } => Ok(()),
            Answer::Unknown(_) | Answer::BatchOpen => Err(BuryError),
            Answer::Refused(refusal) => {
                tracing::error!(
                    error = &refusal as &dyn std::error::Error,
                    "dead letters are refused"
                );
                Err(BuryError)
            }
        }
    }
}
