//! The ledger file, read for the reconciliation.

use std::path::Path;

use anyhow::Context;
use fanfare_sim::ledger::{self, Entry, Verdict};

/// A push that a double accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Push {
    /// When, in microseconds since the Unix epoch.
    pub(super) at_us: i64,
    /// Through which connection.
    pub(super) conn: u64,
    pub(super) token: String,
    pub(super) event: String,
    /// Its answer could not be handed to a living connection.
    pub(super) is_cut: bool,
}

/// What the doubles saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// In the order of the ledger.
    pub(super) accepted: Vec<Push>,
    /// Requests that were not accepted, with their reasons.
    pub(super) others: Vec<String>,
}

/// Reads a whole ledger.
///
/// # Errors
/// The file, or a line that is none.
pub(super) fn read(path: &Path) -> anyhow::Result<Book> {
    let entries = ledger::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut book = Book::default();
    // Positions in `accepted` by sequence; sequences have no holes.
    let mut places: Vec<Option<usize>> = vec![None];
    for entry in entries {
        match entry? {
            Entry::Request(it) if it.verdict == Verdict::Accepted => {
                places.push(Some(book.accepted.len()));
                book.accepted.push(Push {
                    at_us: it.at_us,
                    conn: it.conn,
                    token: it.token,
                    event: it.event.unwrap_or_default(),
                    is_cut: false,
                });
            }
            Entry::Request(it) => {
                places.push(None);
                let reason = it.reason.unwrap_or_else(|| it.status.to_string());
                book.others.push(reason);
            }
            Entry::Answered { of, sent, .. } => {
                let place = usize::try_from(of).ok().and_then(|of| *places.get(of)?);
                if let Some(push) = place.and_then(|place| book.accepted.get_mut(place)) {
                    push.is_cut = !sent;
                }
            }
        }
    }
    Ok(book)
}
