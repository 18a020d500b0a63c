//! Reading and appending receipts.

use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::ReadError;
use crate::genuine;
use crate::plan::Task;
use crate::receipt::{DecodeReceiptError, Receipt};
use crate::request::{Answer, Refusal, expecting, header};
use crate::story::read::StoryError;
use crate::subject::Subject;

/// How long an append is tried: an election takes 4 to 11 s.
const BUDGET: Duration = Duration::from_secs(20);

/// Where receipts of one task are appended.
#[derive(Clone, Debug)]
pub struct ReceiptChain {
    broker: Broker,
    subject: String,
    last: u64,
}

/// Why the chain could not be read.
#[derive(Debug, Error)]
pub enum ReadReceiptError {
    /// The leader did not answer.
    #[error("the receipts of {subject} could not be read")]
    Read {
        /// Which chain.
        subject: String,
        /// Why.
        #[source]
        cause: ReadError,
    },
    /// The receipts before something else could not be read.
    #[error("the receipts of {subject} could not be read")]
    Trail {
        /// Which chain.
        subject: String,
        /// Why.
        #[source]
        cause: StoryError,
    },
    /// The last receipt is not readable.
    #[error("the last receipt of {subject} is not readable")]
    Decode {
        /// Which chain.
        subject: String,
        /// Why.
        #[source]
        cause: DecodeReceiptError,
    },
}

/// Why a receipt was not appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Somebody else appended: this worker has lost the task and must stop at once.
    #[error("another worker has taken the task over")]
    Fenced,
    /// No final answer in time: the worker must stop, the credit stays taken.
    #[error("it is not known whether the receipt is stored")]
    Unknown,
    /// The stream refuses.
    #[error("the stream refuses the receipt")]
    Refused(#[source] Refusal),
}

impl Broker {
    /// Reads the last receipt of a task from the leader, and opens the chain behind it.
    ///
    /// # Errors
    /// [`ReadReceiptError`]: the message should be handed back after a pause.
    pub async fn receipts(
        &self,
        task: &Task,
    ) -> Result<(ReceiptChain, Option<Receipt>), ReadReceiptError> {
        let subject = self.names.subject(&Subject::Receipt {
            event: task.event.clone(),
            lane: task.lane.clone(),
            n: task.range.index(),
        });
        let last = self
            .last_message(&self.names.receipts(), &subject)
            .await
            .map_err(|cause| ReadReceiptError::Read {
                subject: subject.clone(),
                cause,
            })?;
        let chain = |last| ReceiptChain {
            broker: self.clone(),
            subject: subject.clone(),
            last,
        };
        match last {
            None => Ok((chain(0), None)),
            // Something else lies on top: append behind it, and go on from the last receipt.
            Some(message) if !genuine::is_receipt(&subject, &message.headers) => {
                self.metrics.skipped_records.inc();
                tracing::error!(%subject, seq = message.sequence, "no receipt of ours, passed over");
                let trail = self.receipt_chain(&task.event, &task.lane, task.range.index());
                let trail = trail.await.map_err(|cause| ReadReceiptError::Trail {
                    subject: subject.clone(),
                    cause,
                })?;
                let last = trail.into_iter().next_back();
                Ok((chain(message.sequence), last.map(|(_, receipt)| receipt)))
            }
            Some(message) => {
                let receipt = Receipt::decode(&message.payload).map_err(|cause| {
                    ReadReceiptError::Decode {
                        subject: subject.clone(),
                        cause,
                    }
                })?;
                Ok((chain(message.sequence), Some(receipt)))
            }
        }
    }
}

impl ReceiptChain {
    /// Sequence of the receipt that was read or appended last; 0 where there is none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Appends behind what was read or appended last; returns the stream sequence.
    ///
    /// # Errors
    /// As [`ReceiptChain::append_after`].
    pub async fn append(&mut self, receipt: &Receipt) -> Result<u64, AppendError> {
        self.last = self.append_after(self.last, receipt).await?;
        Ok(self.last)
    }

    /// Appends if the receipt with the sequence `after` is the last; returns the stream sequence.
    ///
    /// An answer that is not known is resolved by repeating the identical append, never by a read
    /// (a frozen leader answers reads with what was). Dropping the future leaves it unknown.
    ///
    /// # Errors
    /// [`AppendError`]; after any of them nothing more may be sent for this task.
    pub async fn append_after(&self, after: u64, receipt: &Receipt) -> Result<u64, AppendError> {
        let payload = Bytes::from(receipt.encode());
        let mut headers = expecting(after);
        let id = format!("{}.{}.{:x}", self.subject, after, receipt.claim.nonce);
        headers.insert(header::MSG_ID, id.as_str());
        let answer = self
            .broker
            .publish_until_known(&self.subject, &headers, &payload, BUDGET)
            .await;
        match answer {
            Answer::Stored { seq, .. } => Ok(seq),
            Answer::Exists { last } => self.is_mine(last, &payload).await,
            Answer::Unknown(_) | Answer::BatchOpen => Err(AppendError::Unknown),
            Answer::Refused(refusal) => Err(AppendError::Refused(refusal)),
        }
    }

    /// After a lost answer our own append may be what stands.
    async fn is_mine(&self, at_least: u64, payload: &Bytes) -> Result<u64, AppendError> {
        let stream = self.broker.names.receipts();
        for _ in 0..20 {
            match self.broker.last_message(&stream, &self.subject).await {
                Ok(Some(message)) if message.sequence >= at_least => {
                    if message.payload == *payload {
                        return Ok(message.sequence);
                    }
                    self.broker.metrics.fenced_claims.inc();
                    return Err(AppendError::Fenced);
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        Err(AppendError::Unknown)
    }
}
