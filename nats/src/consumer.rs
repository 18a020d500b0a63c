//! Bound durables and the loop that takes messages from them.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use futures::StreamExt;
use thiserror::Error;

use crate::claim::Message;
use crate::connect::Broker;
use crate::plan::Lane;
use crate::stream::{EVENTS_CONSUMER, LANE_EPOCH};
use crate::subject::Names;

/// How long the server holds an unanswered pull.
const EXPIRES: Duration = Duration::from_secs(1);
/// How long the client waits before it pulls again: a pull that was lost with a frozen or replaced
/// server must not leave work lying.
const GUARD: Duration = Duration::from_secs(2);

/// A consumer that reads a stream once and goes away by itself; where it begins and what it takes is
/// the caller's.
pub(crate) fn one_reading() -> pull::Config {
    pull::Config {
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: Duration::from_secs(30),
        ..pull::Config::default()
    }
}

/// Why a durable could not be bound or asked.
#[derive(Debug, Error)]
pub enum ConsumerError {
    /// It does not exist, or may not be asked for.
    #[error("consumer {name} of {stream} could not be bound: {text}")]
    Bind {
        /// Its stream.
        stream: String,
        /// Its name.
        name: String,
        /// The broker's words.
        text: String,
    },
    /// A pull failed.
    #[error("consumer {name} could not be pulled: {text}")]
    Pull {
        /// Its name.
        name: String,
        /// The broker's words.
        text: String,
    },
}

/// A durable shared by all workers of a kind.
#[derive(Clone, Debug)]
pub struct Claims {
    consumer: PullConsumer,
    broker: Broker,
    name: String,
    epoch: u64,
    ack_wait: Duration,
}

impl Broker {
    /// Binds the durable that events are taken from.
    ///
    /// # Errors
    /// [`ConsumerError::Bind`].
    pub async fn event_claims(&self) -> Result<Claims, ConsumerError> {
        self.bind(self.names.events(), EVENTS_CONSUMER.to_owned())
            .await
    }

    /// Binds the durable that a lane's tasks are taken from.
    ///
    /// # Errors
    /// [`ConsumerError::Bind`].
    pub async fn task_claims(&self, lane: &Lane) -> Result<Claims, ConsumerError> {
        self.bind(self.names.tasks(), Names::send_consumer(lane))
            .await
    }

    async fn bind(&self, stream: String, name: String) -> Result<Claims, ConsumerError> {
        let consumer: PullConsumer = self
            .context
            .get_consumer_from_stream(&name, &stream)
            .await
            .map_err(|error| ConsumerError::Bind {
                stream: stream.clone(),
                name: name.clone(),
                text: error.to_string(),
            })?;
        let config = &consumer.cached_info().config;
        Ok(Claims {
            epoch: config
                .metadata
                .get(LANE_EPOCH)
                .and_then(|it| it.parse().ok())
                .unwrap_or(0),
            ack_wait: config.ack_wait,
            consumer,
            broker: self.clone(),
            name,
        })
    }
}

impl Claims {
    /// The client's view of the durable.
    pub(crate) fn consumer(&self) -> &PullConsumer {
        &self.consumer
    }

    /// How long a message may stay with a worker that says nothing.
    pub fn ack_wait(&self) -> Duration {
        self.ack_wait
    }

    /// Raised at each re-creation of the durable.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes one message: returns as soon as there is one, or `None` after about a second.
    ///
    /// One at a time, because an unfinished pull must not be abandoned: what the server sends to it
    /// later counts as delivered and waits for `ack_wait`. For the same reason dropping the future
    /// may leave a message on its way; on a stop, let it return and hand the message back.
    ///
    /// # Errors
    /// [`ConsumerError::Pull`]: pause, and pull again.
    pub async fn next(&self) -> Result<Option<Message>, ConsumerError> {
        let failed = |text: String| ConsumerError::Pull {
            name: self.name.clone(),
            text,
        };
        let mut batch: pull::Batch = self
            .consumer
            .batch()
            .max_messages(1)
            .expires(EXPIRES)
            .messages()
            .await
            .map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(GUARD, batch.next()).await {
            Ok(Some(Ok(message))) => Ok(Some(Message::new(message, &self.broker.metrics))),
            Ok(Some(Err(error))) => Err(failed(error.to_string())),
            Ok(None) | Err(_) => Ok(None),
        }
    }
}
