//! Wake-ups: a stored message schedule that puts a task's next pass into its lane.
//!
//! A wake-up is only an alarm clock. Fired twice, late or with nothing left to do it changes
//! nothing, because the pass claims its receipt before it sends.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;

use crate::connect::Broker;
use crate::plan::Task;
use crate::request::{Answer, Refusal, expecting, header};
use crate::subject::Subject;

const BUDGET: Duration = Duration::from_secs(20);

/// Why a wake-up is not known to be stored; its task must not be acknowledged then.
#[derive(Debug, Error)]
pub enum WakeUpError {
    /// No final answer in time.
    #[error("it is not known whether the wake-up is stored")]
    Unknown,
    /// The stream refuses.
    #[error("the stream refuses the wake-up")]
    Refused(#[source] Refusal),
}

impl Broker {
    /// Stores the wake-up that starts `pass` of a task at `due`.
    ///
    /// Stored already means stored. Dropping the future leaves it unknown; storing it again is
    /// harmless.
    ///
    /// # Errors
    /// [`WakeUpError`].
    pub async fn wake_up(
        &self,
        task: &Task,
        pass: u32,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), WakeUpError> {
        let (lane, event, n) = (task.lane.clone(), task.event.clone(), task.range.index());
        let target = self.names.subject(&Subject::Task {
            lane: lane.clone(),
            event: event.clone(),
            n,
            pass,
        });
        let subject = self.names.subject(&Subject::Later {
            event,
            lane,
            n,
            pass,
        });
        // A lifetime shorter than the delay would silently never fire (measured), so it is at least
        // a minute more; the pass itself looks at the expiry.
        let after_due = lifetime(due, task.expires_at).max(60);
        let mut headers = expecting(0);
        headers.insert(
            header::SCHEDULE,
            format!("@at {}", whole_seconds_up(due)).as_str(),
        );
        headers.insert(header::SCHEDULE_TARGET, target.as_str());
        let ttl = lifetime(now, due) + after_due;
        headers.insert(header::TTL, ttl.to_string().as_str());
        headers.insert(header::SCHEDULE_TTL, after_due.to_string().as_str());
        let payload = Bytes::from(task.encode());
        match self
            .publish_until_known(&subject, &headers, &payload, BUDGET)
            .await
        {
            Answer::Stored { .. } | Answer::Exists { .. } => Ok(()),
            Answer::Unknown(_) | Answer::BatchOpen => Err(WakeUpError::Unknown),
            Answer::Refused(refusal) => Err(WakeUpError::Refused(refusal)),
        }
    }
}

/// Seconds from one time to a later one, at least 1, rounded up.
fn lifetime(from: Timestamp, to: Timestamp) -> i64 {
    let ms = to.as_millisecond() - from.as_millisecond();
    (ms.max(0) + 999) / 1000 + 1
}

/// The due time in the form that the server reads; it keeps fractions.
fn whole_seconds_up(due: Timestamp) -> String {
    due.to_string()
}
