//! One thing that is told, as it is written to every reader. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_nats::Topic;
use fanfare_nats::story::read::{StoredEvent, StoredReceipt};
use jiff::Timestamp;
use serde::Serialize;

use super::position::Position;
use crate::event::entry::Entry;
use crate::event::wanted::Wanted;

/// What is told; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Where a reader is behind it, who has seen everything before it.
    pub(super) at: Position,
    of: Of,
    /// Of the event, all of one tenant; of one that nobody can look up any more, none.
    topics: Arc<[Topic]>,
    /// The lines of the stream, the first of them the position.
    pub(super) frame: Bytes,
    n_bytes_of_id: usize,
}

/// Which stream it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Events,
    Receipts,
}

/// One receipt in numbers.
#[derive(Debug, Serialize)]
struct Summary {
    /// Of which event.
    event: String,
    lane: String,
    task: u32,
    at: Timestamp,
    /// Devices by what became of them since the receipt before.
    counts: BTreeMap<&'static str, u64>,
    /// Whether nothing of the task is left.
    is_finished: bool,
}

impl Told {
    /// An event, told at a position that its own sequence is part of.
    pub(super) fn event(at: Position, stored: &StoredEvent) -> Self {
        let topics = stored.event.topics.clone().into();
        Self::new(at, Of::Events, topics, "event", &Entry::of(stored))
    }

    /// A receipt; `topics` are its event's.
    pub(super) fn receipt(at: Position, stored: &StoredReceipt, topics: Arc<[Topic]>) -> Self {
        let mut counts = BTreeMap::new();
        for line in &stored.receipt.lines {
            *counts.entry(line.mark.word()).or_default() += 1;
        }
        let summary = Summary {
            event: stored.event.to_string(),
            lane: stored.lane.to_string(),
            task: stored.n,
            at: stored.at,
            counts,
            is_finished: stored.receipt.is_finished(),
        };
        Self::new(at, Of::Receipts, topics, "receipt", &summary)
    }

    fn new(
        at: Position,
        of: Of,
        topics: Arc<[Topic]>,
        name: &str,
        document: &impl Serialize,
    ) -> Self {
        let id = id_line(at);
        // Plain structures cannot fail; JSON has no line ends.
        let document = serde_json::to_string(document).unwrap_or_default();
        let frame = format!("{id}event: {name}\ndata: {document}\n\n");
        Self {
            at,
            of,
            topics,
            frame: frame.into(),
            n_bytes_of_id: id.len(),
        }
    }

    /// Whether a reader at a position has not seen it.
    pub(super) fn is_new_at(&self, at: Position) -> bool {
        match self.of {
            Of::Events => self.at.events > at.events,
            Of::Receipts => self.at.receipts > at.receipts,
        }
    }

    /// Where a reader is behind it.
    pub(super) fn behind(&self, at: Position) -> Position {
        match self.of {
            Of::Events => Position {
                events: self.at.events,
                ..at
            },
            Of::Receipts => Position {
                receipts: self.at.receipts,
                ..at
            },
        }
    }

    /// Whether it is among what a reader wants.
    pub(super) fn is_for(&self, wanted: &Wanted) -> bool {
        wanted.holds(&self.topics)
    }

    /// Its lines for a reader who is at `at` behind it.
    pub(super) fn frame_at(&self, at: Position) -> Bytes {
        if at == self.at {
            return self.frame.clone();
        }
        let rest = self.frame.get(self.n_bytes_of_id..).unwrap_or_default();
        [id_line(at).as_bytes(), rest].concat().into()
    }

    #[cfg(test)]
    pub(super) fn made_up(at: Position) -> Self {
        // In the tests' ring the even ones came from the stream of events.
        let of = if at.receipts == 20 || at.events > 11 {
            Of::Events
        } else {
            Of::Receipts
        };
        Self::new(at, of, Arc::default(), "event", &0)
    }
}

/// The line that says where a reader is.
pub(super) fn id_line(at: Position) -> String {
    format!("id: {at}\n")
}
