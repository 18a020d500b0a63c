//! One process's candidacy for one lease: carries out what the machine decides.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::machine::{Answer, Lost, Machine, Step, Write};
use super::order::Electorate;
use super::record::{self, Record, Seen, Vacancy};
use super::tenure::Tenure;
use super::{Times, key, marker};
use crate::clock;
use crate::connect::Broker;
use crate::control::kv_subject;
use crate::event::SourceName;
use crate::request::{self, Unknown, expecting, header};

/// How long one request may take: a candidate that waits for a server that died waits for nothing.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a release is tried; without it the lease expires by itself.
const RELEASE_BUDGET: Duration = Duration::from_secs(2);
/// A node that did not take a lease that was handed to it is not asked again for so long: it may
/// not have this source at all.
const DECLINED: Duration = Duration::from_mins(10);
/// Between two tries of a release.
const RELEASE_PAUSE: Duration = Duration::from_millis(100);

/// How the holding of a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is lost: nothing more may be done with the source, not even finishing a batch.
    Lost(Lost),
    /// It should be handed over to this node: finish, close, then [`Candidate::release`] it.
    HandOver(String),
}

/// One process's candidacy for the lease of one source.
#[derive(Debug)]
pub struct Candidate {
    broker: Broker,
    source: SourceName,
    subject: String,
    nonce: u64,
    times: Times,
    machine: Machine,
    tenure: Option<Tenure>,
    since: Timestamp,
    /// Who holds it, as far as was seen; for one line of log at each change.
    other: Option<String>,
    declined: Option<(String, Instant)>,
}

impl Broker {
    /// A candidate for a source's lease, which holds nothing yet.
    pub fn candidate(&self, source: &SourceName, times: Times) -> Candidate {
        let nonce = Self::nonce();
        Candidate {
            broker: self.clone(),
            subject: kv_subject(&self.names.control_bucket(), &key(source)),
            source: source.clone(),
            nonce,
            times,
            machine: Machine::new(nonce, times, Instant::now()),
            tenure: None,
            since: clock::now(),
            other: None,
            declined: None,
        }
    }
}

impl Candidate {
    /// The process that held the lease when it was last looked at, if it was another one.
    pub fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// Waits until the lease is this process's.
    ///
    /// Dropping the future gives nothing up: a request under way may still win the lease, which the
    /// next call finds out.
    pub async fn acquire(&mut self, electorate: &mut watch::Receiver<Arc<Electorate>>) -> Tenure {
        loop {
            let all = electorate.borrow().clone();
            let until = self.turn(&all).await;
            if let Some((number, deadline)) = self.machine.held() {
                self.other = None;
                let tenure = Tenure::new(number, deadline);
                self.tenure = Some(tenure.clone());
                return tenure;
            }
            if let Some(until) = until {
                tokio::time::sleep_until(until).await;
            }
        }
    }

    /// Keeps the lease until it is lost or should be handed over. [`Candidate::acquire`] first.
    ///
    /// Dropping the future leaves the lease in hand until its deadline; call it again to go on.
    pub async fn hold(&mut self, electorate: &mut watch::Receiver<Arc<Electorate>>) -> Ended {
        loop {
            let all = electorate.borrow_and_update().clone();
            let Some((number, _)) = self.machine.held() else {
                return Ended::Lost(Lost::Expired);
            };
            if let Some(node) = self.successor(&all) {
                return Ended::HandOver(node);
            }
            let until = self.turn(&all).await;
            match self.machine.held() {
                Some((same, deadline)) if same == number => {
                    if let Some(tenure) = &self.tenure {
                        tenure.extend(deadline);
                    }
                }
                Some(_) | None => {
                    self.end();
                    return Ended::Lost(self.machine.lost().unwrap_or(Lost::Fenced));
                }
            }
            if let Some(until) = until {
                let deadline = self.machine.held().map_or(until, |it| it.1);
                tokio::select! {
                    () = tokio::time::sleep_until(until.min(deadline)) => {}
                    changed = electorate.changed() => if changed.is_err() {
                        tokio::time::sleep_until(until.min(deadline)).await;
                    },
                }
            }
            if self.machine.expire(Instant::now()) {
                self.end();
                return Ended::Lost(Lost::Expired);
            }
        }
    }

    fn end(&mut self) {
        if let Some(tenure) = self.tenure.take() {
            tenure.end();
        }
    }

    fn successor(&self, all: &Electorate) -> Option<String> {
        let node = all.successor(self.source.as_str(), self.broker.node())?;
        let has_declined = (self.declined.as_ref())
            .is_some_and(|(it, until)| it == node && Instant::now() < *until);
        (!has_declined).then(|| node.to_owned())
    }

    /// One step of the machine: a request, or the moment before which there is nothing to do.
    async fn turn(&mut self, all: &Electorate) -> Option<Instant> {
        let (source, me, gone) = (
            self.source.as_str(),
            self.broker.node(),
            self.other.as_deref(),
        );
        let stop_after = self.times.stop_after;
        let stand_back = |why: &Vacancy| {
            let gone = gone.filter(|_| *why == Vacancy::Expired);
            all.stand_back(source, me, gone, why, stop_after)
        };
        let step = self.machine.step(Instant::now(), stand_back);
        match step {
            Step::Wait(until) => return Some(until),
            Step::Read => {
                let seen = self.look().await;
                self.notice(seen.as_ref());
                self.machine.read(seen, Instant::now());
            }
            Step::Write(write) => {
                let began = Instant::now();
                let answer = self.write(write).await;
                self.machine.wrote(answer, began, Instant::now());
            }
        }
        // An answer may have waited for us through a freeze.
        self.machine.expire(Instant::now());
        None
    }

    async fn look(&self) -> Option<Seen> {
        if !self.broker.is_connected() {
            return None; // The client would keep the question for later.
        }
        let lease = self.broker.lease(&self.source);
        match tokio::time::timeout(PATIENCE, lease).await {
            Ok(Ok(seen)) => Some(seen),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(source.name = %self.source, error, "lease not read");
                None
            }
            Err(_) => None,
        }
    }

    fn notice(&mut self, seen: Option<&Seen>) {
        let Some(Seen::Held { seq, record }) = seen else {
            return;
        };
        let Some(record) = record else {
            self.broker.metrics.skipped_records.inc();
            return;
        };
        if self.declined.as_ref().is_some_and(|it| it.0 == record.node) {
            self.declined = None;
        }
        if record.nonce == self.nonce || self.other.as_ref() == Some(&record.node) {
            return;
        }
        tracing::info!(
            source.name = %self.source,
            holder = record.node,
            host = record.host,
            lease = record.number(*seq),
            "another fetcher reads this source"
        );
        self.other = Some(record.node.clone());
    }

    async fn write(&mut self, write: Write) -> Answer {
        if !self.broker.is_connected() {
            return Answer::Unknown;
        }
        if write.number.is_none() {
            self.since = clock::now();
        }
        let record = Record {
            node: self.broker.node().to_owned(),
            host: self.broker.host().to_owned(),
            nonce: self.nonce,
            n: write.n,
            number: write.number,
            since: self.since,
        };
        let mut headers = expecting(write.expected);
        let ttl = self.times.ttl.as_secs().max(1);
        headers.insert(header::TTL, ttl.to_string().as_str());
        self.publish(headers, record.encode().into()).await
    }

    async fn publish(&self, headers: HeaderMap, body: Bytes) -> Answer {
        let asked = self.broker.ask(&self.subject, headers, body);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(request::Answer::Stored { seq, .. }) => Answer::Stored(seq),
            Ok(request::Answer::Exists { .. }) => Answer::Exists,
            Ok(request::Answer::Unknown(why)) => {
                let is_silent = why == Unknown::Silence;
                tracing::debug!(source.name = %self.source, is_silent, "lease: no final answer");
                Answer::Unknown
            }
            Ok(request::Answer::BatchOpen) | Err(_) => Answer::Unknown,
            Ok(request::Answer::Refused(refusal)) => {
                tracing::warn!(source.name = %self.source, %refusal, "the broker refuses a lease");
                Answer::Refused
            }
        }
    }

    /// Lets go of the lease, so that others need not wait for it to expire; `to` is whom it is meant
    /// for. Call it when the source's connections are closed, not before. It also answers an
    /// operator who took the lease away: the others wait for that.
    ///
    /// Dropping the future leaves a lease that expires by itself.
    pub async fn release(&mut self, to: Option<&str>) {
        let deadline = self.machine.held().map(|it| it.1);
        self.end();
        let until = Instant::now() + RELEASE_BUDGET;
        let mut expected = self.machine.ours_to_release();
        let is_unsure = self.machine.is_unsure();
        self.machine.let_go(Instant::now());
        if expected.is_none() && !is_unsure {
            return;
        }
        if let Some(to) = to {
            self.declined = Some((to.to_owned(), Instant::now() + DECLINED));
        }
        while Instant::now() < until && self.broker.is_connected() {
            let Some(seq) = expected else {
                expected = match self.look().await {
                    None => None,
                    Some(seen) => match self.may_release(&seen, deadline) {
                        None => return,
                        seq => seq,
                    },
                };
                tokio::time::sleep(RELEASE_PAUSE).await;
                continue;
            };
            match self.publish(self.farewell(seq, to), Bytes::new()).await {
                Answer::Stored(_) | Answer::Refused => return,
                Answer::Exists => expected = None,
                Answer::Unknown => tokio::time::sleep(RELEASE_PAUSE).await,
            }
        }
        tracing::info!(source.name = %self.source, "lease not released: it expires by itself");
    }

    /// The sequence that a release must follow, if what stands there is ours to release: our own
    /// record, or the marker by which it was taken away from us. Whoever is not certainly the holder
    /// any more (`deadline`) cannot know whom a marker concerned.
    fn may_release(&self, seen: &Seen, deadline: Option<Instant>) -> Option<u64> {
        let is_certain = deadline.is_some_and(|it| Instant::now() < it);
        match seen {
            Seen::Held {
                seq,
                record: Some(record),
            } if record.nonce == self.nonce => Some(*seq),
            Seen::Vacant {
                seq,
                why: Vacancy::Withdrawn,
            } if is_certain => Some(*seq),
            Seen::Held { .. } | Seen::Vacant { .. } => None,
        }
    }

    fn farewell(&self, seq: u64, to: Option<&str>) -> HeaderMap {
        let mut headers = marker(seq);
        headers.insert(record::BY, self.broker.node());
        if let Some(to) = to {
            headers.insert(record::TO, to);
        }
        headers
    }
}
