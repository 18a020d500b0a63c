//! One publish to a stream and what its answer means: the base of everything that is stored.
//!
//! The client library's own publish is not used: it maps 10164 ("another proposal is in flight",
//! nothing stored) and 10158 to "other", and its acknowledgement futures hold a permit for 30 s.

use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use serde::Deserialize;

/// How long one answer is waited for. A broker without a leader answers 503 at once; silence means
/// a frozen server or a denied permission.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Header names that the client library does not have.
pub(crate) mod header {
    pub(crate) const EXPECTED_LAST_SUBJECT_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
    pub(crate) const MSG_ID: &str = "Nats-Msg-Id";
    pub(crate) const TTL: &str = "Nats-TTL";
    pub(crate) const KV_OPERATION: &str = "KV-Operation";
    pub(crate) const ROLLUP: &str = "Nats-Rollup";
    pub(crate) const MARKER_REASON: &str = "Nats-Marker-Reason";
    pub(crate) const BATCH_ID: &str = "Nats-Batch-Id";
    pub(crate) const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
    pub(crate) const BATCH_COMMIT: &str = "Nats-Batch-Commit";
    pub(crate) const SCHEDULE: &str = "Nats-Schedule";
    pub(crate) const SCHEDULE_TARGET: &str = "Nats-Schedule-Target";
    pub(crate) const SCHEDULE_TTL: &str = "Nats-Schedule-TTL";
    pub(crate) const SCHEDULER: &str = "Nats-Scheduler";
    pub(crate) const STREAM: &str = "Nats-Stream";
    pub(crate) const SUBJECT: &str = "Nats-Subject";
    /// Ours: the number of the lease under which an event was published.
    pub(crate) const LEASE: &str = "Fanfare-Lease";
}

/// What the stream answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message is stored, by this request or by an earlier one with the same id.
    Stored {
        /// Its stream sequence.
        seq: u64,
        /// True when an earlier one was recognised by its message id.
        duplicate: bool,
    },
    /// 10071: the subject's last message is not the one that was expected. Proof that something is
    /// stored there.
    Exists {
        /// Sequence of the subject's last message.
        last: u64,
    },
    /// Not known, or known to be not stored: repeat the same bytes (10164, 10158, 503, silence).
    Unknown(Unknown),
    /// An empty answer: the first message of a batch was taken up.
    BatchOpen,
    /// The stream refuses; repeating does not help.
    Refused(Refusal),
}

/// Why it is not known whether a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// 10164: another proposal for the subject is in flight and may still be lost.
    InFlight,
    /// 10158: the same message id is in flight and may still be lost.
    IdInFlight,
    /// 503: the stream has no leader at the moment, or the stream does not exist.
    NoLeader,
    /// No answer in time, or the connection ended.
    Silence,
}

/// A refusal of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// JetStream's `err_code`, for example 10077 (a store limit) or 10023 (no storage left).
    pub code: u64,
    /// JetStream's text.
    pub text: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (JetStream error {})", self.text, self.code)
    }
}

impl std::error::Error for Refusal {}

#[derive(Deserialize)]
struct WireAnswer {
    error: Option<WireError>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct WireError {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Wrong last sequence; the number stands only in the text.
const WRONG_LAST_SEQUENCE: u64 = 10071;
/// Another proposal with an expected sequence is in flight for the subject (R3 only).
const EXPECTED_IN_FLIGHT: u64 = 10164;
/// A message with the same id is in process (R3 only).
const DUPLICATE_IN_PROCESS: u64 = 10158;
/// Leader changed inside a batch, gap, or abandoned: start over with another id.
pub(crate) const BATCH_INCOMPLETE: u64 = 10176;
/// Too many batches are open on the stream.
pub(crate) const BATCH_TOO_MANY: u64 = 10210;

/// Reads an answer's bytes.
pub(crate) fn read_answer(payload: &[u8]) -> Answer {
    if payload.is_empty() {
        return Answer::BatchOpen;
    }
    let Ok(wire) = serde_json::from_slice::<WireAnswer>(payload) else {
        return Answer::Unknown(Unknown::Silence);
    };
    match (wire.error, wire.seq) {
        (Some(error), _) => read_error(error),
        (None, Some(seq)) => Answer::Stored {
            seq,
            duplicate: wire.duplicate,
        },
        (None, None) => Answer::Unknown(Unknown::Silence),
    }
}

fn read_error(error: WireError) -> Answer {
    match error.err_code {
        WRONG_LAST_SEQUENCE => {
            let last = error.description.rsplit(' ').next().unwrap_or("");
            Answer::Exists {
                last: last.parse().unwrap_or(0),
            }
        }
        EXPECTED_IN_FLIGHT => Answer::Unknown(Unknown::InFlight),
        DUPLICATE_IN_PROCESS => Answer::Unknown(Unknown::IdInFlight),
        _ if error.code == 503 => Answer::Unknown(Unknown::NoLeader),
        code => Answer::Refused(Refusal {
            code,
            text: error.description,
        }),
    }
}

/// Publishes once and waits for the answer.
///
/// Dropping the future leaves it unknown whether the message is stored.
pub(crate) async fn publish(
    client: &Client,
    subject: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Answer {
    let request = Request::new()
        .payload(payload)
        .headers(headers)
        .timeout(Some(ANSWER_TIMEOUT));
    match client.send_request(subject.to_owned(), request).await {
        Ok(message) if message.status.is_some_and(|it| it.as_u16() == 503) => {
            Answer::Unknown(Unknown::NoLeader)
        }
        Ok(message) => read_answer(&message.payload),
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders => Answer::Unknown(Unknown::NoLeader),
            RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                Answer::Refused(Refusal {
                    code: 0,
                    text: error.to_string(),
                })
            }
            RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                Answer::Unknown(Unknown::Silence)
            }
        },
    }
}

/// Headers of a publish that must be the first on its subject, or follow exactly `last`.
pub(crate) fn expecting(last: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::EXPECTED_LAST_SUBJECT_SEQUENCE,
        last.to_string().as_str(),
    );
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(payload: &str, expected: Answer) {
        assert_eq!(read_answer(payload.as_bytes()), expected);
    }

    #[test]
    fn answers_are_sorted_into_yes_no_and_not_known() {
        check(
            r#"{"stream":"S","seq":7}"#,
            Answer::Stored {
                seq: 7,
                duplicate: false,
            },
        );
        check(
            r#"{"stream":"S","seq":7,"duplicate":true}"#,
            Answer::Stored {
                seq: 7,
                duplicate: true,
            },
        );
        check(
            r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 12"},"stream":"S","seq":0}"#,
            Answer::Exists { last: 12 },
        );
        for (code, why) in [(10164, Unknown::InFlight), (10158, Unknown::IdInFlight)] {
            check(
                &format!(
                    r#"{{"error":{{"code":400,"err_code":{code},"description":"x"}},"stream":"S","seq":0}}"#
                ),
                Answer::Unknown(why),
            );
        }
        check(
            r#"{"error":{"code":503,"err_code":10077,"description":"insufficient resources"}}"#,
            Answer::Unknown(Unknown::NoLeader),
        );
        check("", Answer::BatchOpen);
        check("garbage", Answer::Unknown(Unknown::Silence));
    }

    #[test]
    fn a_store_limit_is_a_refusal_and_never_success() {
        check(
            r#"{"error":{"code":400,"err_code":10077,"description":"maximum bytes exceeded"}}"#,
            Answer::Refused(Refusal {
                code: 10077,
                text: "maximum bytes exceeded".into(),
            }),
        );
    }
}
