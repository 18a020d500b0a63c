//! Faults of feeds: by path, for a while, so many times.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::script::RetryAfter;

/// A rule for requests to feeds. What is left out does not restrict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedRule {
    /// Paths that begin so.
    #[serde(default)]
    pub path: String,
    /// Requests let through first.
    #[serde(default)]
    pub skip: u64,
    /// Requests spoilt before the rule is spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Milliseconds from the rule's arrival until it begins to match.
    #[serde(default)]
    pub after_ms: u64,
    /// Milliseconds for which it then matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// What happens.
    pub fault: FeedFault,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum FeedFault {
    /// An error status; a socket's handshake is refused with it.
    Status {
        /// 500, 429, 404.
        status: u16,
        /// The header, if any.
        #[serde(default)]
        retry_after: Option<RetryAfter>,
    },
    /// An HTML page instead of the document.
    Html {
        /// 200 for a captive portal, 502 for a proxy.
        status: u16,
    },
    /// A correct answer with a document that ends early, at this share of its bytes.
    Truncate {
        /// 0 to 1.
        share: f64,
    },
    /// The connection breaks at this share of the announced bytes.
    Cut {
        /// 0 to 1.
        share: f64,
    },
    /// No answer, for so long or for ever; then the connection ends.
    Hang {
        /// Milliseconds.
        #[serde(default)]
        ms: Option<u64>,
    },
    /// The connection ends without an answer.
    Reset,
    /// The answer comes in pieces with pauses.
    Slow {
        /// Bytes per piece.
        piece: usize,
        /// Milliseconds before each.
        pause_ms: u64,
    },
    /// A socket closes with a close frame after so many frames.
    Close {
        /// Frames sent first.
        after_frames: u64,
    },
    /// A socket's connection ends without a close frame after so many frames.
    Drop {
        /// Frames sent first.
        after_frames: u64,
    },
    /// A socket opens and falls silent after so many frames.
    Mute {
        /// Frames sent first.
        after_frames: u64,
    },
}

impl FeedFault {
    fn suits(&self, is_socket: bool) -> bool {
        match self {
            Self::Status { .. } | Self::Html { .. } | Self::Hang { .. } | Self::Reset => true,
            Self::Truncate { .. } | Self::Cut { .. } | Self::Slow { .. } => !is_socket,
            Self::Close { .. } | Self::Drop { .. } | Self::Mute { .. } => is_socket,
        }
    }
}

#[derive(Debug)]
struct Slot {
    rule: FeedRule,
    since_ms: i64,
    n_matched: u64,
}

/// The rules of the feed side.
#[derive(Debug, Default)]
pub(crate) struct FeedScript {
    slots: Mutex<Vec<Slot>>,
}

impl FeedScript {
    pub(crate) fn add(&self, rule: FeedRule, now_ms: i64) {
        let slot = Slot {
            rule,
            since_ms: now_ms,
            n_matched: 0,
        };
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(slot);
    }

    pub(crate) fn clear(&self) {
        self.slots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(crate) fn take(&self, path: &str, is_socket: bool, now_ms: i64) -> Option<FeedFault> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .iter_mut()
            .find_map(|slot| slot.take(path, is_socket, now_ms))
    }
}

impl Slot {
    fn take(&mut self, path: &str, is_socket: bool, now_ms: i64) -> Option<FeedFault> {
        let rule = &self.rule;
        let age_ms = now_ms.saturating_sub_unsigned(rule.after_ms) - self.since_ms;
        let is_over = rule
            .for_ms
            .is_some_and(|it| 0_i64.saturating_add_unsigned(it) <= age_ms);
        let n_answered = self.n_matched.saturating_sub(rule.skip);
        let is_spent = rule.count.is_some_and(|it| it <= n_answered);
        let matches = path.starts_with(&rule.path) && rule.fault.suits(is_socket);
        if age_ms < 0 || is_over || is_spent || !matches {
            return None;
        }
        self.n_matched += 1;
        (self.n_matched > rule.skip).then(|| rule.fault.clone())
    }
}
