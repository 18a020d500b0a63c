//! Lengths of time as people write them: `90s`, `1h30m`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A length of time of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// Why a text is no length of time.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no length of time: write for example `30s`, `5m`, `1h30m`, `24h` or `250ms`")]
pub struct PeriodError(String);

impl Period {
    /// A number of seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// A number of hours.
    pub const fn hours(n: u64) -> Self {
        Self(Duration::from_secs(n * 3600))
    }
}

/// Milliseconds of a unit.
fn unit_ms(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

fn parse_ms(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0_u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail
            .find(|it: char| !it.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        let part = number.parse::<u64>().ok()?.checked_mul(unit_ms(unit)?)?;
        total = total.checked_add(part)?;
        rest = tail.trim_start();
    }
    Some(total)
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        parse_ms(text)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| PeriodError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1000),
            ("ms", 1),
        ] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0_u64..1_000_000_000) {
            let period = Period(Duration::from_millis(ms));
            prop_assert_eq!(period.to_string().parse(), Ok(period));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,20}") {
            let _ = text.parse::<Period>();
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(
            text.parse().ok(),
            expected.map(|ms| Period(Duration::from_millis(ms)))
        );
    }

    #[test]
    fn people_write_lengths_of_time_in_units() {
        check("60s", Some(60_000));
        check("1h30m", Some(5_400_000));
        check("1h 30m", Some(5_400_000));
        check("250ms", Some(250));
        check("7d", Some(604_800_000));
        for text in [
            "",
            "60",
            "s",
            "-1s",
            "1.5h",
            "1 hour",
            "99999999999999999999s",
        ] {
            check(text, None);
        }
    }
}
