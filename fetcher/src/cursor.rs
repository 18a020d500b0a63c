//! Where a polled input resumes: what the publisher gave us to ask "anything since?".
//!
//! A cursor advances only after every publish of its batch is known to be stored. It saves work
//! and is no safety device: losing it costs one full poll.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::SourceConfig;

/// Where an input resumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cursor {
    /// Which configuration it belongs to: other templates may see news in an unchanged document.
    pub config: String,
    /// When the last complete poll began.
    pub polled_at: Option<Timestamp>,
    /// The address that the publisher moved to for good.
    pub moved_to: Option<String>,
    /// What is known of each page, by its address.
    pub pages: BTreeMap<String, Page>,
}

/// What is known of one page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Page {
    /// Echoed verbatim in `If-None-Match`.
    pub etag: Option<String>,
    /// Echoed verbatim in `If-Modified-Since`.
    pub last_modified: Option<String>,
    /// The page after it, which a 304 does not name.
    pub next: Option<String>,
    /// Hash of the body, for publishers without validators.
    pub hash: String,
}

impl Cursor {
    /// The cursor of an input that was never read.
    pub fn start(config: &str) -> Self {
        Self {
            config: config.to_owned(),
            ..Self::default()
        }
    }

    /// Reads a stored cursor; `None` if it is unreadable or belongs to another configuration.
    pub fn decode(bytes: &[u8], config: &str) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|it: &Self| it.config == config)
    }

    /// The form that is stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The key of an input's cursor in the control bucket.
pub fn key(source: &str, input: usize) -> String {
    format!("cursor.{source}.{input}")
}

/// A hash of what makes items of a document. It is of the configuration's `Debug` form, which
/// leaves secrets out; a new version of fanfare may change it, at the cost of one full poll.
pub fn fingerprint(source: &SourceConfig) -> String {
    hash(format!("{source:?}").as_bytes())
}

/// 16 hexadecimal digits.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_configuration_is_not_used() {
        let mut cursor = Cursor::start("one");
        cursor.pages.insert(
            "https://example.org/".to_owned(),
            Page {
                etag: Some("W/\"x\"".to_owned()),
                ..Page::default()
            },
        );
        let bytes = cursor.encode();
        assert_eq!(Cursor::decode(&bytes, "one"), Some(cursor));
        assert_eq!(Cursor::decode(&bytes, "two"), None);
        assert_eq!(Cursor::decode(b"{", "one"), None);
    }
}
