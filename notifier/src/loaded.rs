//! Events in the hands of planner and senders: read once, encoded once per app.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_nats::event::Urgency;
use fanfare_nats::events::ReadEventError;
use fanfare_nats::{AppName, Broker, Event};
use jiff::Timestamp;
use serde_json::Map;

use crate::notification::{self, InterruptionLevel, Notification};
use crate::provider::{App, Prepared, Refusal};

/// Events kept at a time; more tasks than this are never worked on at once.
const KEPT: usize = 64;

/// An event and its forms.
pub struct Loaded {
    /// The event.
    pub event: Event,
    forms: Mutex<HashMap<(AppName, Timestamp), Form>>,
}

/// An event in the form of one app, or why it has none.
pub type Form = Result<Arc<Prepared>, Arc<Refusal>>;

impl Loaded {
    /// The event in an app's form, encoded at the first call. The task says until when it is worth
    /// something, because a replay may be so for longer than the event was.
    pub fn form(&self, name: &AppName, app: &App, expires_at: Timestamp) -> Form {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let encode = || {
            app.prepare(&notification(&self.event, expires_at))
                .map(Arc::new)
                .map_err(Arc::new)
        };
        let form = forms.entry((name.clone(), expires_at));
        form.or_insert_with(encode).clone()
    }
}

/// Recently used events, by stream sequence.
pub struct Events {
    broker: Broker,
    kept: Mutex<BTreeMap<u64, Arc<Loaded>>>,
}

impl Events {
    /// Starts empty.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            kept: Mutex::default(),
        }
    }

    /// Keeps an event that was read from the stream at `seq`.
    pub fn keep(&self, seq: u64, event: Event) -> Arc<Loaded> {
        let loaded = Arc::new(Loaded {
            event,
            forms: Mutex::default(),
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while kept.len() >= KEPT {
            kept.pop_first(); // The oldest event.
        }
        kept.entry(seq).or_insert(loaded).clone()
    }

    /// The event at `seq`, from here or from the stream; `None` if it has aged out.
    ///
    /// # Errors
    /// [`ReadEventError`]: hand the task back after a pause.
    pub async fn get(&self, seq: u64) -> Result<Option<Arc<Loaded>>, ReadEventError> {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&seq)
            .cloned();
        if kept.is_some() {
            return Ok(kept);
        }
        Ok(self
            .broker
            .event_at(seq)
            .await?
            .map(|event| self.keep(seq, event)))
    }
}

/// The event as providers get it.
fn notification(event: &Event, expires_at: Timestamp) -> Notification {
    let content = &event.content;
    let text = |it: &Option<String>| it.as_deref().map(Into::into);
    Notification {
        event_id: event.id().as_str().into(),
        screen_id: event.screen().as_str().into(),
        level: event.level.to_string().into(),
        title: content.title.as_str().into(),
        body: text(&content.body),
        url: text(&content.url),
        image: text(&content.image),
        // Told by a key of our own, which no event's data can be.
        data: if event.is_challenge() {
            Map::new()
        } else {
            content.data.clone()
        },
        challenge: event.challenge().map(Into::into),
        urgency: match event.urgency {
            Urgency::Urgent => notification::Urgency::Urgent,
            Urgency::Bulk => notification::Urgency::Bulk,
        },
        expires_at,
        sound: text(&content.sound),
        badge: content.badge,
        thread: text(&content.thread),
        interruption_level: content
            .interruption
            .as_deref()
            .and_then(InterruptionLevel::parse),
        overrides: content
            .overrides
            .iter()
            .map(|(provider, patch)| (provider.as_str().into(), patch.clone()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_nats::event::{Content, Guarantee, SourceName, Urgency};
    use fanfare_nats::policy::Retry;
    use fanfare_nats::{DeviceId, Level, Topic};
    use serde_json::json;

    use super::*;

    fn told(topic: Topic) -> Notification {
        let data = json!({"nonce": "n-1", "other": 7});
        let event = Event {
            source: SourceName::api(),
            item: "one".to_owned(),
            level: Level::First,
            topics: vec![topic],
            kind: "x".to_owned(),
            occurred_at: None,
            expires_at: Timestamp::UNIX_EPOCH,
            urgency: Urgency::Urgent,
            guarantee: Guarantee::AtLeastOnce,
            retry: Retry::DEFAULT,
            digest: None,
            traceparent: None,
            content: Content {
                data: data.as_object().unwrap().clone(),
                ..Content::default()
            },
        };
        notification(&event, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_nonce_has_a_key_of_its_own_and_no_other_event_can_bring_one() {
        let phone = DeviceId::parse("phone").unwrap();
        let challenge = told(Topic::of_challenge(&phone));
        assert_eq!(challenge.challenge.as_deref(), Some("n-1"));
        assert!(challenge.data.is_empty(), "{challenge:?}");
        let event = told(Topic::parse("news").unwrap());
        assert_eq!(event.challenge, None);
        assert_eq!(event.data["nonce"], "n-1", "it is the poster's own word");
    }
}
