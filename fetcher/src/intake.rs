//! Observations → stored events: the stations between a document and the stream.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::event::SourceName;
use fanfare_nats::lease::Tenure;
use fanfare_nats::policy::{Policy as Delivery, TopicPolicies, Wish};
use fanfare_nats::publish::{PublishEventError, Published};
use fanfare_nats::{Broker, Event, Level, fail};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::baseline::Baseline;
use crate::config::SourceConfig;
use crate::decide::{Decision, Policy, Silence, decide};
use crate::known::Known;
use crate::level::LevelPolicy;
use crate::mapping::{DocumentError, Mapping, Observation, Observed};
use crate::metric::{EventResult, ItemResult, SourceMetrics};

/// Documents from this size on are read beside the runtime's threads.
const LARGE: usize = 64 * 1024;

/// What a source's observations are judged by and where its events go.
#[derive(Debug)]
pub struct Intake {
    shape: Shape,
    fresh_for: Duration,
    at_most: Option<usize>,
    in_flight: usize,
    /// The source says no time: its decisions are kept for ever.
    is_kept: bool,
    baseline: Baseline,
    broker: Broker,
    known: Known,
    metrics: SourceMetrics,
    /// The lease under which events are published.
    tenure: Option<Tenure>,
}

/// What all events of a source have in common.
#[derive(Clone, Debug)]
pub struct Shape {
    source: SourceName,
    kind: String,
    wish: Wish,
    topics: Arc<TopicPolicies>,
}

/// What a batch was judged to be.
#[derive(Debug)]
pub struct Judged {
    /// The events to publish: each once, without those that are known to be stored.
    pub events: Vec<Event>,
    /// False if an item lies too far ahead, so that the same batch may bring news later.
    pub is_lasting: bool,
}

/// Why events of a batch are not known to be stored. The same events are published again.
#[derive(Debug, Error)]
pub enum NotStored {
    /// At least one publish has no final answer, or the stream refuses.
    #[error("{n_left} events are not known to be stored")]
    Publish {
        /// How many are left.
        n_left: usize,
        /// What was said about one of them.
        #[source]
        cause: PublishEventError,
    },
    /// The levels of an item could not be read.
    #[error("the stored levels of an item could not be read")]
    Levels(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Shape {
    /// The common part of a source's events.
    ///
    /// # Errors
    /// A source name that is none; validation refuses it before.
    pub fn new(
        source: &SourceConfig,
        topics: Arc<TopicPolicies>,
    ) -> Result<Self, fanfare_nats::event::NameError> {
        Ok(Self {
            source: SourceName::parse(&source.name)?,
            kind: source
                .kind
                .clone()
                .unwrap_or_else(|| format!("fanfare.source.{}", source.name)),
            wish: source.wish(None),
            topics,
        })
    }

    /// How an observation's event is delivered: as the item's template and the source say, then the
    /// topics, then the defaults.
    pub fn delivery(&self, seen: &Observation) -> Delivery {
        let urgency = seen.urgency;
        let wish = Wish {
            urgency,
            ..self.wish
        };
        self.topics.decide(wish, &seen.topics)
    }

    /// The event of an observation at a level. Its id depends on source, item and level alone.
    pub fn event(&self, seen: Observation, level: Level, now: Timestamp) -> Event {
        let Delivery {
            retry,
            expires_in,
            guarantee,
            urgency,
        } = self.delivery(&seen);
        let expires_in = SignedDuration::try_from(expires_in).unwrap_or(SignedDuration::ZERO);
        Event {
            source: self.source.clone(),
            item: seen.item,
            level,
            topics: seen.topics,
            kind: self.kind.clone(),
            occurred_at: seen.occurred_at,
            expires_at: now.checked_add(expires_in).unwrap_or(now),
            urgency,
            guarantee,
            retry,
            digest: None,
            traceparent: None,
            content: seen.content,
        }
    }
}

impl Intake {
    /// An intake that judges by `baseline`.
    ///
    /// # Errors
    /// A source name that is none.
    pub fn new(
        source: &SourceConfig,
        topics: Arc<TopicPolicies>,
        policy: &LevelPolicy,
        baseline: Baseline,
        broker: Broker,
        metrics: SourceMetrics,
    ) -> Result<Self, fanfare_nats::event::NameError> {
        Ok(Self {
            shape: Shape::new(source, topics)?,
            fresh_for: source.fresh_for.0,
            at_most: match policy {
                LevelPolicy::Fields { at_most } => Some(*at_most),
                LevelPolicy::First | LevelPolicy::Levels(_) => None,
            },
            in_flight: source.limits.in_flight.max(1),
            is_kept: source.time.is_none(),
            baseline,
            broker,
            known: Known::default(),
            metrics,
            tenure: None,
        })
    }

    /// Publishes under a lease: events carry its number, and what reaches the broker after its end
    /// is counted.
    #[must_use]
    pub fn under(mut self, tenure: Option<Tenure>) -> Self {
        self.tenure = tenure;
        self
    }

    /// Whether events are published under a lease.
    pub fn is_exclusive(&self) -> bool {
        self.tenure.is_some()
    }

    /// Judges everything that was observed and counts it.
    pub fn judge(&self, observed: Observed, now: Timestamp) -> Judged {
        for reject in &observed.rejects {
            self.metrics.rejected(reject.reason);
            tracing::debug!(
                source.name = %self.shape.source,
                reason = reject.reason.as_str(),
                detail = reject.detail,
                "item rejected"
            );
        }
        self.metrics
            .items(ItemResult::Silent, count(observed.n_left_out));
        let policy = Policy {
            fresh_for: self.fresh_for,
            baseline: &self.baseline,
        };
        let mut events = Vec::new();
        let mut is_lasting = true;
        let mut ids = HashSet::new();
        for seen in observed.observations {
            let result = match decide(&seen, policy, now) {
                Decision::Silent(Silence::Stale) => ItemResult::Stale,
                Decision::Silent(Silence::Ahead) => {
                    is_lasting = false;
                    ItemResult::Stale
                }
                Decision::Silent(Silence::BelowLevel | Silence::Baseline) => ItemResult::Silent,
                Decision::Publish(level) => {
                    let event = self.shape.event(seen, level, now);
                    let id = event.id();
                    if !self.known.contains(&id) && ids.insert(id) {
                        events.push(event);
                    }
                    ItemResult::Event
                }
            };
            self.metrics.items(result, 1);
        }
        Judged { events, is_lasting }
    }

    /// Publishes what is left in `events` and removes what is known to be stored.
    ///
    /// Dropping the future leaves the fate of some unknown; publishing them again is harmless.
    ///
    /// # Errors
    /// [`NotStored`]: `events` still holds what is not known to be stored; publish it again.
    pub async fn publish(&self, events: &mut Vec<Event>) -> Result<(), NotStored> {
        let mut outcomes = futures::stream::iter(std::mem::take(events))
            .map(|event| async move {
                let outcome = self.publish_one(&event).await;
                (event, outcome)
            })
            .buffered(self.in_flight);
        let mut cause = None;
        let mut left = Vec::new();
        while let Some((event, outcome)) = outcomes.next().await {
            match outcome {
                Ok(()) => self.known.insert(event.id()),
                Err(error) => {
                    self.metrics.event(EventResult::Error);
                    cause = Some(error);
                    left.push(event);
                }
            }
        }
        drop(outcomes);
        let n_left = left.len();
        *events = left;
        match cause {
            None => Ok(()),
            Some(NotStored::Publish { cause, .. }) => Err(NotStored::Publish { n_left, cause }),
            Some(error @ NotStored::Levels(_)) => Err(error),
        }
    }

    async fn publish_one(&self, event: &Event) -> Result<(), NotStored> {
        if let Some(at_most) = self.at_most {
            let levels = self
                .broker
                .stored_levels(&event.source, &event.screen())
                .await;
            let levels = levels.map_err(|error| NotStored::Levels(Box::new(error)))?;
            if levels.contains(&event.level) {
                self.metrics.event(EventResult::Already);
                return Ok(());
            }
            if levels.len() >= at_most {
                tracing::debug!(source.name = %event.source, at_most, "item has all its events");
                return Ok(());
            }
        }
        fail::point("fetch.before-publish");
        let tenure = self.tenure.as_ref();
        let lease = tenure.map(Tenure::number);
        let in_hand = tenure.map(|it| InHand::new(it, self));
        let published = self.broker.publish_under(event, self.is_kept, lease).await;
        drop(in_hand);
        fail::point("fetch.published");
        let published = published.map_err(|cause| NotStored::Publish { n_left: 1, cause })?;
        self.metrics.event(match published {
            Published::Stored(_) => EventResult::Stored,
            Published::Already => EventResult::Already,
        });
        Ok(())
    }
}

/// A publish under a lease, from before it is sent until it is answered or given up. One that the
/// end of the lease overtakes is late: it may be stored when another holder reads already. It is
/// refused then, or it is the same event.
struct InHand<'a> {
    tenure: &'a Tenure,
    intake: &'a Intake,
}

impl<'a> InHand<'a> {
    fn new(tenure: &'a Tenure, intake: &'a Intake) -> Self {
        Self { tenure, intake }
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        if self.tenure.is_over() {
            self.intake.metrics.late_publish();
            tracing::debug!(
                source.name = %self.intake.shape.source,
                lease = self.tenure.number(),
                "a publish was under way when the lease ended"
            );
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Why documents were not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// One of them is not complete or not what it should be: nothing of the poll was used.
    #[error("the poll brought a document that cannot be read")]
    Document(#[from] DocumentError),
    /// The reader itself broke; the pump ends and is started again.
    #[error("reading a document panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Reads the pages of a poll; large ones beside the runtime's threads.
///
/// # Errors
/// [`ReadError`].
pub async fn read_documents(
    mapping: &Arc<Mapping>,
    input: usize,
    documents: Vec<Bytes>,
) -> Result<Observed, ReadError> {
    let read = move |mapping: &Mapping, documents: &[Bytes]| {
        let mut observed = Observed::default();
        for document in documents {
            observed.merge(mapping.observe_document(input, document)?);
        }
        Ok::<_, DocumentError>(observed)
    };
    if documents.iter().map(Bytes::len).sum::<usize>() < LARGE {
        return Ok(read(mapping, &documents)?);
    }
    let mapping = Arc::clone(mapping);
    let observed = tokio::task::spawn_blocking(move || read(&mapping, &documents)).await;
    Ok(observed.map_err(ReadError::Panicked)??)
}
