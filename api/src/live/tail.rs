//! Both streams, read on from a position in an order in which an event comes before its receipts.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fanfare_nats::story::read::{StoredReceipt, StoryError, Stretch};
use fanfare_nats::{EventId, Topic};

use super::Live;
use super::position::Position;
use super::told::Told;

/// Places of each stream that are looked at in one step.
const STEP: u64 = 256;
/// Events whose topics are remembered.
const REMEMBERED: usize = 4096;

/// A reading of both streams.
#[derive(Debug)]
pub(super) struct Tail {
    at: Position,
    /// Receipts that were read and are told behind the events.
    held: Option<Stretch<StoredReceipt>>,
}

/// What one step gave.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) told: Vec<Told>,
    /// Nothing lies behind, at the moment.
    pub(super) is_end: bool,
}

impl Tail {
    /// A reading from behind a position on.
    pub(super) fn behind(at: Position) -> Self {
        Self { at, held: None }
    }

    /// Behind what was told last.
    pub(super) fn at(&self) -> Position {
        self.at
    }

    /// What comes next. Receipts are read before events and told after them: the event of each is
    /// stored by then.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn step(&mut self, live: &Live) -> Result<Step, StoryError> {
        let broker = &live.0.broker;
        if self.held.is_none() {
            let from = self.at.receipts + 1;
            self.held = Some(broker.receipts_from(from, STEP).await?);
        }
        let events = broker.events_from(self.at.events + 1, STEP).await?;
        for stored in &events.items {
            let of = stored.event.topics.clone().into();
            live.topics(|it| it.remember(stored.event.id(), of));
        }
        let mut topics = HashMap::new();
        if events.is_end {
            for receipt in self.held.iter().flat_map(|it| &it.items) {
                if !topics.contains_key(&receipt.event) {
                    let found = of_event(live, &receipt.event).await?;
                    topics.insert(receipt.event.clone(), found);
                }
            }
        }
        // From here on nothing waits: what was read is told.
        let mut told = Vec::new();
        for stored in &events.items {
            self.at.events = stored.seq;
            told.push(Told::event(self.at, stored));
        }
        self.at.events = self.at.events.max(events.next.saturating_sub(1));
        let mut is_end = events.is_end;
        if let Some(receipts) = self.held.take_if(|_| is_end) {
            for stored in &receipts.items {
                self.at.receipts = stored.seq;
                let of = topics.get(&stored.event).cloned().unwrap_or_default();
                told.push(Told::receipt(self.at, stored, of));
            }
            self.at.receipts = self.at.receipts.max(receipts.next.saturating_sub(1));
            is_end = receipts.is_end;
        }
        Ok(Step { told, is_end })
    }
}

/// The topics of an event that is not new: by its plan, which receipts never come without.
async fn of_event(live: &Live, id: &EventId) -> Result<Arc<[Topic]>, StoryError> {
    if let Some(topics) = live.topics(|it| it.of(id)) {
        return Ok(topics);
    }
    let broker = &live.0.broker;
    let stored = match broker.plan_of(id).await? {
        Some(plan) => broker.event_at_exactly(plan.event_seq).await?,
        None => None,
    };
    let stored = stored.filter(|it| it.event.id() == *id);
    let topics: Arc<[Topic]> = stored.map_or_else(Arc::default, |it| it.event.topics.into());
    live.topics(|it| it.remember(id.clone(), Arc::clone(&topics)));
    Ok(topics)
}

/// The topics of the latest events.
#[derive(Debug, Default)]
pub(super) struct Topics {
    known: HashMap<EventId, Arc<[Topic]>>,
    order: VecDeque<EventId>,
}

impl Topics {
    fn of(&self, id: &EventId) -> Option<Arc<[Topic]>> {
        self.known.get(id).cloned()
    }

    fn remember(&mut self, id: EventId, topics: Arc<[Topic]>) {
        if self.known.insert(id.clone(), topics).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
