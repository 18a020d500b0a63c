//! How far a reader is, in both streams. Pure.

use std::fmt;

/// The sequences of the last event and the last receipt that were told; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) events: u64,
    pub(super) receipts: u64,
}

impl Position {
    /// Reads what [`fmt::Display`] writes, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (events, receipts) = text.split_once('-')?;
        let position = Self {
            events: events.parse().ok()?,
            receipts: receipts.parse().ok()?,
        };
        (position.to_string() == text).then_some(position)
    }

    /// Whether everything that `other` has behind it lies behind this one too.
    pub(super) fn is_behind(self, other: Self) -> bool {
        self.events >= other.events && self.receipts >= other.receipts
    }

    /// The further one of both in each stream.
    pub(super) fn join(self, other: Self) -> Self {
        Self {
            events: self.events.max(other.events),
            receipts: self.receipts.max(other.receipts),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.events, self.receipts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(events: u64, receipts: u64) {
            let position = Position { events, receipts };
            prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,50}") {
            let _ = Position::parse(&text);
        }
    }

    #[test]
    fn another_spelling_is_refused() {
        for text in [
            "",
            "1",
            "1-",
            "-1",
            "01-2",
            "1-+2",
            "1-2-3",
            "18446744073709551616-0",
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }
}
