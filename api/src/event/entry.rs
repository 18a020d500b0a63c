//! An event in a list or in the live stream: what it is, and what it shows.

use fanfare_nats::story::read::StoredEvent;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::shown::Identity;

/// An event as it was stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct Entry {
    #[serde(flatten)]
    identity: Identity,
    stored_at: Timestamp,
    /// When it happened, where its source says so.
    occurred_at: Option<Timestamp>,
    title: String,
    body: Option<String>,
    /// What a tap opens.
    url: Option<String>,
    image: Option<String>,
    /// For the app, and for filters.
    data: Map<String, Value>,
}

impl Entry {
    pub(crate) fn of(stored: &StoredEvent) -> Self {
        let event = &stored.event;
        let content = &event.content;
        Self {
            identity: Identity::of(event),
            stored_at: stored.at,
            occurred_at: event.occurred_at,
            title: content.title.clone(),
            body: content.body.clone(),
            url: content.url.clone(),
            image: content.image.clone(),
            data: content.data.clone(),
        }
    }
}
