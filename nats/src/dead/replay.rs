//! Sending again what dead letters hold, and never what the receipts say was accepted.
//!
//! One receipt by compare-and-set, then one task message that is created once: of two operators one
//! finds the other's replay, and a replay that died in between is ended by the next.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use super::DeadLetter;
use super::case::{Case, Fate, Judged, Step};
use crate::connect::Broker;
use crate::control::ReadError;
use crate::event::Event;
use crate::events::ReadEventError;
use crate::fail;
use crate::level::Level;
use crate::plan::Task;
use crate::receipts::{AppendError, ReadReceiptError};
use crate::request::{Answer, Refusal, expecting, header};
use crate::story::read::StoryError;
use crate::subject::Subject;
use crate::wire;

const BUDGET: Duration = Duration::from_secs(20);

/// A replay that meets others begins anew so often.
const TRIES: u32 = 5;

/// How the event of a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It can be sent.
    Current,
    /// It has aged out of its stream.
    Gone,
    /// A higher level of its item stands, and replaces it.
    Superseded,
}

/// A case with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessed {
    /// How its event stands.
    pub standing: Standing,
    /// What its receipts say.
    pub judged: Judged,
    /// A replay was begun and its message is not stored: whoever began it died, or is at it.
    pub is_cut_off: bool,
}

impl Assessed {
    /// Devices that a replay sends to one by one, those of a replay that was cut off among them.
    pub fn n_devices(&self) -> usize {
        let fates = self.judged.fates.values();
        let waiting = fates.filter(|it| **it == Fate::Waiting).count();
        self.judged.n_open + if self.is_cut_off { waiting } else { 0 }
    }
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The workers have it.
    Replayed(Assessed),
    /// Nothing was done, for the reasons that stand in it.
    Nothing(Assessed),
}

/// What an unreadable message is by now.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejudged {
    /// An event that this version reads; it can be stored again for the planners.
    Event(Box<Event>),
    /// A task that this version reads.
    Task(Case),
    /// Stored again already.
    Again,
    /// Still not readable; why.
    Unreadable(String),
    /// It has aged out, or the letter does not say where it is.
    Gone,
    /// Neither an event nor a task: nothing that could be sent.
    Neither,
}

/// Why it is not known what can be or was replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The receipts of the task.
    #[error("the receipts could not be read")]
    Receipts(#[source] StoryError),
    /// The last receipt of the task.
    #[error("the last receipt could not be read")]
    Last(#[source] ReadReceiptError),
    /// The event.
    #[error("the event could not be read")]
    Event(#[source] ReadEventError),
    /// The message of a letter.
    #[error("the message could not be read: {0}")]
    Message(String),
    /// The leader of a stream.
    #[error("the stream could not be read")]
    Read(#[source] ReadError),
    /// Others append to the task's receipts all the time.
    #[error("others work on the task at the same time; try again")]
    Contended,
    /// The receipt.
    #[error("the replay's receipt is not known to be stored; replaying again is harmless")]
    Append(#[source] AppendError),
    /// The task's or event's message.
    #[error("it is not known whether {subject} is stored; replaying again is harmless")]
    Unknown {
        /// Its subject.
        subject: String,
    },
    /// The stream refuses the message.
    #[error("the stream refuses {subject}")]
    Refused {
        /// Its subject.
        subject: String,
        /// The stream's words.
        #[source]
        refusal: Refusal,
    },
}

impl Broker {
    /// Looks what a replay of a case would do, and changes nothing.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub async fn assess(&self, case: &Case, now: Timestamp) -> Result<Assessed, ReplayError> {
        let Task {
            event, lane, range, ..
        } = &case.task;
        let chain = self.receipt_chain(event, lane, range.index()).await;
        let chain = chain.map_err(ReplayError::Receipts)?;
        let receipts: Vec<_> = chain.into_iter().map(|(_, receipt)| receipt).collect();
        let judged = case.judge(&receipts, Self::nonce(), self.node(), now);
        let is_cut_off = match judged.step {
            Step::Publish(pass) => !self.is_published(&case.task, pass).await?,
            Step::Append(_) | Step::Nothing | Step::Hold(_) => false,
        };
        Ok(Assessed {
            standing: self.standing(case).await?,
            judged,
            is_cut_off,
        })
    }

    /// Whether the message of a pass waits in its stream. It lies there until a worker's receipt stands
    /// behind the replay's.
    async fn is_published(&self, task: &Task, pass: u32) -> Result<bool, ReplayError> {
        let subject = self.pass_subject(task, pass);
        let last = self.last_message(&self.names.tasks(), &subject).await;
        Ok(last.map_err(ReplayError::Read)?.is_some())
    }

    fn pass_subject(&self, task: &Task, pass: u32) -> String {
        self.names.subject(&Subject::Task {
            lane: task.lane.clone(),
            event: task.event.clone(),
            n: task.range.index(),
            pass,
        })
    }

    async fn standing(&self, case: &Case) -> Result<Standing, ReplayError> {
        let event = self.event_at(case.task.event_seq).await;
        let event = event.map_err(ReplayError::Event)?;
        let Some(event) = event.filter(|it| it.id() == case.task.event) else {
            return Ok(Standing::Gone);
        };
        match &event.level {
            Level::First | Level::Fields(_) => return Ok(Standing::Current),
            Level::Step(_) => {}
        }
        let levels = self.stored_levels(&event.source, &event.screen()).await;
        let levels = levels.map_err(ReplayError::Event)?;
        let is_higher = |it: &Level| it.is_higher_than(&event.level);
        Ok(if levels.iter().any(is_higher) {
            Standing::Superseded
        } else {
            Standing::Current
        })
    }

    /// Gives a case to the workers again, unless nobody is left or somebody has it.
    ///
    /// Doing it again, or by two at once, sends nothing twice. Dropping the future may leave a
    /// replay that was begun; doing it again ends it.
    ///
    /// # Errors
    /// [`ReplayError`]; doing it again is harmless after each of them.
    pub async fn replay(&self, case: &Case, now: Timestamp) -> Result<Done, ReplayError> {
        for _ in 0..TRIES {
            // The chain is opened before the trail is read: what is appended in between is refused.
            let (mut chain, last) = self.receipts(&case.task).await.map_err(ReplayError::Last)?;
            let assessed = self.assess(case, now).await?;
            if assessed.standing != Standing::Current {
                return Ok(Done::Nothing(assessed));
            }
            let pass = match &assessed.judged.step {
                Step::Nothing | Step::Hold(_) => return Ok(Done::Nothing(assessed)),
                Step::Publish(pass) => *pass,
                Step::Append(_) if last.is_none() => continue,
                Step::Append(receipt) => match chain.append(receipt).await {
                    Ok(_) => receipt.claim.pass + 1,
                    Err(AppendError::Fenced) => continue,
                    Err(error @ (AppendError::Unknown | AppendError::Refused(_))) => {
                        return Err(ReplayError::Append(error));
                    }
                },
            };
            fail::point("replay.begun");
            self.publish_task(&case.task, pass).await?;
            fail::point("replay.stored");
            return Ok(Done::Replayed(assessed));
        }
        Err(ReplayError::Contended)
    }

    async fn publish_task(&self, task: &Task, pass: u32) -> Result<(), ReplayError> {
        let subject = self.pass_subject(task, pass);
        let payload = Bytes::from(task.encode());
        self.publish_known(&subject, &expecting(0), &payload).await
    }

    async fn publish_known(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &Bytes,
    ) -> Result<(), ReplayError> {
        let answer = self.publish_until_known(subject, headers, payload, BUDGET);
        let subject = subject.to_owned();
        match answer.await {
            Answer::Stored { .. } | Answer::Exists { .. } => Ok(()),
            Answer::Unknown(_) | Answer::BatchOpen => Err(ReplayError::Unknown { subject }),
            Answer::Refused(refusal) => Err(ReplayError::Refused { subject, refusal }),
        }
    }

    /// Reads a message again that could not be read when the letter was written.
    ///
    /// # Errors
    /// [`ReplayError::Message`] or [`ReplayError::Read`].
    pub async fn rejudge(
        &self,
        letter: &DeadLetter,
        expires_at: Timestamp,
    ) -> Result<Rejudged, ReplayError> {
        let Some(text) = &letter.subject else {
            return Ok(Rejudged::Gone);
        };
        let Ok(subject) = self.names.parse(text) else {
            return Ok(Rejudged::Neither);
        };
        let stream = match &subject {
            Subject::Event { .. } => self.names.events(),
            Subject::Task { .. } => self.names.tasks(),
            Subject::Plan { .. }
            | Subject::Later { .. }
            | Subject::Receipt { .. }
            | Subject::Dead { .. } => return Ok(Rejudged::Neither),
        };
        let message = self.message_at(&stream, letter.event_seq).await?;
        let Some(message) = message.filter(|it| it.subject.as_str() == text) else {
            return Ok(Rejudged::Gone);
        };
        match subject {
            Subject::Event { .. } => {
                let last = self.last_message(&stream, text).await;
                let last = last.map_err(ReplayError::Read)?;
                if last.is_some_and(|it| it.sequence != letter.event_seq) {
                    return Ok(Rejudged::Again);
                }
                Ok(event(&subject, &message))
            }
            Subject::Task { pass, .. } => Ok(task(&subject, &message, pass, expires_at)),
            Subject::Plan { .. }
            | Subject::Later { .. }
            | Subject::Receipt { .. }
            | Subject::Dead { .. } => Ok(Rejudged::Neither),
        }
    }

    async fn message_at(
        &self,
        stream: &str,
        seq: u64,
    ) -> Result<Option<StreamMessage>, ReplayError> {
        let failed = |text: String| ReplayError::Message(text);
        let stream = self.reads.get_stream_no_info(stream).await;
        let stream = stream.map_err(|error| failed(error.to_string()))?;
        match stream.get_raw_message(seq).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::InvalidSubject
                | RawMessageErrorKind::JetStream(_)
                | RawMessageErrorKind::Other => Err(failed(error.to_string())),
            },
        }
    }

    /// Stores an event, which could not be read at `seq`, once more behind it, so that a planner
    /// takes it. Its plan is created once, whoever else does the same.
    ///
    /// # Errors
    /// [`ReplayError::Unknown`] or [`ReplayError::Refused`].
    pub async fn publish_again(&self, event: &Event, seq: u64) -> Result<(), ReplayError> {
        let subject = self.names.subject(&Subject::Event {
            source: event.source.clone(),
            screen: event.screen(),
            level: event.level.clone(),
        });
        let (mut headers, payload) = wire::encode(event);
        headers.insert(
            header::EXPECTED_LAST_SUBJECT_SEQUENCE,
            seq.to_string().as_str(),
        );
        headers.insert(
            header::MSG_ID,
            format!("{}.after.{seq}", event.id()).as_str(),
        );
        let payload = Bytes::from(payload);
        self.publish_known(&subject, &headers, &payload).await
    }
}

fn event(subject: &Subject, message: &StreamMessage) -> Rejudged {
    let Subject::Event {
        source,
        screen,
        level,
    } = subject
    else {
        return Rejudged::Neither;
    };
    match wire::decode(&message.headers, &message.payload) {
        Err(error) => Rejudged::Unreadable(error.to_string()),
        Ok(event) if (&event.source, &event.screen(), &event.level) == (source, screen, level) => {
            Rejudged::Event(Box::new(event))
        }
        Ok(_) => Rejudged::Unreadable("subject and attributes name different events".into()),
    }
}

fn task(subject: &Subject, message: &StreamMessage, pass: u32, until: Timestamp) -> Rejudged {
    let Subject::Task { lane, event, n, .. } = subject else {
        return Rejudged::Neither;
    };
    match Task::decode(&message.payload) {
        Err(error) => Rejudged::Unreadable(super::chain(&error)),
        Ok(task) if (&task.lane, &task.event, task.range.index()) == (lane, event, *n) => {
            Rejudged::Task(Case {
                task: Task {
                    expires_at: until,
                    ..task
                },
                devices: std::collections::BTreeSet::new(),
                is_poison: false,
                unread: Some(pass),
            })
        }
        Ok(_) => Rejudged::Unreadable("subject and body name different tasks".into()),
    }
}
