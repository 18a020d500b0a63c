//! What is wrong with a configuration, as data, so that all problems can be shown at once.

use std::fmt;

/// One thing wrong with one key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted path of the key, for example `source[0].when`.
    pub key: String,
    /// What is wrong and what to write instead, without a final full stop.
    pub message: String,
}

impl Problem {
    /// Names a problem of `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }

    /// The same problem seen from one level further out: `prefix.key`.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        let key = if self.key.is_empty() {
            prefix.to_owned()
        } else {
            format!("{prefix}.{}", self.key)
        };
        Self { key, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}
