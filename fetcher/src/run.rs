//! The role: one pump per source, each for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::service::Service;
use fanfare_nats::{Broker, Problem, Readiness};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::config::{Config, Mode};
use crate::exclusive::Exclusive;
use crate::metric::Metrics;
use crate::pause::pauses;
use crate::pump::Pump;

/// A pump that ran so long begins again with the shortest pause.
const STABLE: Duration = Duration::from_mins(1);

/// The role's word in the list of members.
const ROLE: &str = "fetcher";

/// Why the role cannot go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// [`Config::validate`] has problems.
    #[error("the configuration of the sources has {} problems", .0.len())]
    Configuration(Vec<Problem>),
    /// A supervisor of a source ended by a panic, which is a bug of this crate.
    #[error("the supervisor of a source panicked")]
    Supervisor(#[source] tokio::task::JoinError),
}

/// Runs all sources until `stop`, then returns when each has finished its batch.
///
/// A source that fails or panics is started again after a pause; the others do not notice.
/// Dropping the future ends all of them at once, which loses and repeats nothing.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    broker: Broker,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(RunError::Configuration(problems));
    }
    let agent: Arc<str> = Arc::from(config.fetcher.user_agent());
    let topics = Arc::new(config.topic_policies());
    let names = config.source.iter().map(|it| it.name.clone()).collect();
    let has_exclusive = config.source.iter().any(|it| it.mode == Mode::Exclusive);
    let (presence, members) = broker.appear(service(names, metrics.clone()), stop.clone());
    let (census, electors) = broker.electorate(members);
    let mut sources = JoinSet::new();
    if has_exclusive {
        sources.spawn(census.run(stop.clone()));
    } else {
        drop(census); // Then nobody's members are read.
    }
    let (teller, pauses) = pauses();
    sources.spawn(teller.run(broker.clone(), stop.clone()));
    for source in config.source {
        let mode = source.mode;
        let pump = Pump {
            metrics: metrics.of_source(&source.name),
            source: Arc::new(source),
            topics: Arc::clone(&topics),
            agent: Arc::clone(&agent),
            broker: broker.clone(),
            tenure: None,
            pauses: pauses.clone(),
            is_resumed: false,
        };
        match mode {
            Mode::Shared => sources.spawn(supervise(pump, stop.clone())),
            Mode::Exclusive => {
                let exclusive = Exclusive::new(pump, &broker, electors.clone());
                let exclusive = exclusive.map_err(|error| {
                    RunError::Configuration(vec![Problem::new("source.name", error.to_string())])
                })?;
                sources.spawn(exclusive.run(stop.clone()))
            }
        };
    }
    readiness.met("sources");
    stop.cancelled().await;
    readiness.unmet("sources", "draining");
    while let Some(ended) = sources.join_next().await {
        ended.map_err(RunError::Supervisor)?;
    }
    presence.end().await;
    Ok(())
}

/// The role as operators find it.
fn service(sources: Vec<String>, metrics: Metrics) -> Service {
    Service {
        role: ROLE,
        description: "turns sources into events",
        metadata: BTreeMap::from([("sources".to_owned(), sources.join(","))]),
        figures: Arc::new(move || metrics.figures()),
    }
}

/// Keeps a pump running until `stop`, except while the source is paused: then each input finishes its
/// batch, and every connection is closed.
pub(crate) async fn supervise(mut pump: Pump, stop: CancellationToken) {
    let name = pump.source.name.clone();
    let mut pauses = pump.pauses.clone();
    loop {
        let metrics = pump.metrics.clone();
        let mut is_told = false;
        let over = pauses.over(&name, |until| {
            metrics.paused(true);
            if !is_told {
                tracing::info!(source.name = name, %until, "source paused by an operator");
            }
            is_told = true;
        });
        if stop.run_until_cancelled(over).await.is_none() {
            return;
        }
        if is_told {
            pump.metrics.paused(false);
            pump.is_resumed = true;
            tracing::info!(source.name = name, "source goes on");
        }
        let reading = stop.child_token();
        let mut kept = std::pin::pin!(keep(pump.clone(), reading.clone()));
        tokio::select! {
            () = &mut kept => return,
            () = pauses.begun(&name) => {}
        }
        reading.cancel();
        kept.await;
    }
}

/// Starts a pump, and again whenever it ends before `stop`.
async fn keep(pump: Pump, stop: CancellationToken) {
    let name = pump.source.name.clone();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
    while !stop.is_cancelled() {
        let began_at = Instant::now();
        // A set of one, so that a panic ends the pump alone and is heard here.
        let mut set = JoinSet::new();
        set.spawn(pump.clone().run(stop.clone()));
        let error: Box<dyn std::error::Error + Send + Sync> = match set.join_next().await {
            None | Some(Ok(Ok(()))) => return,
            Some(Ok(Err(error))) => error.into(),
            Some(Err(error)) => error.into(),
        };
        if began_at.elapsed() >= STABLE {
            backoff.reset();
        }
        let pause = backoff.failed();
        pump.metrics.restarted();
        pump.metrics.failed(&*error);
        tell(&name, &*error, pause);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn tell(name: &str, error: &(dyn std::error::Error + 'static), pause: Duration) {
    let pause_s = pause.as_secs_f64();
    tracing::error!(
        source.name = name,
        error,
        pause_s,
        "source ended; starting it again"
    );
}
