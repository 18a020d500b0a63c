//! What a letter is by now: still to be done, done, or past doing.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use thiserror::Error;

use super::{
    Assessed, Case, DeadReason, Entry, Fate, Found, Hold, Rejudged, ReplayError, Standing, Step,
};
use crate::connect::Broker;
use crate::hash::DeviceHash;

/// Questions to the broker at a time.
const AT_ONCE: usize = 16;

/// What a letter is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Now {
    /// Nobody has accepted it: a replay sends it.
    Open,
    /// Accepted since.
    Accepted,
    /// A poisoned task that went on since, or a message that was stored again.
    Replayed,
    /// It waits for its next attempt.
    Waiting,
    /// Its task is in a worker's hands.
    BeingSent,
    /// It may have been delivered, and its event is at most once.
    Unclear,
    /// A higher level replaced it.
    Superseded,
    /// Its event has aged out.
    EventGone,
    /// What was accepted is not known any more.
    ReceiptsGone,
    /// Its message is as unreadable as it was.
    Unreadable,
    /// There is nothing in it that could be sent.
    NotSendable,
}

impl Now {
    /// In a table and as JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Replayed => "replayed",
            Self::Waiting => "waiting",
            Self::BeingSent => "being sent",
            Self::Unclear => "unclear",
            Self::Superseded => "superseded",
            Self::EventGone => "event gone",
            Self::ReceiptsGone => "receipts gone",
            Self::Unreadable => "unreadable",
            Self::NotSendable => "not sendable",
        }
    }

    /// Why a replay leaves it alone, and what can be done.
    pub fn explained(self) -> &'static str {
        match self {
            Self::Open => "nobody has accepted it: a replay sends it",
            Self::Accepted => "accepted since: a replay does not send it again",
            Self::Replayed => "replayed since: there is nothing left to send",
            Self::Waiting => "it waits for its next attempt: there is nothing to do",
            Self::BeingSent => "still being sent: its task is in a worker's hands; try again later",
            Self::Unclear => {
                "it may have been delivered, and its event is sent at most once: never sent again"
            }
            Self::Superseded => "a higher level of its item stands: this one is not sent any more",
            Self::EventGone => "its event has aged out of the stream of events: post a new one",
            Self::ReceiptsGone => {
                "its receipts have aged out, so nobody knows who accepted it: post a new event"
            }
            Self::Unreadable => {
                "this version cannot read the message either: replay it with the version that wrote it, or leave it"
            }
            Self::NotSendable => {
                "it names nothing that could be sent; for an advisory see `fanfare admin verify`"
            }
        }
    }

    /// Whether a replay has something to do.
    pub fn is_open(self) -> bool {
        self == Self::Open
    }

    /// Whether all is well without a replay.
    pub fn is_done(self) -> bool {
        match self {
            Self::Accepted | Self::Replayed | Self::Waiting => true,
            Self::Open
            | Self::BeingSent
            | Self::Unclear
            | Self::Superseded
            | Self::EventGone
            | Self::ReceiptsGone
            | Self::Unreadable
            | Self::NotSendable => false,
        }
    }

    /// Of a letter about one device.
    fn of_device(assessed: &Assessed, device: DeviceHash) -> Self {
        match assessed.judged.fates.get(&device) {
            Some(Fate::Accepted(_)) => Self::Accepted,
            Some(Fate::Unclear) => Self::Unclear,
            Some(Fate::Waiting) if !assessed.is_cut_off => Self::Waiting,
            Some(Fate::Unknown) => Self::ReceiptsGone,
            Some(Fate::Open | Fate::Waiting) => Self::of_task(assessed),
            None => Self::NotSendable,
        }
    }

    /// Of a letter about a task.
    fn of_task(assessed: &Assessed) -> Self {
        match (assessed.standing, &assessed.judged.step) {
            (_, Step::Nothing) => Self::Replayed,
            (Standing::Gone, _) => Self::EventGone,
            (Standing::Superseded, _) => Self::Superseded,
            (Standing::Current, Step::Append(_)) => Self::Open,
            // The message of a task could not be read and nobody has claimed it, or there is none.
            (Standing::Current, Step::Publish(_))
                if assessed.judged.has_rest || assessed.is_cut_off =>
            {
                Self::Open
            }
            (Standing::Current, Step::Publish(_)) => Self::Waiting,
            (Standing::Current, Step::Hold(Hold::BeingSent)) => Self::BeingSent,
            (Standing::Current, Step::Hold(Hold::ReceiptsGone)) => Self::ReceiptsGone,
        }
    }
}

/// Why it is not known what a letter is by now.
#[derive(Debug, Error)]
pub enum JudgeError {
    /// What the receipts of a task say.
    #[error("event {event}")]
    Task {
        /// Its event.
        event: String,
        /// What was not known.
        #[source]
        cause: ReplayError,
    },
    /// What a message is that could not be read.
    #[error("the unreadable message")]
    Message(#[source] ReplayError),
}

impl Broker {
    /// What each letter is by now, in their order. Letters of one task may lie far apart: each task's
    /// receipts are asked once. `each` is told how many of how many tasks are asked.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// [`JudgeError`].
    pub async fn judge_letters(
        &self,
        entries: &[Entry],
        now: Timestamp,
        each: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<Vec<Now>, JudgeError> {
        let mut questions = Questions::default();
        for entry in entries {
            questions.ask(entry, now);
        }
        let answers = questions.answers(self, now, each).await?;
        // A list first: a closure over borrowed letters within the stream is of one lifetime only.
        let asked = entries.iter().map(|it| answers.of(self, it, now));
        let asked: Vec<_> = asked.collect();
        let known = stream::iter(asked).buffered(AT_ONCE);
        known.try_collect().await
    }
}

/// What can be asked about letters: each task once, and each unreadable message.
#[derive(Default)]
struct Questions {
    cases: BTreeMap<Key, Case>,
}

/// Event, lane, part of the plan, and whether the task itself was given up.
type Key = (String, String, u32, bool);

fn key(case: &Case) -> Key {
    let task = &case.task;
    let (event, lane) = (task.event.to_string(), task.lane.to_string());
    (event, lane, task.range.index(), case.is_poison)
}

impl Questions {
    /// Takes a letter in.
    fn ask(&mut self, entry: &Entry, expires_at: Timestamp) {
        let case = entry.letter().and_then(|it| Case::of(it, expires_at));
        if let Some(case) = case {
            match self.cases.get_mut(&key(&case)) {
                Some(known) => known.join(case),
                None => {
                    self.cases.insert(key(&case), case);
                }
            }
        }
    }

    /// Asks the receipts.
    async fn answers(
        self,
        broker: &Broker,
        now: Timestamp,
        each: impl Fn(u64, u64),
    ) -> Result<Answers, JudgeError> {
        let n = u64::try_from(self.cases.len()).unwrap_or(u64::MAX);
        let mut n_asked = 0;
        each(n_asked, n);
        let asked = self.cases.into_iter().map(|(key, case)| async move {
            match broker.assess(&case, now).await {
                Ok(assessed) => Ok((key, assessed)),
                Err(cause) => Err(JudgeError::Task {
                    event: case.task.event.to_string(),
                    cause,
                }),
            }
        });
        let answers = stream::iter(asked).buffer_unordered(AT_ONCE);
        let answers = answers.inspect_ok(|_| {
            n_asked += 1;
            each(n_asked, n);
        });
        Ok(Answers(answers.try_collect().await?))
    }
}

/// What the receipts say of letters.
struct Answers(BTreeMap<Key, Assessed>);

impl Answers {
    /// What a letter is by now.
    async fn of(&self, broker: &Broker, entry: &Entry, now: Timestamp) -> Result<Now, JudgeError> {
        let letter = match &entry.found {
            Found::Letter(letter) => letter,
            Found::Advisory(_) | Found::Unreadable(_) => return Ok(Now::NotSendable),
        };
        if letter.reason == DeadReason::Invalid {
            let rejudged = broker.rejudge(letter, now).await;
            return match rejudged.map_err(JudgeError::Message)? {
                Rejudged::Event(_) => Ok(Now::Open),
                Rejudged::Task(case) => {
                    let assessed = broker.assess(&case, now).await;
                    Ok(Now::of_task(&assessed.map_err(JudgeError::Message)?))
                }
                Rejudged::Again => Ok(Now::Replayed),
                Rejudged::Unreadable(_) => Ok(Now::Unreadable),
                Rejudged::Gone => Ok(Now::EventGone),
                Rejudged::Neither => Ok(Now::NotSendable),
            };
        }
        let case = Case::of(letter, now);
        let assessed = case.as_ref().and_then(|it| self.0.get(&key(it)));
        let (Some(case), Some(assessed)) = (case, assessed) else {
            return Ok(Now::NotSendable);
        };
        Ok(match case.devices.first() {
            Some(device) => Now::of_device(assessed, *device),
            None => Now::of_task(assessed),
        })
    }
}
