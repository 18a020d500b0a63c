//! Create-only publish of events, and the gate that all publishers share while the broker is away.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use rand::Rng;
use thiserror::Error;
use tokio::time::Instant;

use crate::connect::Broker;
use crate::event::Event;
use crate::request::{Answer, Refusal, Unknown, header};
use crate::subject::Subject;
use crate::wire;

/// How long an event whose fate is not known is tried again: elections take 4 to 11 s.
const BUDGET: Duration = Duration::from_secs(20);

/// Pauses all publishers of this process together: without it, a stream without a leader was asked
/// 200 000 times in 7 s (measured).
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// Waits while the gate is closed.
    pub(crate) async fn pass(&self) {
        loop {
            let until = *self
                .closed_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) | None => return,
            }
        }
    }

    /// Closes the gate for 250 to 500 ms.
    pub(crate) fn close(&self) {
        let pause = Duration::from_millis(rand::rng().random_range(250..=500));
        *self
            .closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Stored by this call, at this sequence.
    Stored(u64),
    /// Stored before, by whomever.
    Already,
}

/// Why an event is not known to be stored.
#[derive(Debug, Error)]
pub enum PublishEventError {
    /// No final answer within the budget of 20 s: hold the cursor, publish again later.
    #[error("it is not known whether event {event} is stored: the broker gave no final answer")]
    Unknown {
        /// Which event.
        event: String,
    },
    /// The stream refuses: a limit, no storage, or a missing permission. Repeating does not help
    /// until an operator acted.
    #[error("the stream refuses event {event}")]
    Refused {
        /// Which event.
        event: String,
        /// The stream's words.
        #[source]
        refusal: Refusal,
    },
}

impl Broker {
    /// Publishes once and, while the fate is not known, again with the same bytes.
    ///
    /// Dropping the future leaves the fate unknown; publishing again is always harmless.
    pub(crate) async fn publish_until_known(
        &self,
        subject: &str,
        headers: &async_nats::HeaderMap,
        payload: &Bytes,
        budget: Duration,
    ) -> Answer {
        let deadline = Instant::now() + budget;
        let mut backoff_ms = 2_u64;
        loop {
            self.gate.pass().await;
            let answer = self.ask(subject, headers.clone(), payload.clone()).await;
            let Answer::Unknown(why) = answer else {
                return answer;
            };
            if Instant::now() >= deadline {
                return answer;
            }
            self.metrics.publish_retries.inc();
            match why {
                // Somebody else's proposal needs a round trip to be decided, not an election.
                Unknown::InFlight | Unknown::IdInFlight => {
                    let pause = rand::rng().random_range(1..=backoff_ms);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    backoff_ms = (backoff_ms * 2).min(250);
                }
                Unknown::NoLeader | Unknown::Silence => self.gate.close(),
            }
        }
    }

    /// Stores an event unless its subject has one already.
    ///
    /// `keep` is for sources without a trustworthy time: the decision is never removed by age.
    /// Dropping the future leaves the fate unknown; publishing again is always harmless.
    ///
    /// # Errors
    /// [`PublishEventError`]; only `Unknown` may be tried again as it is.
    pub async fn publish(&self, event: &Event, keep: bool) -> Result<Published, PublishEventError> {
        self.publish_under(event, keep, None).await
    }

    /// As [`Self::publish`], by the holder of a lease: its number stands in the header
    /// `Fanfare-Lease`, where it shows who stored the event. It is no part of the event.
    ///
    /// # Errors
    /// [`PublishEventError`]; only `Unknown` may be tried again as it is.
    pub async fn publish_under(
        &self,
        event: &Event,
        keep: bool,
        lease: Option<u64>,
    ) -> Result<Published, PublishEventError> {
        let mut headers = HeaderMap::new();
        if keep {
            headers.insert(header::TTL, "never");
        }
        if let Some(lease) = lease {
            headers.insert(header::LEASE, lease.to_string().as_str());
        }
        self.publish_with(event, headers).await
    }

    /// Where an event is stored.
    pub(crate) fn event_subject(&self, event: &Event) -> String {
        self.names.subject(&Subject::Event {
            source: event.source.clone(),
            screen: event.screen(),
            level: event.level.clone(),
        })
    }

    /// As [`Self::publish`], with more headers.
    pub(crate) async fn publish_with(
        &self,
        event: &Event,
        more: HeaderMap,
    ) -> Result<Published, PublishEventError> {
        let subject = self.event_subject(event);
        let (mut headers, payload) = wire::encode(event);
        headers.insert(header::EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        headers.insert(header::MSG_ID, event.id().as_str());
        for (name, values) in more.iter() {
            for value in values {
                headers.insert(name.clone(), value.clone());
            }
        }
        let payload = Bytes::from(payload);
        match self
            .publish_until_known(&subject, &headers, &payload, BUDGET)
            .await
        {
            Answer::Stored {
                seq,
                duplicate: false,
            } => Ok(Published::Stored(seq)),
            Answer::Stored {
                duplicate: true, ..
            }
            | Answer::Exists { .. } => Ok(Published::Already),
            Answer::Unknown(_) | Answer::BatchOpen => Err(PublishEventError::Unknown {
                event: event.id().to_string(),
            }),
            Answer::Refused(refusal) => Err(PublishEventError::Refused {
                event: event.id().to_string(),
                refusal,
            }),
        }
    }
}
