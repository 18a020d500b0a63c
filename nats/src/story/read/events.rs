//! Events, their plans, and where the planners stand.

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;

use super::{StoryError, at, unread};
use crate::connect::Broker;
use crate::event::{Event, EventId};
use crate::level::Level;
use crate::plan::Plan;
use crate::stream::EVENTS_CONSUMER;
use crate::wire;

/// An event as it lies in its stream.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// The event.
    pub event: Event,
}

/// Where the stream of events and its planners stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standings {
    /// Sequence of the oldest and newest event.
    pub events: (u64, u64),
    /// Up to this sequence the planners have acknowledged everything.
    pub settled_up_to: u64,
    /// How long plans are kept, if not for ever.
    pub plans_kept: Option<Duration>,
}

impl Broker {
    /// Where events and planners stand. Read it before the plans: what is acknowledged then must
    /// have one.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn standings(&self) -> Result<Standings, StoryError> {
        let failed = unread("the streams of events and tasks");
        let events = self.reads.get_stream(self.names.events()).await;
        let events = events.map_err(|error| failed(&error))?;
        let tasks = self.reads.get_stream(self.names.tasks()).await;
        let tasks = tasks.map_err(|error| failed(&error))?;
        let planners = events.consumer_info(EVENTS_CONSUMER).await;
        let planners = planners.map_err(|error| failed(&error))?;
        let state = &events.cached_info().state;
        let kept = tasks.cached_info().config.max_age;
        Ok(Standings {
            events: (state.first_sequence, state.last_sequence),
            settled_up_to: planners.ack_floor.stream_sequence,
            plans_kept: (!kept.is_zero()).then_some(kept),
        })
    }

    /// The first event at or behind a sequence; `Err` in the value where it is not readable.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn event_from(
        &self,
        seq: u64,
    ) -> Result<Option<(u64, Timestamp, Option<Event>)>, StoryError> {
        let stream = self.stream_of(self.names.events()).await?;
        let subject = self.names.all("event");
        let message = self.message_from(&stream, &subject, seq).await?;
        Ok(message.map(|it| {
            let event = wire::decode(&it.headers, &it.payload).ok();
            (it.sequence, at(&it), event)
        }))
    }

    /// Sequence of the first event that was stored at `since` or later, by halving.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn first_event_since(
        &self,
        since: Timestamp,
        standings: &Standings,
    ) -> Result<u64, StoryError> {
        self.first_event_within(since, standings.events).await
    }

    /// The same between the oldest and the newest sequence.
    pub(super) async fn first_event_within(
        &self,
        since: Timestamp,
        (oldest, newest): (u64, u64),
    ) -> Result<u64, StoryError> {
        let (mut low, mut high) = (oldest, newest.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.event_from(middle).await? {
                Some((_, at, _)) if at < since => low = middle + 1,
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// An event by its id: at once if it is planned, else among the newest `n_newest`.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn event_by_id(
        &self,
        id: &EventId,
        n_newest: u64,
    ) -> Result<Option<(StoredEvent, Option<Plan>)>, StoryError> {
        let plan = self.plan_of(id).await?;
        if let Some(plan) = plan {
            let found = self.event_at_exactly(plan.event_seq).await?;
            return Ok(found
                .filter(|it| it.event.id() == *id)
                .map(|it| (it, Some(plan))));
        }
        let standings = self.standings().await?;
        let (first, last) = standings.events;
        let first = first.max(last.saturating_sub(n_newest)).max(1);
        let ask = |seq| self.event_at_exactly(seq);
        let mut asked = futures::stream::iter((first..=last).rev())
            .map(ask)
            .buffered(64);
        while let Some(found) = asked.next().await {
            if let Some(found) = found?.filter(|it| it.event.id() == *id) {
                return Ok(Some((found, None)));
            }
        }
        Ok(None)
    }

    /// The event with exactly this sequence, if it is there and readable.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn event_at_exactly(&self, seq: u64) -> Result<Option<StoredEvent>, StoryError> {
        let found = self.event_from(seq).await?;
        Ok(found.and_then(|(found, at, event)| {
            let event = event.filter(|_| found == seq)?;
            Some(StoredEvent { seq, at, event })
        }))
    }

    /// The newest event of a subject; `None` for all.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn newest_event(
        &self,
        subject: Option<&str>,
    ) -> Result<Option<StoredEvent>, StoryError> {
        let all = self.names.all("event");
        let subject = subject.unwrap_or(&all);
        let last = self.last_message(&self.names.events(), subject).await;
        let last = last.map_err(|error| unread("the newest event")(&error))?;
        Ok(last.and_then(|it| {
            Some(StoredEvent {
                seq: it.sequence,
                at: at(&it),
                event: wire::decode(&it.headers, &it.payload).ok()?,
            })
        }))
    }

    /// The levels that are stored for an event's item; only its own where levels have no order.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn levels_of(&self, event: &Event) -> Result<Vec<Level>, StoryError> {
        match &event.level {
            Level::First | Level::Fields(_) => Ok(vec![event.level.clone()]),
            Level::Step(_) => {
                let levels = self.stored_levels(&event.source, &event.screen()).await;
                levels.map_err(|error| unread("the levels of an item")(&error))
            }
        }
    }

    /// The plan of an event.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn plan_of(&self, id: &EventId) -> Result<Option<Plan>, StoryError> {
        let plan = self.stored_plan(id).await;
        plan.map_err(|error| unread("a plan")(&error))
    }
}
