//! Operators' pauses, followed: a source that is paused is neither polled nor read.
//!
//! Its cursor stays where it is, so that nothing is lost within the source's own memory; what grows
//! older than `fresh_for` meanwhile is no news any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use fanfare_nats::Broker;
use fanfare_nats::pause::{LOOK_EVERY, SourcePause};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// The sources that are paused now, with the ends of their pauses; `None` until that is known.
type Paused = Option<Arc<BTreeMap<String, Timestamp>>>;

/// What all sources of a process are told.
pub(crate) struct Teller(watch::Sender<Paused>);

/// What one source hears.
#[derive(Clone)]
pub(crate) struct Pauses(watch::Receiver<Paused>);

/// Who tells, and who hears.
pub(crate) fn pauses() -> (Teller, Pauses) {
    let (sender, receiver) = watch::channel(None);
    (Teller(sender), Pauses(receiver))
}

impl Teller {
    /// Asks the leader every second until `stop`. While it does not answer, what was read last counts:
    /// pauses go on and end as they were meant to.
    pub(crate) async fn run(self, broker: Broker, stop: CancellationToken) {
        let mut known: Option<BTreeMap<String, SourcePause>> = None;
        loop {
            let read = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                read = broker.source_pauses() => read,
            };
            match read {
                Ok(pauses) => known = Some(pauses),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "pauses of sources cannot be read");
                }
            }
            self.tell(known.as_ref(), clock::now());
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn tell(&self, known: Option<&BTreeMap<String, SourcePause>>, now: Timestamp) {
        let Some(known) = known else { return };
        let paused = known.values().filter(|it| it.until > now);
        let paused = paused.map(|it| (it.source.clone(), it.until));
        let paused: BTreeMap<_, _> = paused.collect();
        self.0.send_if_modified(|told| {
            let is_new = told.as_deref() != Some(&paused);
            if is_new {
                *told = Some(Arc::new(paused));
            }
            is_new
        });
    }
}

impl Pauses {
    /// Waits until it is known that the source is not paused; says until when it is, each time that
    /// is told.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn over(&mut self, source: &str, mut paused: impl FnMut(Timestamp)) {
        loop {
            let until = self
                .0
                .borrow_and_update()
                .as_ref()
                .map(|it| it.get(source).copied());
            match until {
                Some(None) => return,
                Some(Some(until)) => paused(until),
                None => {}
            }
            if self.0.changed().await.is_err() {
                // Nobody tells any more: this process stops.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the source is paused.
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn begun(&mut self, source: &str) {
        let is_paused = |told: &Paused| told.as_ref().is_some_and(|it| it.contains_key(source));
        if self.0.wait_for(is_paused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(source: &str, until_s: i64) -> (String, SourcePause) {
        let at = |it| Timestamp::from_second(it).unwrap();
        let (until, since, source) = (at(until_s), at(0), source.to_owned());
        (
            source.clone(),
            SourcePause {
                source,
                until,
                since,
            },
        )
    }

    #[tokio::test]
    async fn a_source_reads_when_it_is_known_that_it_may_and_no_longer() {
        let (teller, pauses) = pauses();
        let at = |it| Timestamp::from_second(it).unwrap();
        let mut usgs = pauses.clone();
        let unknown = tokio::time::timeout(std::time::Duration::from_millis(20), async {
            usgs.over("usgs", |_| {}).await;
        });
        assert!(unknown.await.is_err(), "it is not known yet");

        let known = BTreeMap::from([pause("usgs", 100), pause("old", 10)]);
        teller.tell(None, at(50));
        teller.tell(Some(&known), at(50));
        pauses.clone().over("old", |_| {}).await; // Its pause is over by its own word.
        pauses.clone().over("other", |_| {}).await;
        pauses.clone().begun("usgs").await;
        let mut told = Vec::new();
        let over = async {
            teller.tell(Some(&known), at(99));
            tokio::task::yield_now().await;
            teller.tell(Some(&known), at(100));
        };
        tokio::join!(biased; usgs.over("usgs", |until| told.push(until)), over);
        assert_eq!(told, [at(100)]);
    }
}
