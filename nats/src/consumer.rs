//! Bound durables and the loop that takes messages from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, Config, PullConsumer, pull};
use thiserror::Error;

use crate::claim::Message;
use crate::connect::Broker;
use crate::plan::Lane;
use crate::pulls::Pulls;
use crate::stream::{AHEAD_CONSUMER, EVENTS_CONSUMER, LANE_EPOCH};
use crate::subject::Names;

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

/// How a reading bears with a consumer that was just made: in a cluster the server that we sit on may
/// not know of it yet, and answers 503 to the first pull (seen with `verify` on three servers).
#[derive(Debug, Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// Waits a little if the error may be of that kind and it has not been borne for 5 s.
    pub(crate) async fn bears(&mut self, error: &impl std::fmt::Display) -> bool {
        if self.0 == 50 || !error.to_string().contains("503") {
            return false;
        }
        self.0 += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        true
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

/// A durable shared by all workers of a kind. Each clone pulls for itself.
#[derive(Clone, Debug)]
pub struct Claims {
    consumer: PullConsumer,
    pulls: Pulls,
    broker: Broker,
    name: String,
    settings: Arc<Settings>,
}

/// What of the durable's configuration a worker goes by. An operator may change it, or make the
/// durable anew, while everything runs.
#[derive(Debug)]
struct Settings {
    epoch: AtomicU64,
    ack_wait_ms: AtomicU64,
}

impl Settings {
    fn new(config: &Config) -> Self {
        let settings = Self {
            epoch: AtomicU64::new(0),
            ack_wait_ms: AtomicU64::new(0),
        };
        settings.renew(config);
        settings
    }

    /// The epoch never falls: of two durables the later one has the greater.
    fn renew(&self, config: &Config) -> bool {
        let epoch = config.metadata.get(LANE_EPOCH);
        let epoch = epoch.and_then(|it| it.parse().ok()).unwrap_or(0);
        let ack_wait_ms = u64::try_from(config.ack_wait.as_millis()).unwrap_or(u64::MAX);
        self.ack_wait_ms.store(ack_wait_ms, Ordering::Relaxed);
        self.epoch.fetch_max(epoch, Ordering::Relaxed) < epoch
    }
}

impl Broker {
    /// Binds the durable that events are taken from.
    ///
    /// # Errors
    /// [`ConsumerError::Bind`].
    pub async fn event_claims(&self) -> Result<Claims, ConsumerError> {
        self.bind(self.names.events(), EVENTS_CONSUMER.to_owned(), 1)
            .await
    }

    /// Binds the durable that a lane's tasks are taken from.
    ///
    /// # Errors
    /// [`ConsumerError::Bind`].
    pub async fn task_claims(&self, lane: &Lane) -> Result<Claims, ConsumerError> {
        self.bind(self.names.tasks(), Names::send_consumer(lane), 1)
            .await
    }

    /// Binds the durable that tells of events before their turn.
    pub(crate) async fn ahead_claims(&self, batch: usize) -> Result<Claims, ConsumerError> {
        self.bind(self.names.events(), AHEAD_CONSUMER.to_owned(), batch)
            .await
    }

    async fn bind(
        &self,
        stream: String,
        name: String,
        batch: usize,
    ) -> Result<Claims, ConsumerError> {
        let consumer: PullConsumer = self
            .context
            .get_consumer_from_stream(&name, &stream)
            .await
            .map_err(|error| ConsumerError::Bind {
                stream: stream.clone(),
                name: name.clone(),
                text: error.to_string(),
            })?;
        Ok(Claims {
            settings: Arc::new(Settings::new(&consumer.cached_info().config)),
            consumer,
            pulls: Pulls::new(self.client.clone(), self.context.clone(), batch),
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

    /// How long a message may stay with a worker that says nothing, as far as is known.
    pub fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.settings.ack_wait_ms.load(Ordering::Relaxed))
    }

    /// Raised at each re-creation of the durable; clones know what one of them has learned.
    pub fn epoch(&self) -> u64 {
        self.settings.epoch.load(Ordering::Relaxed)
    }

    /// The broker has told how the durable is configured.
    pub(crate) fn learn(&self, config: &Config) {
        if self.settings.renew(config) {
            tracing::warn!(
                consumer = self.name,
                epoch = self.epoch(),
                "the consumer was made anew, or everything restored: its new epoch is taken over"
            );
        }
    }

    /// Takes one message: returns as soon as there is one, or `None` after about a second.
    ///
    /// One at a time. What comes late is the next call's, so dropping the future loses nothing; on a
    /// stop call [`Self::hand_back`], or it waits for `ack_wait`.
    ///
    /// # Errors
    /// [`ConsumerError::Pull`]: pause, and pull again.
    pub async fn next(&self) -> Result<Option<Message>, ConsumerError> {
        let place = || format!("pulls from {}", self.name);
        let failed = |text: String| {
            let is_leaderless = text.contains("503"); // The server's word for it in a pull's answer.
            let why = if is_leaderless { "no leader" } else { &text };
            self.broker.missed(&place(), why);
            ConsumerError::Pull {
                name: self.name.clone(),
                text,
            }
        };
        match self.pulls.next(&self.consumer).await {
            Ok(Some(message)) => {
                self.broker.heard(place);
                Ok(Some(Message::new(message, &self.broker.metrics)))
            }
            // The server has said that there is nothing.
            Ok(None) => {
                self.broker.heard(place);
                Ok(None)
            }
            Err(Some(text)) => Err(failed(text)),
            Err(None) => Ok(None),
        }
    }

    /// The next message with nothing to settle, of a durable that nobody depends on: its silence is no
    /// outage.
    pub(crate) async fn next_told(&self) -> Result<Option<jetstream::Message>, ConsumerError> {
        match self.pulls.next(&self.consumer).await {
            Ok(told) => Ok(told),
            Err(None) => Ok(None),
            Err(Some(text)) => Err(ConsumerError::Pull {
                name: self.name.clone(),
                text,
            }),
        }
    }

    /// Hands back what came and was not begun, and what is still on its way; for the stop.
    pub async fn hand_back(&self) {
        for message in self.pulls.rest().await {
            Message::new(message, &self.broker.metrics).nak(None).await;
        }
    }
}
