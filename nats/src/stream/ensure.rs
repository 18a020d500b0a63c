//! What is missing is made; then everything is checked.

use std::time::Duration;

use async_nats::jetstream::context::{ConsumerInfoErrorKind, KeyValueErrorKind};
use async_nats::jetstream::{consumer, kv, stream};
use rand::Rng;

use super::{AHEAD_CONSUMER, Difference, Topology, TopologyError, Weight};
use crate::connect::Broker;

/// How often a part is asked for: at 5 s each longer than an election takes.
const TRIES: u32 = 6;

/// One thing to be there.
enum Part {
    Stream(Box<stream::Config>),
    Bucket(kv::Config),
    /// Of this stream.
    Consumer(String, consumer::pull::Config),
}

impl Part {
    /// Whether everything works without it.
    fn is_spare(&self) -> bool {
        match self {
            Self::Consumer(_, config) => config.durable_name.as_deref() == Some(AHEAD_CONSUMER),
            Self::Stream(_) | Self::Bucket(_) => false,
        }
    }
}

impl Broker {
    /// Creates what is missing and changes nothing; then checks everything.
    ///
    /// Safe to call from any number of processes at once, and again after a partial failure.
    ///
    /// # Errors
    /// [`TopologyError`]; `Differences` if something exists in a shape that breaks the promise.
    pub async fn ensure(&self, topology: &Topology) -> Result<(), TopologyError> {
        self.create_missing(topology).await?;
        // What was just made may still elect its leader.
        let mut tries = 1..TRIES;
        let mut differences = self.verify(topology).await;
        while differences.iter().any(Difference::is_unanswered) && tries.next().is_some() {
            pause().await;
            differences = self.verify(topology).await;
        }
        let (refused, doubtful): (Vec<_>, Vec<_>) = differences
            .into_iter()
            .partition(|it| it.weight == Weight::Breaks);
        for difference in doubtful {
            tracing::warn!("{difference}");
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(TopologyError::Differences(refused))
        }
    }

    pub(super) async fn create_missing(&self, topology: &Topology) -> Result<(), TopologyError> {
        let (streams, buckets) = (topology.streams(&self.names), topology.buckets(&self.names));
        let streams = streams.into_iter().map(|it| Part::Stream(Box::new(it)));
        let buckets = buckets.into_iter().map(Part::Bucket);
        let consumers = topology.consumers(&self.names).into_iter();
        let consumers = consumers.map(|(stream, config)| Part::Consumer(stream, config));
        for part in streams.chain(buckets).chain(consumers) {
            self.ensure_part(&part).await?;
        }
        Ok(())
    }

    /// Asks several times: of several processes that create a stream at once on three servers, some
    /// get no answer or a refusal that the next question clears up (measured).
    async fn ensure_part(&self, part: &Part) -> Result<(), TopologyError> {
        let mut tries = 1..TRIES;
        loop {
            let ensured = match part {
                Part::Stream(config) => self.ensure_stream(config).await,
                Part::Bucket(config) => self.ensure_bucket(config).await,
                Part::Consumer(stream, config) => self.ensure_consumer(stream, config).await,
            };
            match ensured {
                Err(error) if tries.next().is_some() => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "asking again");
                    pause().await;
                }
                // What is wrong is told when everything is checked; nothing depends on it.
                Err(_) if part.is_spare() => return Ok(()),
                Ok(()) | Err(_) => return ensured,
            }
        }
    }

    async fn ensure_stream(&self, config: &stream::Config) -> Result<(), TopologyError> {
        let made = self.reads.get_or_create_stream(config).await;
        made.map(|_| ()).map_err(|error| TopologyError::Create {
            name: config.name.clone(),
            text: error.to_string(),
        })
    }

    async fn ensure_bucket(&self, config: &kv::Config) -> Result<(), TopologyError> {
        let bucket = config.bucket.clone();
        match self.reads.get_key_value(bucket.clone()).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == KeyValueErrorKind::GetBucket => self
                .reads
                .create_key_value(config.clone())
                .await
                .map(|_| ())
                .map_err(|error| TopologyError::Create {
                    name: bucket,
                    text: format!("{error}: {:?}", std::error::Error::source(&error)),
                }),
            Err(error) => Err(TopologyError::Create {
                name: bucket,
                text: error.to_string(),
            }),
        }
    }

    pub(super) async fn ensure_consumer(
        &self,
        stream: &str,
        config: &consumer::pull::Config,
    ) -> Result<(), TopologyError> {
        let name = config.durable_name.clone().unwrap_or_default();
        let failed = |text: String| TopologyError::Consumer {
            name: name.clone(),
            text,
        };
        let handle = self
            .reads
            .get_stream_no_info(stream)
            .await
            .map_err(|error| failed(error.to_string()))?;
        match handle.consumer_info(&name).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        // Strictly: whoever comes second finds the first one's, with its epoch.
        handle
            .create_consumer_strict(config.clone())
            .await
            .map(|_| ())
            .map_err(|error| failed(error.to_string()))
    }
}

/// Before a question is asked again; others may ask at the same time.
async fn pause() {
    let pause = rand::rng().random_range(50..=250);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}
