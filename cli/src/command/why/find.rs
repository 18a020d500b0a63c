//! Which event is meant.

use fanfare_nats::event::{RESERVED_SOURCES, SourceName};
use fanfare_nats::story::read::{StoredEvent, StoryError};
use fanfare_nats::{Broker, EventId, Level, Plan, ScreenId};

use super::unread;
use crate::exit::Failure;

/// An event without a plan is looked for among so many.
const NEWEST: u64 = 20_000;

/// The event that is meant.
pub(super) struct Found {
    pub(super) stored: StoredEvent,
    pub(super) plan: Option<Plan>,
}

/// Finds an event by its id, by its item, or the newest one.
pub(super) async fn event(
    broker: &Broker,
    text: &str,
    sources: impl Iterator<Item = String>,
) -> Result<Found, Failure> {
    if let Some(id) = EventId::parse(text) {
        let found = broker.event_by_id(&id, NEWEST).await.map_err(unread)?;
        if let Some((stored, plan)) = found {
            return Ok(Found { stored, plan });
        }
    }
    let stored = if text == "last" {
        broker.newest_event(None).await.map_err(unread)?
    } else {
        let sources: Vec<String> = sources.chain(RESERVED_SOURCES.map(str::to_owned)).collect();
        by_item(broker, text, &sources).await?
    };
    let stored = stored.ok_or_else(|| unknown(text))?;
    let plan = broker.plan_of(&stored.event.id()).await.map_err(unread)?;
    Ok(Found { stored, plan })
}

fn unknown(text: &str) -> anyhow::Error {
    match text {
        "last" => anyhow::anyhow!("there is no event yet"),
        text if EventId::parse(text).is_some() => anyhow::anyhow!(
            "there is no event {text}: not among the planned ones nor the newest {NEWEST}"
        ),
        text => anyhow::anyhow!(
            "there is no event {text}: write an event's id, `last`, an item of a configured \
             source or of the API, or SOURCE/ITEM"
        ),
    }
}

async fn by_item(
    broker: &Broker,
    text: &str,
    sources: &[String],
) -> Result<Option<StoredEvent>, Failure> {
    let with_source = text
        .split_once('/')
        .and_then(|(source, item)| Some((SourceName::parse(source).ok()?, item)));
    if let Some((source, item)) = with_source
        && let Some(found) = newest(broker, &source, item).await.map_err(unread)?
    {
        return Ok(Some(found));
    }
    let mut found: Vec<StoredEvent> = Vec::new();
    for source in sources.iter().filter_map(|it| SourceName::parse(it).ok()) {
        found.extend(newest(broker, &source, text).await.map_err(unread)?);
    }
    if found.len() > 1 {
        let names: Vec<String> = found
            .iter()
            .map(|it| format!("{}/{text}", it.event.source))
            .collect();
        let names = names.join(", ");
        return Err(anyhow::anyhow!("several sources have {text}: write one of {names}").into());
    }
    Ok(found.pop())
}

/// The highest level of an item, or the newest of those without an order.
async fn newest(
    broker: &Broker,
    source: &SourceName,
    item: &str,
) -> Result<Option<StoredEvent>, StoryError> {
    let filter = broker
        .names()
        .item_levels(source, &ScreenId::new(source, item));
    let Some(newest) = broker.newest_event(Some(&filter)).await? else {
        return Ok(None);
    };
    let levels = broker.levels_of(&newest.event).await?;
    let highest = levels.iter().reduce(|one, other| {
        if other.is_higher_than(one) {
            other
        } else {
            one
        }
    });
    match highest {
        Some(level) if *level != newest.event.level => of_level(broker, &newest, level).await,
        Some(_) | None => Ok(Some(newest)),
    }
}

async fn of_level(
    broker: &Broker,
    other: &StoredEvent,
    level: &Level,
) -> Result<Option<StoredEvent>, StoryError> {
    let event = &other.event;
    let subject = broker
        .names()
        .item_levels(&event.source, &event.screen())
        .replace('*', &level.to_string());
    broker.newest_event(Some(&subject)).await
}
