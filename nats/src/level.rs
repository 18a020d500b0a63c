//! What was decided about an item: the last token of an event's subject.

use std::cmp::Ordering;
use std::fmt;

use crate::hash;

/// The latched decision about an item. It only grows, or it is one of several distinct values.
#[derive(Clone, Debug, PartialEq)]
pub enum Level {
    /// One push per item.
    First,
    /// A number reached this step. The step itself stands in the subject, not its position, so
    /// that adding a step to the configuration later does not rename the others.
    Step(f64),
    /// A hash of chosen fields: each distinct value once.
    Fields(String),
}

/// The longest field hash: 16 hexadecimal digits (64 bits).
const FIELDS_DIGITS: usize = 16;

impl Level {
    /// The level of these field values, in the order of the configuration.
    pub fn of_fields(values: &[&str]) -> Self {
        let parts: Vec<&[u8]> = values.iter().map(|it| it.as_bytes()).collect();
        let mut digits = hash::hex(&hash::digest("fanfare.fields", &parts));
        digits.truncate(FIELDS_DIGITS);
        Self::Fields(digits)
    }

    /// Reads the token that [`fmt::Display`] writes: `first`, `s4_5`, `f0123456789abcdef`.
    pub fn parse(token: &str) -> Option<Self> {
        if token == "first" {
            return Some(Self::First);
        }
        if let Some(step) = token.strip_prefix('s') {
            let number: f64 = step.replace('_', ".").parse().ok()?;
            let level = Self::Step(number);
            return (number.is_finite() && level.to_string() == token).then_some(level);
        }
        let digits = token.strip_prefix('f')?;
        hash::is_hex(digits, FIELDS_DIGITS).then(|| Self::Fields(digits.to_owned()))
    }

    /// How this level stands to another of the same item: `None` where neither replaces the other.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::First, Self::First) => Some(Ordering::Equal),
            (Self::Step(mine), Self::Step(theirs)) => mine.partial_cmp(theirs),
            (Self::Fields(mine), Self::Fields(theirs)) if mine == theirs => Some(Ordering::Equal),
            (Self::First | Self::Step(_) | Self::Fields(_), _) => None,
        }
    }

    /// True when `self` replaces `other` on the screen.
    pub fn is_higher_than(&self, other: &Self) -> bool {
        self.order(other) == Some(Ordering::Greater)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Step(step) => write!(f, "s{}", step.to_string().replace('.', "_")),
            Self::Fields(digits) => write!(f, "f{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(step in -1000.0_f64..1000.0) {
            let level = Level::Step((step * 100.0).round() / 100.0);
            prop_assert_eq!(Level::parse(&level.to_string()), Some(level));
        }
    }

    #[test]
    fn foreign_tokens_are_no_levels() {
        for token in [
            "", "s", "sNaN", "sinf", "s4.5", "s04_5", "f12", "FIRST", "first ",
        ] {
            assert_eq!(Level::parse(token), None, "{token}");
        }
        assert_eq!(Level::parse("s4_5"), Some(Level::Step(4.5)));
        assert_eq!(Level::parse("s-1"), Some(Level::Step(-1.0)));
    }

    #[test]
    fn a_higher_step_replaces_a_lower_one_and_distinct_fields_do_not() {
        assert!(Level::Step(6.0).is_higher_than(&Level::Step(4.5)));
        assert!(!Level::Step(4.5).is_higher_than(&Level::Step(4.5)));
        assert!(!Level::of_fields(&["a"]).is_higher_than(&Level::of_fields(&["b"])));
    }
}
