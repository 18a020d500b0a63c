//! A provider that accepts everything and says so: the first push of a new installation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::json;

use super::counters::AttemptCounters;
use crate::notification::{Notification, Target};
use crate::outcome::Outcome;

/// Writes a line per push to the log and, if configured, a JSON line to a file.
pub struct Log {
    app: Box<str>,
    file: Option<Mutex<File>>,
    counters: AttemptCounters,
}

/// What the line says.
#[derive(Debug)]
pub(super) struct Prepared {
    event_id: Box<str>,
    screen_id: Box<str>,
    level: Box<str>,
    title: Box<str>,
}

impl Prepared {
    pub(super) fn new(what: &Notification) -> Self {
        Self {
            event_id: what.event_id.clone(),
            screen_id: what.screen_id.clone(),
            level: what.level.clone(),
            title: what.title.clone(),
        }
    }
}

impl Log {
    pub(super) fn open(
        app: &str,
        file: Option<&Path>,
        counters: AttemptCounters,
    ) -> io::Result<Self> {
        let file = file
            .map(|path| OpenOptions::new().create(true).append(true).open(path))
            .transpose()?;
        Ok(Self {
            app: app.into(),
            file: file.map(Mutex::new),
            counters,
        })
    }

    /// Accepts. A file that cannot be written is as a provider that is not there.
    pub(super) fn attempt(&self, to: &Target<'_>, what: &Prepared, now: Timestamp) -> Outcome {
        let outcome = match self.append(to, what, now) {
            Ok(()) => {
                // Titles are shown here and nowhere else: to show them is what this provider is for.
                tracing::info!(
                    app = %self.app, device.id = to.device, event.id = %what.event_id,
                    "would push {:?}", what.title,
                );
                Outcome::Accepted { provider_id: None }
            }
            Err(_) => Outcome::Unavailable {
                reason: "file not writable".into(),
                retry_after: None,
                scope: crate::outcome::Scope::App,
                maybe_delivered: false,
            },
        };
        self.counters.count(&outcome);
        outcome
    }

    fn append(&self, to: &Target<'_>, what: &Prepared, now: Timestamp) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let line = json!({
            "at": now.to_string(), "app": self.app, "device": to.device,
            "event": what.event_id, "screen": what.screen_id, "level": what.level,
            "title": what.title,
        });
        // One write per line, so that several processes may append to one file. It blocks for
        // microseconds, which a provider for trying things out may.
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{line}\n").as_bytes())
    }
}
