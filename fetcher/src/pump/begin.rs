//! The beginning of a pump: the baseline that all fetchers agree on, and the stored cursors.

use std::sync::Arc;

use bytes::Bytes;
use fanfare_nats::control::Created;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::{Pump, PumpError};
use crate::baseline::Baseline;
use crate::clock;
use crate::config::InputConfig;
use crate::cursor::{self, Cursor};
use crate::intake::{Intake, ReadError, read_documents};
use crate::mapping::{Mapping, Observed};
use crate::metric::PollResult;
use crate::source::{Http, Payload, Settled, Source, SourceError};

/// What a pump begins with.
pub(super) struct Beginning {
    pub(super) intake: Intake,
    pub(super) polled: Vec<Polled>,
}

/// A polled input.
pub(super) struct Polled {
    /// Its number among the inputs of the source.
    pub(super) n: usize,
    pub(super) http: Http,
    /// What the first look saw: judged like any other batch, as soon as the baseline is agreed.
    pub(super) seen: Option<Observed>,
}

impl Pump {
    /// `None`: stopped meanwhile.
    pub(super) async fn begin(
        &self,
        mapping: &Arc<Mapping>,
        stop: &CancellationToken,
    ) -> Result<Option<Beginning>, PumpError> {
        let key = format!("baseline.{}", self.source.name);
        let stored = self.broker.control_get(&key).await?;
        let is_first = stored.is_none();
        let mut polled = self.polled_inputs(is_first).await?;
        let baseline = if let Some(record) = stored {
            Baseline::decode(&record.value)?
        } else {
            if !self.first_look(mapping, &mut polled, stop).await? {
                return Ok(None);
            }
            self.agree(&key, &polled).await?
        };
        let intake = Intake::new(
            &self.source,
            Arc::clone(&self.topics),
            mapping.policy(),
            baseline,
            self.broker.clone(),
            self.metrics.clone(),
        )
        .map_err(|_| PumpError::Configuration)?
        .under(self.tenure.clone());
        Ok(Some(Beginning { intake, polled }))
    }

    /// The polled inputs. Before there is a baseline no cursor counts: the whole has to be seen.
    async fn polled_inputs(&self, is_first: bool) -> Result<Vec<Polled>, PumpError> {
        let config = cursor::fingerprint(&self.source);
        let mut polled = Vec::new();
        for (n, input) in self.source.input.iter().enumerate() {
            let InputConfig::Http(input) = input else {
                continue;
            };
            let record = if is_first {
                None
            } else {
                let key = cursor::key(&self.source.name, n);
                self.broker.control_get(&key).await?
            };
            let cursor = record
                .and_then(|it| Cursor::decode(&it.value, &config))
                .unwrap_or_else(|| Cursor::start(&config));
            let http = Http::new(input, &self.agent, cursor).map_err(PumpError::Input)?;
            polled.push(Polled {
                n,
                http,
                seen: None,
            });
        }
        Ok(polled)
    }

    /// Polls every polled input until each was read completely once.
    async fn first_look(
        &self,
        mapping: &Arc<Mapping>,
        polled: &mut [Polled],
        stop: &CancellationToken,
    ) -> Result<bool, PumpError> {
        for input in polled {
            while input.seen.is_none() {
                let looked = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(false),
                    looked = look(mapping, input.n, &mut input.http) => looked,
                };
                match looked {
                    Ok(observed) => input.seen = Some(observed),
                    Err(Look::Source(error)) => self.failed(&error),
                    Err(Look::Read(error @ ReadError::Panicked(_))) => {
                        return Err(PumpError::Read(error));
                    }
                    Err(Look::Read(error @ ReadError::Document(_))) => {
                        input.http.settle(Settled::Failed);
                        self.failed(&error);
                    }
                }
            }
            self.metrics.polled(PollResult::New);
        }
        Ok(true)
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        self.metrics.polled(PollResult::Error);
        self.metrics.failed(error);
        tracing::warn!(source.name = %self.source.name, error, "first poll failed; trying again");
    }

    /// Creates the record, or takes the one that another fetcher created.
    async fn agree(&self, key: &str, polled: &[Polled]) -> Result<Baseline, PumpError> {
        let items = polled
            .iter()
            .filter_map(|it| it.seen.as_ref())
            .flat_map(|it| &it.observations)
            .filter_map(|it| Some((it.item.as_str(), it.level.as_ref()?)));
        let mine = Baseline::of(items, clock::now());
        let created = self
            .broker
            .control_create(key, Bytes::from(mine.encode()?))
            .await?;
        let (baseline, is_mine) = match created {
            Created::Mine(_) => (mine, true),
            Created::Theirs(record) => (Baseline::decode(&record.value)?, false),
        };
        tracing::info!(
            source.name = %self.source.name,
            n_items = baseline.len(),
            is_mine,
            "baseline agreed; these items are silent until their level rises"
        );
        Ok(baseline)
    }
}

enum Look {
    Source(SourceError),
    Read(ReadError),
}

async fn look(mapping: &Arc<Mapping>, input: usize, http: &mut Http) -> Result<Observed, Look> {
    let batch = http.next().await.map_err(Look::Source)?;
    match batch.payload {
        Payload::Documents(documents) => read_documents(mapping, input, documents)
            .await
            .map_err(Look::Read),
        // Nothing was known that could be unmodified: there is nothing to make a baseline of.
        Payload::NotModified | Payload::Frames(_) => {
            http.settle(Settled::Failed);
            Err(Look::Source(SourceError::Status(StatusCode::NOT_MODIFIED)))
        }
    }
}
