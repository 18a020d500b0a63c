//! Reads a JSON object field by field and keeps every flaw, so that a client learns all at once.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

/// The most flaws that are named; a document with more is no near miss.
const MAX_FLAWS: usize = 32;
/// The longest unknown key that a pointer repeats; a longer one may be a secret in a wrong place.
const MAX_SHOWN_KEY: usize = 32;

/// What is wrong with a value, continuing a sentence that begins with its name. It never quotes the
/// value: it may be a token.
pub(crate) type Complaint = Cow<'static, str>;
/// A value read from JSON.
pub(crate) type Read<T> = Result<T, Complaint>;

/// One invalid field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Flaw {
    /// JSON pointer (RFC 6901) into the request's body.
    pub(crate) pointer: String,
    /// What is wrong with it.
    pub(crate) detail: Complaint,
}

/// All flaws of a document.
#[derive(Debug, Default)]
pub(crate) struct Flaws(Vec<Flaw>);

impl Flaws {
    /// Notes one; beyond the first 32 they are forgotten.
    pub(crate) fn add(&mut self, pointer: impl Into<String>, detail: impl Into<Complaint>) {
        if self.0.len() < MAX_FLAWS {
            self.0.push(Flaw {
                pointer: pointer.into(),
                detail: detail.into(),
            });
        }
    }

    /// How many are noted.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the value, or notes the complaint.
    pub(crate) fn keep<T>(&mut self, pointer: &str, read: Read<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(detail) => {
                self.add(pointer, detail);
                None
            }
        }
    }

    /// All of them.
    pub(crate) fn all(self) -> Vec<Flaw> {
        self.0
    }

    /// The flaws, unless there are none and the document is complete.
    pub(crate) fn judge<T>(self, document: Option<T>) -> Result<T, Vec<Flaw>> {
        match document {
            Some(document) if self.0.is_empty() => Ok(document),
            Some(_) | None => Err(self.0),
        }
    }
}

/// One object that is being read; what is left at the end is unknown.
#[derive(Debug)]
pub(crate) struct Fields {
    pointer: String,
    left: Map<String, Value>,
}

impl Fields {
    /// Takes up an object.
    pub(crate) fn open(value: Value, pointer: &str, flaws: &mut Flaws) -> Option<Self> {
        match value {
            Value::Object(left) => Some(Self {
                pointer: pointer.to_owned(),
                left,
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                flaws.add(pointer, "must be an object");
                None
            }
        }
    }

    /// The pointer of a field.
    pub(crate) fn at(&self, key: &str) -> String {
        format!(
            "{}/{}",
            self.pointer,
            key.replace('~', "~0").replace('/', "~1")
        )
    }

    /// Whether a field is there and not null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.left.get(key).is_some_and(|it| !it.is_null())
    }

    /// Takes a field out; null is the same as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|it| !it.is_null())
    }

    /// Reads a field that may be absent.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        flaws: &mut Flaws,
        read: impl FnOnce(Value) -> Read<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        flaws.keep(&self.at(key), read(value))
    }

    /// Reads a field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &str,
        flaws: &mut Flaws,
        read: impl FnOnce(Value) -> Read<T>,
    ) -> Option<T> {
        if !self.has(key) {
            flaws.add(self.at(key), "is missing");
        }
        self.optional(key, flaws, read)
    }

    /// Reads the items of an array that may be absent, each at its own pointer.
    pub(crate) fn items<T>(
        &mut self,
        key: &str,
        most: usize,
        flaws: &mut Flaws,
        mut read: impl FnMut(Value, &str, &mut Flaws) -> Option<T>,
    ) -> Vec<T> {
        let at = self.at(key);
        let items = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                flaws.add(at, "must be an array");
                return Vec::new();
            }
        };
        if items.len() > most {
            flaws.add(at, format!("has more than {most} items"));
            return Vec::new();
        }
        let items = items.into_iter().enumerate();
        items
            .filter_map(|(n, item)| read(item, &format!("{at}/{n}"), flaws))
            .collect()
    }

    /// Notes every key that nobody took.
    pub(crate) fn finish(self, flaws: &mut Flaws) {
        for key in self.left.keys() {
            if key.len() <= MAX_SHOWN_KEY {
                flaws.add(self.at(key), "is not a known field");
            } else {
                flaws.add(
                    self.pointer.clone(),
                    "has an unknown field with a long name",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_escaped_and_long_unknown_keys_are_not_repeated() {
        let mut flaws = Flaws::default();
        let secret = "s".repeat(64);
        let value = json!({"a/b~c": 1, secret.clone(): 2, "null": null});
        Fields::open(value, "/x", &mut flaws)
            .unwrap()
            .finish(&mut flaws);
        let flaws = flaws.judge(Some(())).unwrap_err();
        assert!(flaws.iter().any(|it| it.pointer == "/x/a~1b~0c"));
        assert!(!format!("{flaws:?}").contains(&secret[..16]));
    }
}
