//! The last thing that went wrong, for whoever asks.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

/// The last error of a part of a role; clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastError(Arc<Mutex<Option<(Timestamp, String)>>>);

impl LastError {
    /// Starts without one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers an error and its causes. As in a log: nothing secret.
    pub fn note(&self, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.say(&text);
    }

    /// Remembers an error that has only words.
    pub fn say(&self, text: &str) {
        let at = crate::clock::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, text.to_owned()));
    }

    /// `null`, or when and what.
    pub fn told(&self) -> Value {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            None => Value::Null,
            Some((at, text)) => json!({ "at": at, "text": text }),
        }
    }
}
