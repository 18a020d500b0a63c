//! Lanes as the broker knows them: what waits, what is in hand, and the pause of an operator, which
//! is the broker's own pause of a lane's durable. It survives every restart, and `nats consumer
//! pause` does the same.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind, Stream};
use futures::TryStreamExt;
use jiff::Timestamp;
use thiserror::Error;

use crate::connect::Broker;
use crate::consumer::Claims;
use crate::plan::Lane;
use crate::subject::Names;

/// One lane at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneReport {
    /// Which lane.
    pub lane: Lane,
    /// Tasks that nobody has taken yet.
    pub n_pending: u64,
    /// Tasks that were taken and are not settled.
    pub n_in_hand: u64,
    /// Until when an operator has paused it.
    pub paused_until: Option<Timestamp>,
}

/// Why a lane could not be looked at, paused or resumed.
#[derive(Debug, Error)]
pub enum LaneError {
    /// No such lane has a durable: no notifier with its app was ever started.
    #[error("there is no lane {0}")]
    Unknown(String),
    /// The moment cannot be told to the broker.
    #[error("the pause would end at no date")]
    Date,
    /// The servers do not agree on it in time; nothing tells whether they will.
    #[error("the servers did not agree on it in time: look at `fanfare lanes`, and say it again")]
    NotAgreed(String),
    /// The broker did not answer, or refuses.
    #[error("the broker does not say how the lanes are: {0}")]
    Broker(String),
}

impl Broker {
    /// Every lane that has a durable, by name.
    ///
    /// # Errors
    /// [`LaneError::Broker`].
    pub async fn lanes(&self) -> Result<Vec<LaneReport>, LaneError> {
        let stream = self.lane_stream().await?;
        let mut consumers = stream.consumers();
        let mut lanes = Vec::new();
        while let Some(info) = consumers.try_next().await.map_err(broker)? {
            lanes.extend(report(&info));
        }
        lanes.sort_by_key(|it| it.lane.to_string());
        Ok(lanes)
    }

    /// Stops the delivery of a lane's tasks until a moment; what is in hand is handed back by the
    /// notifiers within seconds. Pausing again sets the new moment. Answers with what the lane's leader
    /// shows then.
    ///
    /// Dropping the future leaves it unknown whether it is paused.
    ///
    /// # Errors
    /// [`LaneError`].
    pub async fn pause_lane(&self, lane: &Lane, until: Timestamp) -> Result<LaneReport, LaneError> {
        let until = time::OffsetDateTime::from_unix_timestamp_nanos(until.as_nanosecond())
            .map_err(|_| LaneError::Date)?;
        let stream = self.lane_stream().await?;
        let name = Names::send_consumer(lane);
        let answer = stream.pause_consumer(&name, until).await;
        let granted = answer.map_err(|error| failed(lane, &error))?.pause_until;
        self.await_pause(&stream, lane, Some(granted)).await
    }

    /// Ends a pause; a lane that is not paused stays as it is. Answers with what the lane's leader
    /// shows then.
    ///
    /// Dropping the future leaves it unknown whether it is paused.
    ///
    /// # Errors
    /// [`LaneError`].
    pub async fn resume_lane(&self, lane: &Lane) -> Result<LaneReport, LaneError> {
        let stream = self.lane_stream().await?;
        let name = Names::send_consumer(lane);
        let answer = stream.resume_consumer(&name).await;
        answer.map_err(|error| failed(lane, &error))?;
        self.await_pause(&stream, lane, None).await
    }

    /// On three servers a pause is answered when it is proposed, not when it is agreed upon: who
    /// asks right after it may be told the old state, and a lost proposal is told to nobody.
    async fn await_pause(
        &self,
        stream: &Stream<()>,
        lane: &Lane,
        wanted: Option<time::OffsetDateTime>,
    ) -> Result<LaneReport, LaneError> {
        let name = Names::send_consumer(lane);
        let agreed = async || -> Result<LaneReport, LaneError> {
            loop {
                let info = stream.consumer_info(&name).await.map_err(broker)?;
                let set = info.config.pause_until;
                if set == wanted || (wanted.is_none() && !info.paused) {
                    let report = report(&info);
                    return report.ok_or_else(|| LaneError::Unknown(lane.to_string()));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(AGREED_WITHIN, agreed()).await {
            Ok(result) => result,
            Err(_) => Err(LaneError::NotAgreed(lane.to_string())),
        }
    }

    async fn lane_stream(&self) -> Result<Stream<()>, LaneError> {
        let name = self.names.tasks();
        self.reads.get_stream_no_info(name).await.map_err(broker)
    }
}

impl Claims {
    /// How long an operator's pause of this durable goes on; `None` if it is not paused. What else
    /// has changed of the durable is known from then on, too: [`Claims::epoch`],
    /// [`Claims::ack_wait`].
    ///
    /// # Errors
    /// [`LaneError::Broker`]: it is not known.
    pub async fn pause_left(&self) -> Result<Option<Duration>, LaneError> {
        let info = self.consumer().get_info().await.map_err(broker)?;
        self.learn(&info.config);
        Ok(info
            .paused
            .then(|| info.pause_remaining.unwrap_or_default()))
    }
}

fn report(info: &Info) -> Option<LaneReport> {
    let lane = Lane::parse(info.name.strip_prefix(SEND)?)?;
    let until = info.config.pause_until.filter(|_| info.paused);
    Some(LaneReport {
        lane,
        n_pending: info.num_pending,
        n_in_hand: u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX),
        paused_until: until
            .and_then(|it| Timestamp::from_nanosecond(it.unix_timestamp_nanos()).ok()),
    })
}

/// A pause is a write to the log of the meta group: milliseconds, or an election of 4 to 11 s.
const AGREED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How the names of lanes' durables begin.
const SEND: &str = "send-";

fn failed(lane: &Lane, error: &ConsumerError) -> LaneError {
    match error.kind() {
        ConsumerErrorKind::JetStream(cause)
            if cause.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
        {
            LaneError::Unknown(lane.to_string())
        }
        ConsumerErrorKind::TimedOut
        | ConsumerErrorKind::Request
        | ConsumerErrorKind::InvalidConsumerType
        | ConsumerErrorKind::InvalidName
        | ConsumerErrorKind::JetStream(_)
        | ConsumerErrorKind::Other => broker(error),
    }
}

fn broker(error: impl std::fmt::Display) -> LaneError {
    LaneError::Broker(error.to_string())
}
