//! Storing a plan with its tasks: together or not at all.

use std::time::Duration;

use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use rand::Rng;
use thiserror::Error;
use tokio::time::Instant;

use crate::connect::Broker;
use crate::control::ReadError;
use crate::event::EventId;
use crate::fail;
use crate::genuine;
use crate::plan::{DecodePlanError, Plan, Task};
use crate::request::{self, Answer, BATCH_INCOMPLETE, BATCH_TOO_MANY, Refusal, expecting, header};
use crate::subject::Subject;

/// How long a plan is tried: an election takes 4 to 11 s.
const BUDGET: Duration = Duration::from_secs(20);
/// On a single server an atomic batch costs 3 to 8 ms, a plan and ten tasks one after another
/// 0.5 ms (measured): there a small plan goes first and its tasks follow, create-only.
pub const SINGLES_UP_TO: u32 = 10;

/// How a plan and its tasks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// In one atomic batch.
    Together,
    /// The plan first; its tasks are to be stored after it.
    PlanFirst,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// Ours stands.
    Stored,
    /// Another planner's stands; this is it. Its tasks may be missing if it was stored alone.
    Found(Plan),
}

/// Why a plan is not known to be stored.
#[derive(Debug, Error)]
pub enum CommitPlanError {
    /// No final answer in time: leave the event unacknowledged.
    #[error("it is not known whether the plan of {0} is stored")]
    Unknown(EventId),
    /// The stream refuses.
    #[error("the stream refuses the plan of {event}")]
    Refused {
        /// Of which event.
        event: EventId,
        /// The stream's words.
        #[source]
        refusal: Refusal,
    },
    /// The stored plan could not be read.
    #[error("the stored plan of {0} could not be read")]
    Read(EventId, #[source] ReadError),
    /// The stored plan is not readable.
    #[error("the stored plan of {0} is not readable")]
    Decode(EventId, #[source] DecodePlanError),
}

enum Attempt {
    Stored,
    Found,
    Again,
    Refused(Refusal),
}

fn genuine_plan(message: &StreamMessage) -> Result<Plan, DecodePlanError> {
    let headers = &message.headers;
    if genuine::is_answer(headers) || genuine::scheduler(headers).is_some() {
        return Err(DecodePlanError::Forced);
    }
    Plan::decode(&message.payload)
}

impl Broker {
    /// Plans of up to so many tasks are stored first, and their tasks after them.
    pub fn singles_up_to(&self) -> u32 {
        match self.replicas {
            1 => SINGLES_UP_TO,
            _ => 0,
        }
    }

    /// Stores a plan, create-only, and its tasks with it unless `way` leaves them to
    /// [`Broker::store_tasks`]. Whoever comes second gets the first one's plan.
    ///
    /// Dropping the future may leave an open batch, which blocks nobody and is dropped by the
    /// server after 10 s.
    ///
    /// # Errors
    /// [`CommitPlanError`]: do not acknowledge the event; its next delivery plans again.
    pub async fn store_plan(&self, plan: &Plan, way: Way) -> Result<Committed, CommitPlanError> {
        let deadline = Instant::now() + BUDGET;
        loop {
            self.gate.pass().await;
            let attempt = match way {
                Way::PlanFirst => self.plan_alone(plan).await,
                Way::Together => self.plan_in_batch(plan).await,
            };
            match attempt {
                Attempt::Stored => return Ok(Committed::Stored),
                Attempt::Found => match self.stored_plan(&plan.event).await? {
                    Some(found) if found == *plan => return Ok(Committed::Stored),
                    Some(found) => return Ok(Committed::Found(found)),
                    // Gone since, or a task stands without a plan, which only age can bring about.
                    None => self.jitter().await,
                },
                Attempt::Again => {}
                Attempt::Refused(refusal) => {
                    let event = plan.event.clone();
                    return Err(CommitPlanError::Refused { event, refusal });
                }
            }
            if Instant::now() >= deadline {
                return Err(CommitPlanError::Unknown(plan.event.clone()));
            }
            self.metrics.publish_retries.inc();
        }
    }

    /// The plan of an event, from the leader.
    ///
    /// # Errors
    /// [`CommitPlanError::Read`] or [`CommitPlanError::Decode`].
    pub async fn stored_plan(&self, event: &EventId) -> Result<Option<Plan>, CommitPlanError> {
        let subject = self.names.subject(&Subject::Plan {
            event: event.clone(),
        });
        self.last_message(&self.names.tasks(), &subject)
            .await
            .map_err(|error| CommitPlanError::Read(event.clone(), error))?
            .map(|it| genuine_plan(&it))
            .transpose()
            .map_err(|error| CommitPlanError::Decode(event.clone(), error))
    }

    fn plan_subject(&self, plan: &Plan) -> String {
        self.names.subject(&Subject::Plan {
            event: plan.event.clone(),
        })
    }

    fn task_subject(&self, task: &Task) -> String {
        self.names.subject(&Subject::Task {
            lane: task.lane.clone(),
            event: task.event.clone(),
            n: task.range.index(),
            pass: 1,
        })
    }

    async fn plan_alone(&self, plan: &Plan) -> Attempt {
        let mut headers = expecting(0);
        headers.insert(header::MSG_ID, format!("plan.{}", plan.event).as_str());
        let subject = self.plan_subject(plan);
        let answer = self.ask(&subject, headers, plan.encode().into()).await;
        self.attempt(answer).await
    }

    async fn attempt(&self, answer: Answer) -> Attempt {
        match answer {
            Answer::Stored {
                duplicate: false, ..
            } => Attempt::Stored,
            // A duplicate's id is the event's: the plan that stands may be another planner's.
            Answer::Stored {
                duplicate: true, ..
            }
            | Answer::Exists { .. } => Attempt::Found,
            Answer::Unknown(request::Unknown::InFlight | request::Unknown::IdInFlight) => {
                self.jitter().await;
                Attempt::Again
            }
            Answer::Unknown(_) | Answer::BatchOpen => {
                self.gate.close();
                Attempt::Again
            }
            Answer::Refused(refusal)
                if [BATCH_INCOMPLETE, BATCH_TOO_MANY].contains(&refusal.code) =>
            {
                self.jitter().await;
                Attempt::Again
            }
            Answer::Refused(refusal) => Attempt::Refused(refusal),
        }
    }

    async fn jitter(&self) {
        let pause = rand::rng().random_range(2..=40);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    /// Stores the tasks of a plan that is stored; those that are there already stay.
    ///
    /// Dropping the future leaves some of them missing: whoever plans again stores them.
    ///
    /// # Errors
    /// [`CommitPlanError`]: do not acknowledge the event; its next delivery stores them.
    pub async fn store_tasks(&self, plan: &Plan) -> Result<(), CommitPlanError> {
        let publishes = plan.tasks().map(|task| async move {
            fail::point("plan.half-stored");
            let subject = self.task_subject(&task);
            let payload = Bytes::from(task.encode());
            self.publish_until_known(&subject, &expecting(0), &payload, BUDGET)
                .await
        });
        for answer in futures::future::join_all(publishes).await {
            match answer {
                Answer::Stored { .. } | Answer::Exists { .. } => {}
                Answer::Unknown(_) | Answer::BatchOpen => {
                    return Err(CommitPlanError::Unknown(plan.event.clone()));
                }
                Answer::Refused(refusal) => {
                    let event = plan.event.clone();
                    return Err(CommitPlanError::Refused { event, refusal });
                }
            }
        }
        Ok(())
    }

    /// One try of the atomic batch, under a new batch id.
    async fn plan_in_batch(&self, plan: &Plan) -> Attempt {
        let batch = format!("{:016x}", Self::nonce());
        let n_messages = plan.n_tasks() + 1;
        let headers = |sequence: u32| {
            let mut headers = expecting(0);
            headers.insert(header::BATCH_ID, batch.as_str());
            headers.insert(header::BATCH_SEQUENCE, sequence.to_string().as_str());
            if sequence == n_messages {
                headers.insert(header::BATCH_COMMIT, "1");
            }
            headers
        };
        let first = self
            .ask(&self.plan_subject(plan), headers(1), plan.encode().into())
            .await;
        if first != Answer::BatchOpen {
            // With a single message the batch is committed by its first; else it was not opened.
            return self.attempt(first).await;
        }
        for (sequence, task) in (2_u32..).zip(plan.tasks()) {
            let (subject, payload) = (self.task_subject(&task), Bytes::from(task.encode()));
            if sequence == n_messages {
                fail::point("plan.half-stored");
                let last = self.ask(&subject, headers(sequence), payload).await;
                return self.attempt(last).await;
            }
            let sent = self
                .client
                .publish_with_headers(subject, headers(sequence), payload)
                .await;
            if sent.is_err() {
                return Attempt::Again;
            }
        }
        Attempt::Again
    }
}
