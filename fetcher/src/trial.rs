//! `fanfare source test`: what a source would do with a document, without doing it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::policy::{Policy as Delivery, TopicPolicies};
use fanfare_nats::{Event, Problem};
use jiff::Timestamp;
use thiserror::Error;
use tokio::time::Instant;

use crate::baseline::Baseline;
use crate::config::{Config, InputConfig, SourceConfig};
use crate::cursor::{self, Cursor};
use crate::decide::{Decision, Policy, Silence, decide};
use crate::intake::Shape;
use crate::mapping::{DocumentError, Mapping, Observed, Reject, Tracker};
use crate::source::{Http, Payload, Source, SourceError, WebSocket};

/// How long frames of a socket are collected, and how many.
const LISTEN_FOR: Duration = Duration::from_secs(10);
const MAX_FRAMES: usize = 50;

/// What a source would do.
#[derive(Debug)]
pub struct Trial {
    /// The items that can be used, in the order of the document.
    pub rows: Vec<Row>,
    /// The items that cannot.
    pub rejects: Vec<Reject>,
    /// How many items `when` (or `ignore`) leaves out.
    pub n_left_out: usize,
    /// How most of the events are delivered: what holds unless a row says otherwise.
    pub delivery: Delivery,
}

/// What would become of one item.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its id.
    pub item: String,
    /// What was decided, with an empty baseline.
    pub decision: Decision,
    /// The event that would be stored.
    pub event: Option<Event>,
    /// How it is delivered.
    pub delivery: Delivery,
}

/// Why there is no trial.
#[derive(Debug, Error)]
pub enum TrialError {
    /// No source of that name.
    #[error("the configuration has no source `{0}`")]
    Unknown(String),
    /// Its configuration is wrong.
    #[error("the source has {} problems", .0.len())]
    Configuration(Vec<Problem>),
    /// Nothing can be asked of a source that is posted to.
    #[error("`{0}` is posted to: try it on a document")]
    Posted(String),
    /// Its document cannot be read.
    #[error("the document cannot be read")]
    Document(#[from] DocumentError),
    /// Nothing could be fetched.
    #[error("nothing could be fetched")]
    Source(#[from] SourceError),
}

/// Tries a source on bytes: a document of its first polled input, or else frames, one a line.
///
/// # Errors
/// [`TrialError`].
pub fn trial_of_bytes(
    config: &Config,
    name: &str,
    bytes: &[u8],
    now: Timestamp,
) -> Result<Trial, TrialError> {
    let source = named(config, name)?;
    let mapping = Mapping::compile(source).map_err(TrialError::Configuration)?;
    let is_polled = |it: &InputConfig| matches!(it, InputConfig::Http(_) | InputConfig::Webhook(_));
    let observed = if let Some(input) = source.input.iter().position(is_polled) {
        mapping.observe_document(input, bytes)?
    } else {
        let lines = bytes
            .split(|it| *it == b'\n')
            .filter(|it| !it.trim_ascii().is_empty());
        let frames: Vec<Bytes> = lines.map(Bytes::copy_from_slice).collect();
        mapping.observe_frames(0, &frames, &mut Tracker::default())
    };
    judge(source, config.topic_policies(), observed, now)
}

/// Tries a source on what its first input gives at this moment: one poll, or up to 50 frames
/// within 10 seconds. Nothing is stored.
///
/// # Errors
/// [`TrialError`].
pub async fn trial_of_source(
    config: &Config,
    name: &str,
    now: Timestamp,
) -> Result<Trial, TrialError> {
    let source = named(config, name)?;
    let mapping = Mapping::compile(source).map_err(TrialError::Configuration)?;
    let agent = config.fetcher.user_agent();
    let observed = match source.input.first() {
        None => return Err(TrialError::Unknown(name.to_owned())),
        Some(InputConfig::Http(input)) => {
            let mut http = Http::new(input, &agent, Cursor::start(&cursor::fingerprint(source)))?;
            http.catch_up().ask(); // At once, instead of within the first interval.
            let mut observed = Observed::default();
            if let Payload::Documents(documents) = http.next().await?.payload {
                for document in documents {
                    observed.merge(mapping.observe_document(0, &document)?);
                }
            }
            observed
        }
        Some(InputConfig::Webhook(_)) => return Err(TrialError::Posted(name.to_owned())),
        Some(InputConfig::WebSocket(input)) => {
            let frames = listen(WebSocket::new(input, &agent)?).await?;
            mapping.observe_frames(0, &frames, &mut Tracker::default())
        }
    };
    judge(source, config.topic_policies(), observed, now)
}

fn named<'c>(config: &'c Config, name: &str) -> Result<&'c SourceConfig, TrialError> {
    let source = config.source.iter().find(|it| it.name == name);
    source.ok_or_else(|| TrialError::Unknown(name.to_owned()))
}

async fn listen(mut socket: WebSocket) -> Result<Vec<Bytes>, SourceError> {
    let until = Instant::now() + LISTEN_FOR;
    let mut frames = Vec::new();
    while frames.len() < MAX_FRAMES {
        let Ok(batch) = tokio::time::timeout_at(until, socket.next()).await else {
            break;
        };
        if let Payload::Frames(more) = batch?.payload {
            frames.extend(more);
        }
    }
    Ok(frames)
}

fn judge(
    source: &SourceConfig,
    topics: TopicPolicies,
    observed: Observed,
    now: Timestamp,
) -> Result<Trial, TrialError> {
    let problem = |error: fanfare_nats::event::NameError| {
        TrialError::Configuration(vec![Problem::new("name", error.to_string())])
    };
    let shape = Shape::new(source, Arc::new(topics)).map_err(problem)?;
    let baseline = Baseline::default();
    let policy = Policy {
        fresh_for: source.fresh_for.0,
        baseline: &baseline,
    };
    let rows = observed.observations.into_iter().map(|seen| {
        let decision = decide(&seen, policy, now);
        let (item, delivery) = (seen.item.clone(), shape.delivery(&seen));
        let event = match &decision {
            Decision::Publish(level) => Some(shape.event(seen, level.clone(), now)),
            Decision::Silent(_) => None,
        };
        Row {
            item,
            decision,
            event,
            delivery,
        }
    });
    let rows: Vec<Row> = rows.collect();
    Ok(Trial {
        delivery: usual(&rows).unwrap_or_else(|| source.wish(None).into()),
        rows,
        rejects: observed.rejects,
        n_left_out: observed.n_left_out,
    })
}

/// The delivery that most rows with an event have; of equals the first.
fn usual(rows: &[Row]) -> Option<Delivery> {
    let mut counts: Vec<(Delivery, usize)> = Vec::new();
    for row in rows.iter().filter(|it| it.event.is_some()) {
        match counts.iter_mut().find(|it| it.0 == row.delivery) {
            Some((_, n)) => *n += 1,
            None => counts.push((row.delivery, 1)),
        }
    }
    let most = counts.iter().map(|it| it.1).max()?;
    counts.into_iter().find(|it| it.1 == most).map(|it| it.0)
}

impl Trial {
    /// How many events would be stored; an item that a document shows twice counts once.
    pub fn n_events(&self) -> usize {
        let events = self.rows.iter().filter_map(|it| it.event.as_ref());
        events
            .map(Event::id)
            .collect::<std::collections::HashSet<_>>()
            .len()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.decision {
            Decision::Publish(level) => return self.fmt_event(f, &level.to_string()),
            Decision::Silent(Silence::BelowLevel) => "below all levels",
            Decision::Silent(Silence::Stale) => "older than fresh_for",
            Decision::Silent(Silence::Ahead) => "more than a day ahead",
            Decision::Silent(Silence::Baseline) => "there since the first run",
        };
        write!(f, "silent  {}  ({verdict})", self.item)
    }
}

impl Row {
    fn fmt_event(&self, f: &mut fmt::Formatter<'_>, level: &str) -> fmt::Result {
        write!(f, "event   {}  level {level}", self.item)?;
        let Some(event) = &self.event else {
            return Ok(());
        };
        let topics: Vec<&str> = event
            .topics
            .iter()
            .map(fanfare_nats::Topic::as_str)
            .collect();
        write!(f, "  topics {}", topics.join(", "))?;
        write!(f, "\n        {}", event.content.title)?;
        if let Some(url) = &event.content.url {
            write!(f, "\n        {url}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{row}")?;
            if row.event.is_some() && row.delivery != self.delivery {
                writeln!(f, "        delivered {}", row.delivery)?;
            }
        }
        for reject in &self.rejects {
            let item = reject.item.as_deref().unwrap_or("?");
            writeln!(
                f,
                "reject  {item}  ({}: {})",
                reject.reason.as_str(),
                reject.detail
            )?;
        }
        if self.n_events() > 0 {
            writeln!(f, "delivery  {}", self.delivery)?;
        }
        write!(
            f,
            "{} items: {} events, {} silent, {} left out, {} rejected. Nothing was sent. On its first run a source is silent about everything that is already there.",
            self.rows.len() + self.n_left_out + self.rejects.len(),
            self.n_events(),
            self.rows.iter().filter(|it| it.event.is_none()).count(),
            self.n_left_out,
            self.rejects.len()
        )
    }
}
