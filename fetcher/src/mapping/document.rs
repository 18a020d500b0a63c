//! Bytes to a document: complete, or an error of the poll.

use serde_json::Value;
use thiserror::Error;

/// Why a document could not be read. Nothing of it was used.
#[derive(Debug, Error)]
pub enum DocumentError {
    /// It is no JSON, or was cut off.
    #[error("the document is no complete JSON")]
    Json(#[source] serde_json::Error),
    /// It is no RSS, Atom or JSON Feed.
    #[error("the document is no feed")]
    Feed(#[source] feed_rs::parser::ParseFeedError),
    /// Its XML ends before its root element does.
    #[error("the feed was cut off: it does not end with the end of its root element")]
    CutOff,
    /// The list of items is not where `items` says; an error page, or another format.
    #[error("the document has no list at `{path}`")]
    NoList {
        /// Where it should be.
        path: String,
    },
    /// More items than the source's limit.
    #[error("the document has {n_items} items, more than `limits.items` = {limit}")]
    TooMany {
        /// How many it has.
        n_items: usize,
        /// How many it may have.
        limit: usize,
    },
}

/// Reads a JSON document, with or without a byte-order mark.
///
/// # Errors
/// [`DocumentError::Json`], also for a document that was cut off.
pub(crate) fn read_json(bytes: &[u8]) -> Result<Value, DocumentError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(DocumentError::Json)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_content() {
        assert_eq!(read_json(b"\xef\xbb\xbf{}").unwrap(), serde_json::json!({}));
    }

    proptest! {
        #[test]
        fn a_document_cut_off_anywhere_is_an_error(cut in 0_usize..40) {
            let whole = br#"{"items":[{"id":"a"},{"id":"b"}],"n":2}"#;
            prop_assert!(read_json(&whole[..cut.min(whole.len() - 1)]).is_err());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_json(&bytes);
        }
    }
}
