//! Where the items of a document are.

use serde_json::Value;
use serde_json_path::JsonPath;

use super::document::DocumentError;

/// A compiled `items`.
#[derive(Debug)]
pub(crate) struct Items {
    path: JsonPath,
    /// For a path that ends with `[*]`: what it lists, which must be there. An error page with
    /// status 200 has no items either; a baseline made of it would let everything through.
    list: Option<JsonPath>,
    text: String,
}

impl Items {
    /// Compiles a JSONPath (RFC 9535).
    ///
    /// # Errors
    /// The parser's words.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        let path = JsonPath::parse(text).map_err(|error| error.to_string())?;
        let list = text
            .strip_suffix("[*]")
            .or_else(|| text.strip_suffix(".*"))
            .and_then(|it| JsonPath::parse(it).ok());
        Ok(Self {
            path,
            list,
            text: text.to_owned(),
        })
    }

    /// The items of a document.
    ///
    /// # Errors
    /// [`DocumentError::NoList`], [`DocumentError::TooMany`].
    pub(crate) fn select<'a>(
        &self,
        document: &'a Value,
        limit: usize,
    ) -> Result<Vec<&'a Value>, DocumentError> {
        let has_list = self.list.as_ref().is_none_or(|list| {
            list.query(document)
                .all()
                .iter()
                .any(|it| it.is_array() || it.is_object())
        });
        if !has_list {
            return Err(DocumentError::NoList {
                path: self.text.clone(),
            });
        }
        let items = self.path.query(document).all();
        bounded(items.len(), limit)?;
        Ok(items)
    }
}

/// Refuses more items than allowed.
pub(crate) fn bounded(n_items: usize, limit: usize) -> Result<(), DocumentError> {
    if n_items > limit {
        return Err(DocumentError::TooMany { n_items, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_may_be_empty_and_may_not_be_missing() {
        let items = Items::compile("$.features[*]").unwrap();
        assert_eq!(items.select(&json!({"features": []}), 9).unwrap().len(), 0);
        assert_eq!(
            items.select(&json!({"features": [1, 2]}), 9).unwrap().len(),
            2
        );
        for document in [
            json!({"error": "later"}),
            json!({"features": null}),
            json!([]),
        ] {
            let error = items.select(&document, 9).unwrap_err();
            assert!(matches!(error, DocumentError::NoList { .. }), "{document}");
        }
    }

    #[test]
    fn a_document_longer_than_the_limit_is_refused() {
        let items = Items::compile("$[*]").unwrap();
        assert!(matches!(
            items.select(&json!([1, 2, 3]), 2),
            Err(DocumentError::TooMany {
                n_items: 3,
                limit: 2
            })
        ));
    }
}
