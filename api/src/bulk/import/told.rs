//! What an import tells: lines of JSON, and the counts behind them.

use bytes::{Bytes, BytesMut};
use fanfare_nats::DeviceId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::Problem;

/// Documents between two words of progress.
const EVERY: u64 = 1000;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    /// Every line was taken.
    End,
    /// The connection, or its sender, broke off.
    CutOff,
    /// Nothing came for too long.
    Stalled,
    /// There was more than one request may bring.
    TooLarge,
    /// The server is being stopped.
    Stopping,
    /// The broker did not answer for half a minute.
    BrokerUnavailable,
}

/// What was told, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Told {
    out: BytesMut,
    lines: u64,
    created: u64,
    replaced: u64,
    failed: u64,
    /// Of those that are stored.
    pending: u64,
    why: Option<Why>,
    is_over: bool,
}

impl Told {
    /// Counts a line, and gives its number.
    pub(super) fn line(&mut self) -> u64 {
        self.lines += 1;
        self.lines
    }

    /// Whether lines may be taken that are here already.
    pub(super) fn goes_on(&self) -> bool {
        self.why.is_none()
    }

    /// A document was stored; whether its token is somebody else's, so that it waits.
    pub(super) fn written(&mut self, is_new: bool, is_pending: bool) {
        self.pending += u64::from(is_pending);
        if is_new {
            self.created += 1;
        } else {
            self.replaced += 1;
        }
        self.progress();
    }

    /// A line was not.
    pub(super) fn failed(&mut self, line: u64, id: Option<&DeviceId>, problem: &Problem) {
        self.failed += 1;
        let mut told = problem.brief();
        told.insert("line".to_owned(), line.into());
        if let Some(id) = id {
            told.insert("id".to_owned(), id.written().into());
        }
        self.say(&Value::Object(told));
        self.progress();
    }

    /// Nothing more is taken.
    pub(super) fn because(&mut self, why: Why) {
        self.why.get_or_insert(why);
    }

    /// The last word.
    pub(super) fn end(&mut self) {
        if self.is_over {
            return;
        }
        let why = self.why.unwrap_or(Why::End);
        let mut counts = self.counts();
        if let Value::Object(counts) = &mut counts {
            counts.insert("is_complete".to_owned(), (why == Why::End).into());
            counts.insert("ended".to_owned(), json!(why));
        }
        self.say(&json!({"summary": counts}));
        self.is_over = true;
        tracing::info!(
            created = self.created,
            replaced = self.replaced,
            failed = self.failed,
            pending = self.pending,
            ended = ?why,
            "devices were imported"
        );
    }

    fn progress(&mut self) {
        if (self.created + self.replaced + self.failed).is_multiple_of(EVERY) {
            let counts = self.counts();
            self.say(&json!({"progress": counts}));
        }
    }

    fn counts(&self) -> Value {
        json!({
            "lines": self.lines, "created": self.created, "replaced": self.replaced,
            "failed": self.failed, "pending": self.pending,
        })
    }

    fn say(&mut self, what: &Value) {
        self.out.extend_from_slice(what.to_string().as_bytes());
        self.out.extend_from_slice(b"\n");
    }

    /// Bytes that are to be told.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What is to be told; nothing at the end.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.out.is_empty()).then(|| self.out.split().freeze())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.is_over {
            tracing::info!(
                created = self.created,
                replaced = self.replaced,
                failed = self.failed,
                "an import was cut off: what was written stays"
            );
        }
    }
}
