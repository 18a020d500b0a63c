//! Replaying many letters: task by task and message by message, each once.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use thiserror::Error;

use super::{Case, DeadLetter, DeadReason, Done, Rejudged, ReplayError};
use crate::connect::Broker;
use crate::event::Event;

/// Tasks replayed at a time.
const AT_ONCE: usize = 8;

/// What is to be done.
#[derive(Debug, Default)]
pub struct Work {
    cases: Vec<Case>,
    events: Vec<(Event, u64)>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// Devices that are sent to one by one.
    pub n_devices: usize,
    /// Tasks that the workers have.
    pub n_tasks: usize,
    /// Of them, those whose walk goes on where it stood.
    pub n_rests: usize,
    /// Events that the planners have.
    pub n_events: usize,
    /// Tasks that were left alone: somebody took them up meanwhile.
    pub n_nothing: usize,
    /// What could not be replayed; doing it again is harmless.
    pub errors: Vec<WorkError>,
}

/// Why one task or event is not known to be replayed.
#[derive(Debug, Error)]
pub enum WorkError {
    /// A task.
    #[error("event {event}")]
    Task {
        /// Its event.
        event: String,
        /// Why.
        #[source]
        cause: ReplayError,
    },
    /// An event that is stored again.
    #[error("an event that could not be read")]
    Event(#[source] ReplayError),
}

impl Work {
    /// What replaying these letters means, as of now; they are sent until `expires_at`.
    ///
    /// # Errors
    /// [`ReplayError`]: a message that a letter is about could not be looked at.
    pub async fn of(
        broker: &Broker,
        letters: &[&DeadLetter],
        expires_at: Timestamp,
    ) -> Result<Self, ReplayError> {
        let mut cases = BTreeMap::<_, Case>::new();
        let mut events = Vec::new();
        for letter in letters {
            let case = if letter.reason == DeadReason::Invalid {
                match broker.rejudge(letter, expires_at).await? {
                    Rejudged::Event(event) => {
                        let event = Event {
                            expires_at,
                            ..*event
                        };
                        events.push((event, letter.event_seq));
                        None
                    }
                    Rejudged::Task(case) => Some(case),
                    Rejudged::Again
                    | Rejudged::Unreadable(_)
                    | Rejudged::Gone
                    | Rejudged::Neither => None,
                }
            } else {
                Case::of(letter, expires_at)
            };
            let Some(case) = case else { continue };
            let (event, lane) = (case.task.event.clone(), case.task.lane.clone());
            let key = (event, lane, case.task.range.index());
            match cases.get_mut(&key) {
                Some(known) => known.join(case),
                None => {
                    cases.insert(key, case);
                }
            }
        }
        let cases = cases.into_values().collect();
        Ok(Self { cases, events })
    }

    /// How many steps it has.
    pub fn len(&self) -> u64 {
        u64::try_from(self.cases.len() + self.events.len()).unwrap_or(u64::MAX)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty() && self.events.is_empty()
    }

    /// Does it; `each` is told after each step. What fails is in the report, and the rest goes on.
    ///
    /// Doing it again sends nothing twice. Dropping the future leaves the rest undone.
    pub async fn run(self, broker: &Broker, now: Timestamp, each: impl Fn() + Send) -> Report {
        let mut report = Report::default();
        for (event, seq) in &self.events {
            match broker.publish_again(event, *seq).await {
                Ok(()) => report.n_events += 1,
                Err(error) => report.errors.push(WorkError::Event(error)),
            }
            each();
        }
        let replays = self.cases.into_iter().map(|case| async move {
            let done = broker.replay(&case, now).await;
            done.map_err(|cause| WorkError::Task {
                event: case.task.event.to_string(),
                cause,
            })
        });
        let mut replays = stream::iter(replays).buffer_unordered(AT_ONCE);
        while let Some(done) = replays.next().await {
            match done {
                Ok(Done::Replayed(assessed)) => {
                    report.n_tasks += 1;
                    report.n_devices += assessed.n_devices();
                    report.n_rests += usize::from(assessed.judged.has_rest);
                }
                Ok(Done::Nothing(_)) => report.n_nothing += 1,
                Err(error) => report.errors.push(error),
            }
            each();
        }
        report
    }
}
