//! The streams of events and receipts in order, a bounded stretch at a time: for lists, for what a
//! device missed, and for the live stream.
//!
//! Single messages, from the leader, as everything that the API reads: it needs no consumer, whose
//! delivery the server would not check, and no right that it does not have already.

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;

use super::{StoredEvent, StoryError, at, unread};
use crate::connect::Broker;
use crate::event::EventId;
use crate::genuine;
use crate::plan::Lane;
use crate::receipt::Receipt;
use crate::subject::Subject;

/// Messages that are asked for at once.
const AT_ONCE: u8 = 32;

/// A receipt as it lies in its stream.
#[derive(Clone, Debug)]
pub struct StoredReceipt {
    /// Its sequence.
    pub seq: u64,
    /// When it was stored.
    pub at: Timestamp,
    /// Of which event.
    pub event: EventId,
    /// Through which lane.
    pub lane: Lane,
    /// Which part of the plan.
    pub n: u32,
    /// What it says.
    pub receipt: Receipt,
}

/// A part of a stream, in the order in which it was read.
#[derive(Clone, Debug)]
pub struct Stretch<T> {
    /// What was found and could be read.
    pub items: Vec<T>,
    /// Where the next reading goes on: `from` or `before` of its call.
    pub next: u64,
    /// Nothing lies behind, at the moment.
    pub is_end: bool,
}

/// A message as it was found: its sequence, and what it is if it can be read.
type Found<T> = (u64, Option<T>);

impl Broker {
    /// Sequences of the oldest and the newest event; `None` where there is none.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn events_held(&self) -> Result<Option<(u64, u64)>, StoryError> {
        let Some((oldest, ..)) = self.event_from(1).await? else {
            return Ok(None);
        };
        let newest = self.newest_of(self.names.events(), "event").await?;
        Ok(newest.map(|newest| (oldest, newest.max(oldest))))
    }

    /// Sequence of the newest receipt; 0 where there is none.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn newest_receipt(&self) -> Result<u64, StoryError> {
        let newest = self.newest_of(self.names.receipts(), "receipt").await?;
        Ok(newest.unwrap_or(0))
    }

    async fn newest_of(&self, stream: String, kind: &str) -> Result<Option<u64>, StoryError> {
        let last = self.last_message(&stream, &self.names.all(kind)).await;
        let last = last.map_err(|error| unread(&stream)(&error))?;
        Ok(last.map(|it| it.sequence))
    }

    /// Sequence of the first event that was stored at `since` or later, or the one behind the newest.
    /// About 20 reads for a million events.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn first_event_at(&self, since: Timestamp) -> Result<u64, StoryError> {
        match self.events_held().await? {
            Some(held) => self.first_event_within(since, held).await,
            None => Ok(1),
        }
    }

    /// Events from a sequence on, the oldest first: looks at 32 places or a few more than `n_places`.
    /// What cannot be read (a later schema, a forgery) is left out.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn events_from(
        &self,
        from: u64,
        n_places: u64,
    ) -> Result<Stretch<StoredEvent>, StoryError> {
        let ask = |seq| self.event_at_or_behind(seq);
        upwards(from, n_places, ask).await
    }

    /// Events before a sequence, the newest first: looks at `n_places` places at most.
    ///
    /// # Errors
    /// [`StoryError`]; also where a server answers that has fallen behind.
    pub async fn events_before(
        &self,
        before: u64,
        n_places: u64,
    ) -> Result<Stretch<StoredEvent>, StoryError> {
        let Some((oldest, newest)) = self.events_held().await? else {
            return Ok(Stretch {
                items: Vec::new(),
                next: 0,
                is_end: true,
            });
        };
        let ask = |seq| self.event_at_or_behind(seq);
        downwards(before.min(newest.saturating_add(1)), oldest, n_places, ask).await
    }

    /// Receipts of all events from a sequence on, the oldest first; as [`Broker::events_from`].
    ///
    /// # Errors
    /// [`StoryError`].
    pub async fn receipts_from(
        &self,
        from: u64,
        n_places: u64,
    ) -> Result<Stretch<StoredReceipt>, StoryError> {
        let ask = |seq| self.receipt_at_or_behind(seq);
        upwards(from, n_places, ask).await
    }

    async fn event_at_or_behind(&self, seq: u64) -> Result<Option<Found<StoredEvent>>, StoryError> {
        let found = self.event_from(seq).await?;
        Ok(found.map(|(seq, at, event)| {
            let stored = event.map(|event| StoredEvent { seq, at, event });
            (seq, stored)
        }))
    }

    async fn receipt_at_or_behind(
        &self,
        seq: u64,
    ) -> Result<Option<Found<StoredReceipt>>, StoryError> {
        let stream = self.stream_of(self.names.receipts()).await?;
        let subjects = self.names.all("receipt");
        let message = self.message_from(&stream, &subjects, seq).await?;
        Ok(message.map(|it| {
            let subject = self.names.parse(&it.subject);
            let is_ours = genuine::is_receipt(&it.subject, &it.headers);
            let stored = match (subject, Receipt::decode(&it.payload)) {
                (Ok(Subject::Receipt { event, lane, n }), Ok(receipt)) if is_ours => {
                    Some(StoredReceipt {
                        seq: it.sequence,
                        at: at(&it),
                        event,
                        lane,
                        n,
                        receipt,
                    })
                }
                _ => None,
            };
            (it.sequence, stored)
        }))
    }
}

/// Reads forwards. Several questions are under way at once, and an election may come between them: so
/// answers are taken in order, and nothing behind one that found nothing.
async fn upwards<T, F>(
    from: u64,
    n_places: u64,
    ask: impl Fn(u64) -> F,
) -> Result<Stretch<T>, StoryError>
where
    F: Future<Output = Result<Option<Found<T>>, StoryError>>,
{
    let (mut next, mut items, mut width) = (from.max(1), Vec::new(), 1);
    let end = next.saturating_add(n_places.max(1));
    while next < end {
        let places = (next..next.saturating_add(width)).map(|seq| {
            let found = ask(seq);
            async move { found.await.map(|it| (seq, it)) }
        });
        let answers: Vec<_> = stream::iter(places)
            .buffered(AT_ONCE.into())
            .collect()
            .await;
        for answer in answers {
            let (seq, found) = answer?;
            if seq < next {
                continue; // A hole was passed over.
            }
            let Some((found, item)) = found else {
                return Ok(Stretch {
                    items,
                    next,
                    is_end: true,
                });
            };
            items.extend(item);
            next = found.saturating_add(1);
        }
        // At the end of a stream one place is new at a time, mostly.
        width = (width * 2).min(AT_ONCE.into());
    }
    Ok(Stretch {
        items,
        next,
        is_end: false,
    })
}

/// Reads backwards, down to `oldest`.
async fn downwards<T, F>(
    before: u64,
    oldest: u64,
    n_places: u64,
    ask: impl Fn(u64) -> F,
) -> Result<Stretch<T>, StoryError>
where
    F: Future<Output = Result<Option<Found<T>>, StoryError>>,
{
    let lowest = before.saturating_sub(n_places.max(1)).max(oldest);
    let places = (lowest..before).rev().map(|seq| {
        let found = ask(seq);
        async move { found.await.map(|it| (seq, it)) }
    });
    let mut answers = stream::iter(places).buffered(AT_ONCE.into());
    let mut items = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer? {
            (seq, Some((found, item))) if found == seq => items.extend(item),
            (_, Some(_)) => {} // A hole.
            (seq, None) => return Err(unread(&format!("event {seq}"))(&"the server lags behind")),
        }
    }
    Ok(Stretch {
        items,
        next: lowest.min(before),
        is_end: lowest <= oldest,
    })
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};

    use super::*;

    /// A stream that holds these sequences.
    fn held(seqs: &'static [u64]) -> impl Fn(u64) -> Ready<Result<Option<Found<u64>>, StoryError>> {
        move |from| {
            let found = seqs.iter().copied().find(|it| *it >= from);
            ready(Ok(found.map(|it| (it, Some(it)))))
        }
    }

    #[tokio::test]
    async fn a_stretch_is_bounded_and_says_where_to_go_on() {
        let stream = held(&[3, 4, 9, 10, 11, 500]);
        let mut seen = Vec::new();
        let mut from = 1;
        loop {
            let stretch = upwards(from, 2, &stream).await.unwrap();
            seen.extend(stretch.items);
            from = stretch.next;
            if stretch.is_end {
                break;
            }
        }
        assert_eq!(seen, [3, 4, 9, 10, 11, 500]);
        assert_eq!(from, 501);
        assert!(upwards(501, 9, &stream).await.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn what_lies_behind_a_question_that_found_nothing_is_not_taken() {
        // Of two servers that answer, the first has not heard of 2 yet.
        let torn = |from: u64| {
            let seq = if from == 2 { None } else { Some(from) };
            ready(Ok(seq.map(|it| (it, Some(it)))))
        };
        let stretch = upwards(1, 100, torn).await.unwrap();
        assert_eq!((stretch.items, stretch.next), (vec![1], 2));
        assert!(stretch.is_end);
    }

    #[tokio::test]
    async fn backwards_it_shows_the_newest_first_and_passes_holes() {
        let stream = held(&[3, 4, 9, 10]);
        let stretch = downwards(11, 3, 3, &stream).await.unwrap();
        assert_eq!((stretch.items, stretch.next), (vec![10, 9], 8));
        assert!(!stretch.is_end);
        let stretch = downwards(8, 3, 100, &stream).await.unwrap();
        assert_eq!((stretch.items, stretch.next), (vec![4, 3], 3));
        assert!(stretch.is_end);
        // The stream has 11, this server does not know it.
        assert!(downwards(12, 3, 3, &stream).await.is_err());
    }
}
