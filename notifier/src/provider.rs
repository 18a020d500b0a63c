//! Providers: the services that put a push on a device, behind one small interface.
//!
//! Architecture invariant: a provider answers with an [`Outcome`], never with a `Result`. What an
//! answer means is decided in `classify`, pure and by table; what is sent, in `encode`, pure too.
//!
//! Architecture invariant: no token is ever in a log, a reason, an error or a metric.
//!
//! Architecture invariant: an event is encoded once per app ([`Provider::prepare`]); per push only
//! the token, and what must be fresh, is put in. No task is spawned, no line is logged and no label
//! is looked up per push.

mod answer;
pub mod apns;
mod app;
mod aps;
mod config;
mod counters;
pub mod fcm;
pub mod log;
mod merge;

pub use app::{App, OpenAppCause, OpenAppError, Resources};
pub use config::{AppConfig, Environment, ProviderKind};
pub use counters::{AttemptCounters, AttemptMetrics};

use std::borrow::Cow;

use jiff::Timestamp;

use crate::notification::{Notification, Target};
use crate::outcome::Outcome;

pub(crate) use answer::plain_word;

/// The key under which our own fields travel in an APNs body; in FCM data, the prefix of theirs.
pub(crate) const OWN_KEY: &str = "fanfare";

/// Why a notification has no form at this provider; a dead letter for all of the app's devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What to change, for the author of the event.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    pub(crate) fn too_large(provider: &str, n_bytes: usize, limit: usize) -> Self {
        Self::new(format!(
            "payload is {n_bytes} bytes and {provider} takes {limit}: shorten body, data or override"
        ))
    }
}

/// One event's content in the form of one app's provider.
#[derive(Debug)]
pub struct Prepared(Form);

#[derive(Debug)]
enum Form {
    Apns(apns::Prepared),
    Fcm(fcm::Prepared),
    Log(log::Prepared),
}

/// A provider, with its connections and credentials.
pub enum Provider {
    /// Apple Push Notification service.
    Apns(Box<apns::Apns>),
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm(Box<fcm::Fcm>),
    /// A line in the log.
    Log(log::Log),
}

impl Provider {
    /// Encodes a notification once for all devices of the app.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if the notification cannot be sent at all: too large, a reserved key, an
    /// override that is no object. Asking again changes nothing.
    pub fn prepare(&self, what: &Notification) -> Result<Prepared, Refusal> {
        Ok(Prepared(match self {
            Self::Apns(it) => Form::Apns(it.prepare(what)?),
            Self::Fcm(_) => Form::Fcm(fcm::encode::encode(what)?),
            Self::Log(_) => Form::Log(log::Prepared::new(what)),
        }))
    }

    /// Makes one attempt and says what it came to, within the app's timeout.
    ///
    /// `now` dates what is sent: remaining time, provider token. At most one free retry is made
    /// where the provider's rules ask for it (a renewed token, another connection); no request that
    /// may have been processed is written twice.
    ///
    /// Dropping this future leaves the outcome unknown: the request may be on its way or accepted,
    /// so its credit stays taken.
    pub async fn attempt(&self, to: &Target<'_>, what: &Prepared, now: Timestamp) -> Outcome {
        match (self, &what.0) {
            (Self::Apns(it), Form::Apns(what)) => it.attempt(to, what, now).await,
            (Self::Fcm(it), Form::Fcm(what)) => it.attempt(to, what, now).await,
            (Self::Log(it), Form::Log(what)) => it.attempt(to, what, now),
            (Self::Apns(_) | Self::Fcm(_) | Self::Log(_), _) => Outcome::Refused {
                reason: Cow::Borrowed("prepared for another provider"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Map, json};

    use super::*;
    use crate::notification::{InterruptionLevel, Urgency};

    pub(crate) fn plain() -> Notification {
        Notification {
            event_id: "e1".into(),
            screen_id: "0123456789abcdef0123456789abcdef".into(),
            level: "s6".into(),
            title: "M 6.1 Honshu".into(),
            body: None,
            url: None,
            image: None,
            data: Map::new(),
            challenge: None,
            urgency: Urgency::Urgent,
            expires_at: Timestamp::from_second(1_800_000_000).unwrap(),
            sound: None,
            badge: None,
            thread: None,
            interruption_level: None,
            overrides: BTreeMap::new(),
        }
    }

    pub(crate) fn full() -> Notification {
        let mut data = Map::new();
        data.insert("mag".to_owned(), json!(6.1));
        data.insert("net".to_owned(), json!("us"));
        Notification {
            body: Some("10 km deep".into()),
            url: Some("https://example.org/q/1".into()),
            image: Some("https://example.org/q/1.png".into()),
            data,
            challenge: Some("nonce".into()),
            sound: Some("chime.caf".into()),
            badge: Some(3),
            thread: Some("quakes".into()),
            interruption_level: Some(InterruptionLevel::TimeSensitive),
            ..plain()
        }
    }
}
