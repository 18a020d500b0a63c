//! Sources as the control bucket knows them: what every fetcher of whatever configuration left there.

use std::collections::BTreeMap;

use async_nats::jetstream::message::StreamMessage;
use futures::TryStreamExt;
use jiff::Timestamp;
use thiserror::Error;

use crate::connect::Broker;
use crate::control::{is_marker, kv_subject};
use crate::lease::{LeaseError, LeaseReport};
use crate::pause::{PauseError, SourcePause};

/// One source at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// Its name.
    pub source: String,
    /// When the cursor of each input advanced last, by the broker's clock; a socket has none.
    pub cursors: BTreeMap<usize, Timestamp>,
    /// Its lease, if it is exclusive and somebody holds it or held it not long ago.
    pub lease: Option<LeaseReport>,
    /// An operator's pause, if it goes on.
    pub pause: Option<SourcePause>,
}

/// Why it is not known how the sources are.
#[derive(Debug, Error)]
pub enum SourcesError {
    /// The control bucket.
    #[error("the control bucket could not be read: {0}")]
    Read(String),
    /// Leases, or cursors.
    #[error("what fetchers have stored could not be read")]
    Records(#[from] LeaseError),
    /// Pauses.
    #[error(transparent)]
    Pauses(#[from] PauseError),
}

impl Broker {
    /// Every source that a fetcher ever began to read, by name. Those of a configuration that is not
    /// used any more are among them.
    ///
    /// # Errors
    /// [`SourcesError`].
    pub async fn sources(&self, now: Timestamp) -> Result<Vec<SourceReport>, SourcesError> {
        let mut sources = BTreeMap::new();
        // A source begins with its baseline, of which only the name is needed.
        for name in self.baselines().await? {
            let _known = of(&mut sources, &name);
        }
        for message in self.control_records("cursor.*.*").await? {
            if let Some((source, input)) = place(&message)
                && !is_marker(&message.headers)
            {
                let at = message.time.unix_timestamp_nanos();
                let at = Timestamp::from_nanosecond(at).unwrap_or_default();
                of(&mut sources, source).cursors.insert(input, at);
            }
        }
        for lease in self.leases().await? {
            let report = of(&mut sources, &lease.source);
            report.lease = Some(lease.clone());
        }
        for (source, pause) in self.source_pauses().await? {
            of(&mut sources, &source).pause = Some(pause).filter(|it| it.until > now);
        }
        Ok(sources.into_values().collect())
    }

    async fn baselines(&self) -> Result<Vec<String>, SourcesError> {
        let failed = |error: &dyn std::fmt::Display| SourcesError::Read(error.to_string());
        let bucket = self.names.control_bucket();
        let stream = self.reads.get_stream_no_info(format!("KV_{bucket}")).await;
        let stream = stream.map_err(|error| failed(&error))?;
        let filter = kv_subject(&bucket, "baseline.*");
        let subjects = stream.info_with_subjects(filter).await;
        let mut subjects = subjects.map_err(|error| failed(&error))?;
        let mut names = Vec::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(|error| failed(&error))? {
            names.extend(subject.rsplit('.').next().map(str::to_owned));
        }
        Ok(names)
    }
}

fn of<'a>(sources: &'a mut BTreeMap<String, SourceReport>, name: &str) -> &'a mut SourceReport {
    sources
        .entry(name.to_owned())
        .or_insert_with(|| SourceReport {
            source: name.to_owned(),
            cursors: BTreeMap::new(),
            lease: None,
            pause: None,
        })
}

/// The source and the input of a cursor.
fn place(message: &StreamMessage) -> Option<(&str, usize)> {
    let mut tokens = message.subject.rsplit('.');
    let input = tokens.next()?.parse().ok()?;
    Some((tokens.next()?, input))
}
