//! What a failed exchange says about its request: certainly not processed, or not known.

use crate::outcome::{Outcome, Reason, Scope};

/// A request without an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot have been processed.
    NotSent { reason: Reason },
    /// It was written, and may have been.
    Ambiguous { reason: Reason },
}

impl Fault {
    pub(crate) fn not_sent(reason: impl Into<Reason>) -> Self {
        Self::NotSent {
            reason: reason.into(),
        }
    }

    pub(crate) fn ambiguous(reason: impl Into<Reason>) -> Self {
        Self::Ambiguous {
            reason: reason.into(),
        }
    }

    /// The outcome of an attempt that ended so.
    pub(crate) fn into_outcome(self) -> Outcome {
        let (reason, maybe_delivered) = match self {
            Self::NotSent { reason } => (reason, false),
            Self::Ambiguous { reason } => (reason, true),
        };
        Outcome::Unavailable {
            reason,
            retry_after: None,
            scope: Scope::Connection,
            maybe_delivered,
        }
    }
}

/// True when the peer says that it did not touch the stream: `REFUSED_STREAM` (RFC 9113, 8.7), or a
/// `GOAWAY` whose last stream is lower. h2 gives the remote `GOAWAY` error to those streams only.
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away()
            || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

/// Anything else that ends a written request.
pub(super) fn after_write(error: &h2::Error) -> Fault {
    let reason = if error.is_reset() && error.is_remote() {
        "stream reset by the peer"
    } else if error.is_io() {
        "connection lost"
    } else {
        "connection closed on a protocol error"
    };
    Fault::ambiguous(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_may_have_been_delivered() {
        for (fault, expected) in [(Fault::not_sent("x"), false), (Fault::ambiguous("x"), true)] {
            let outcome = fault.into_outcome();
            assert!(
                matches!(
                    outcome,
                    Outcome::Unavailable { maybe_delivered, scope: Scope::Connection, .. }
                        if maybe_delivered == expected
                ),
                "{outcome:?}"
            );
        }
    }
}
