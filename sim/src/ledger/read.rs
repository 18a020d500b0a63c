//! Reading a ledger back, also while it grows or after its writer was killed.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use super::Entry;

/// A line could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file failed.
    #[error("failed to read line {line} of the ledger")]
    Io {
        /// Counted from 1.
        line: u64,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A complete line is not an entry.
    #[error("line {line} of the ledger is no entry")]
    Shape {
        /// Counted from 1.
        line: u64,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

/// Reads the entries in order. A last line without its line end is one still being written and is
/// left out.
///
/// # Errors
/// The file cannot be opened; each item says about its line.
pub fn read(path: &Path) -> io::Result<impl Iterator<Item = Result<Entry, ReadError>> + use<>> {
    let mut lines = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut line = 0;
    let mut text = Vec::new();
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        text.clear();
        line += 1;
        match lines.read_until(b'\n', &mut text) {
            Err(cause) => {
                failed = true;
                Some(Err(ReadError::Io { line, cause }))
            }
            Ok(_) if text.last() != Some(&b'\n') => None,
            Ok(_) => Some(
                serde_json::from_slice(&text).map_err(|cause| ReadError::Shape { line, cause }),
            ),
        }
    }))
}
