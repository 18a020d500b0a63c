//! Versions of nats-server, and which of them are new enough.

use std::fmt;

/// A version of nats-server. A pre-release sorts before its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    numbers: (u16, u16, u16),
    is_release: bool,
}

impl Version {
    /// The oldest server that keeps fanfare's promise. 2.12 brought atomic batches and message
    /// schedules, but 2.12.0 answers a create-only batch with error 10164 for ever (measured; right
    /// from 2.12.1 on).
    pub const MINIMUM: Self = Self::release(2, 12, 1);

    /// The version that is fetched when there is none.
    pub const PINNED: Self = Self::release(2, 15, 1);

    /// A released version.
    pub const fn release(major: u16, minor: u16, patch: u16) -> Self {
        Self {
            numbers: (major, minor, patch),
            is_release: true,
        }
    }

    /// Reads a version from `2.15.1`, `v2.15.1`, `nats-server: v2.16.0-RC.1`; `None` if there is
    /// none in `text`.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().find_map(|it| {
            let it = it.trim_start_matches('v');
            it.starts_with(|c: char| c.is_ascii_digit()).then_some(it)
        })?;
        let (numbers, rest) = match word.find(['-', '+']) {
            Some(at) => word.split_at(at),
            None => (word, ""),
        };
        let mut parts = numbers.split('.').map(|it| it.parse().ok());
        let version = (parts.next()??, parts.next()??, parts.next()??);
        let is_release = !rest.starts_with('-');
        parts.next().is_none().then_some(Self {
            numbers: version,
            is_release,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if self.is_release {
            Ok(())
        } else {
            f.write_str(" (pre-release)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[track_caller]
    fn check(text: &str, new_enough: Option<bool>) {
        let version = Version::parse(text);
        assert_eq!(
            version.map(|it| it >= Version::MINIMUM),
            new_enough,
            "{text}"
        );
    }

    #[test]
    fn versions_are_read_as_servers_print_them() {
        check("nats-server: v2.15.1", Some(true));
        check("nats-server: v2.12.1\n", Some(true));
        check("nats-server: v2.12.1-RC.2", Some(false));
        check("nats-server: v2.12.0", Some(false));
        check("nats-server: v2.9.10", Some(false));
        check("nats-server: 2.9.10", Some(false));
        check("v3.0.0", Some(true));
        check("2.13.0-dev", Some(true));
        check("2.13", None);
        check("", None);
        check("nats-server: unknown", None);
    }
}
