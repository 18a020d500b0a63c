//! The loop that sends: admissions, answers and receipts interleaved, in one place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::index::{Interest, Step};
use fanfare_nats::receipt::{Later, Line, Mark};
use fanfare_nats::receipts::{AppendError, ReceiptChain};
use fanfare_nats::{DeviceHash, Level};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Settle, lost};
use crate::attempt::{Delivery, Ended, Turn, Turns};
use crate::clock;
use crate::lane::AfterFailure;
use crate::loaded::Form;
use crate::metric::EXPIRED;
use crate::outcome::Reason;
use crate::planner::{self, Standing};
use crate::progress::Progress;
use crate::shared::Shared;
use crate::window::{Admission, Window};

/// Devices looked up under one lock.
const CHUNK: usize = 128;

/// For so long at most a level is sent without looking whether a higher one stands.
pub(super) const LEVELS_KNOWN: Duration = Duration::from_millis(200);

type Appending = BoxFuture<'static, (ReceiptChain, Result<Instant, AppendError>)>;

type Looking = BoxFuture<'static, (Instant, Option<Standing>)>;

/// A task of which everything that was begun is recorded.
pub(super) struct Sent {
    pub(super) progress: Progress,
    pub(super) chain: ReceiptChain,
    /// A higher level stands: the rest is not to be sent.
    pub(super) is_superseded: bool,
}

/// A task being sent.
pub(super) struct Sending {
    shared: Arc<Shared>,
    turns: Arc<Turns>,
    form: Form,
    interest: Interest,
    progress: Progress,
    chain: Option<ReceiptChain>,
    /// Devices whose turn is to be taken again: the app failed, not they.
    again: VecDeque<(Step, u32)>,
    /// Devices that waited and are due.
    due: VecDeque<(Step, u32)>,
    /// The next devices of the walk.
    chunk: VecDeque<Step>,
    in_flight: FuturesUnordered<BoxFuture<'static, Ended>>,
    appending: Option<Appending>,
    /// Credits of marks that no receipt holds yet, and of those in the append under way.
    credits: (usize, usize),
    /// When the oldest unrecorded mark was made.
    unrecorded_since: Option<Instant>,
    /// When the last append that succeeded was begun: the task was ours then.
    confirmed_at: Instant,
    /// When the last look at the item's levels was begun, and the one under way.
    looked_at: Instant,
    looking: Option<Looking>,
    has_levels: bool,
    is_superseded: bool,
    /// Why nothing more is begun.
    halt: Option<Settle>,
    is_stale: bool,
}

impl Sending {
    pub(super) fn new(turns: Turns, progress: Progress, chain: ReceiptChain) -> Self {
        let shared = turns.shared.clone();
        let interest = shared.follower.index().interest(&turns.loaded.event);
        Self {
            due: progress
                .due(clock::now())
                .into_iter()
                .map(|(device, attempts)| (Step::to(device), attempts))
                .collect(),
            interest,
            form: turns.loaded.form(&turns.task.lane.app, &turns.lane.app.app),
            shared,
            progress,
            chain: Some(chain),
            again: VecDeque::new(),
            chunk: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            appending: None,
            credits: (0, 0),
            unrecorded_since: None,
            confirmed_at: Instant::now(),
            looked_at: turns.looked_at,
            looking: None,
            has_levels: matches!(turns.loaded.event.level, Level::Step(_)),
            is_superseded: false,
            halt: None,
            is_stale: false,
            turns: Arc::new(turns),
        }
    }

    /// Sends until every device had its turn or somebody says stop; whatever was marked is recorded
    /// when this returns, or the task is lost.
    pub(super) async fn run(mut self) -> Result<Sent, Settle> {
        let (window, stop) = (self.shared.window.clone(), self.shared.stop.clone());
        let follower = self.shared.follower.clone();
        loop {
            self.advance(&window);
            let may_begin = self.may_begin();
            if !may_begin && self.in_flight.is_empty() && self.appending.is_none() {
                break;
            }
            let record_at = self.record_at();
            tokio::select! {
                biased;
                (chain, result) = stored(&mut self.appending), if self.appending.is_some() => {
                    self.appended(chain, result);
                }
                Some(ended) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.ended(ended);
                }
                (begun, standing) = looked(&mut self.looking), if self.looking.is_some() => {
                    self.looked(begun, standing);
                }
                () = at(record_at), if record_at.is_some() => self.begin_append(),
                () = stop.cancelled(), if self.halt.is_none() => {
                    self.halt = Some(Settle::Back(None));
                }
                () = follower.ready_for(self.turns.task.revision), if may_begin && self.is_stale => {
                    self.is_stale = false;
                }
                admission = window.admit(), if may_begin && self.is_sure() => {
                    self.begin(admission);
                }
            }
        }
        window.release(self.credits.0 + self.credits.1);
        match (self.halt, self.chain) {
            (Some(settle), _) => Err(settle),
            (None, Some(chain)) => Ok(Sent {
                progress: self.progress,
                chain,
                is_superseded: self.is_superseded,
            }),
            (None, None) => Err(Settle::Forget), // A chain is lost with `halt` only.
        }
    }

    /// Does what can be done without waiting: takes the answers that are there, begins as many turns
    /// as there is room for, records what is due. One wait then serves many pushes.
    fn advance(&mut self, window: &Window) {
        for _ in 0..CHUNK {
            match self.in_flight.next().now_or_never() {
                Some(Some(ended)) => self.ended(ended),
                Some(None) | None => break,
            }
        }
        for _ in 0..CHUNK {
            if !self.may_begin() || !self.is_sure() {
                break;
            }
            match window.try_admit() {
                Some(admission) => self.begin(admission),
                None => break,
            }
        }
        let n_unrecorded = self.progress.n_unrecorded();
        // Without credit nobody begins anything before a receipt is stored.
        let is_due = n_unrecorded >= self.shared.config.stride
            || (n_unrecorded > 0 && (window.is_exhausted() || self.is_at_its_end()))
            || (self.may_begin() && self.is_unsure());
        if is_due && self.appending.is_none() {
            self.begin_append();
        }
        let is_old = self.looked_at.elapsed() >= LEVELS_KNOWN / 2;
        if self.has_levels && is_old && self.looking.is_none() && self.may_begin() {
            self.begin_look();
        }
    }

    fn begin_look(&mut self) {
        let (turns, begun) = (self.turns.clone(), Instant::now());
        self.looking = Some(Box::pin(async move {
            let standing = planner::standing(&turns.shared, &turns.loaded.event).await;
            if standing.is_none() {
                tokio::time::sleep(LEVELS_KNOWN / 2).await;
            }
            (begun, standing)
        }));
    }

    fn looked(&mut self, begun: Instant, standing: Option<Standing>) {
        self.looking = None;
        if let Some(standing) = standing {
            self.looked_at = begun;
            self.is_superseded = standing.is_superseded;
        }
    }

    fn may_begin(&self) -> bool {
        self.halt.is_none() && !self.is_superseded && self.has_more()
    }

    /// Whether it is known well enough that sending is still right: the index is fresh, the task
    /// ours, and no higher level stands.
    fn is_sure(&self) -> bool {
        let knows_levels = !self.has_levels || self.looked_at.elapsed() < LEVELS_KNOWN;
        !self.is_stale && !self.is_unsure() && knows_levels
    }

    /// Whether the task may be somebody else's by now: this process may have been frozen, and what
    /// it sends before its next append would be sent without a right. The broker redelivers after
    /// `ack_wait`, of which a third may have passed since the message was extended.
    fn is_unsure(&self) -> bool {
        self.confirmed_at.elapsed() >= self.turns.ack_wait / 2
    }

    /// Nothing is in flight and nothing more is begun.
    fn is_at_its_end(&self) -> bool {
        self.in_flight.is_empty() && !self.may_begin()
    }

    fn has_more(&self) -> bool {
        !(self.again.is_empty() && self.due.is_empty() && self.chunk.is_empty())
            || self.progress.cursor().is_some()
    }

    /// When the marks so far are recorded although they are few, if nothing is being recorded.
    fn record_at(&self) -> Option<Instant> {
        if self.appending.is_some() || self.chain.is_none() {
            return None;
        }
        Some(self.unrecorded_since? + self.shared.config.stride_after())
    }

    fn begin_append(&mut self) {
        let Some(mut chain) = self.chain.take() else {
            return;
        };
        let receipt = self
            .progress
            .receipt(self.shared.broker.node(), clock::now());
        self.credits = (0, self.credits.1 + self.credits.0);
        self.unrecorded_since = None;
        let begun = Instant::now();
        self.appending = Some(Box::pin(async move {
            let result = chain.append(&receipt).await.map(|_| begun);
            (chain, result)
        }));
    }

    fn appended(&mut self, chain: ReceiptChain, result: Result<Instant, AppendError>) {
        self.appending = None;
        match result {
            Ok(begun) => {
                self.chain = Some(chain);
                self.confirmed_at = begun;
                self.shared.metrics.receipts.inc();
                self.shared
                    .window
                    .release(std::mem::take(&mut self.credits.1));
            }
            // Without a chain nothing is recorded any more, and with `halt` nothing is begun.
            Err(error) => self.halt = Some(lost(&error)),
        }
    }

    /// The next device, in the order: those to be taken again, those that waited, the walk.
    fn next_device(&mut self) -> Option<(Step, u32)> {
        if let Some(next) = self.again.pop_front().or_else(|| self.due.pop_front()) {
            return Some(next);
        }
        loop {
            if self.chunk.is_empty() {
                let from = self.progress.cursor()?;
                let index = self.shared.follower.index();
                index.refresh(&mut self.interest, &self.turns.loaded.event);
                let app = &self.turns.task.lane.app;
                self.chunk = index
                    .walk(&self.interest, app, self.turns.task.range, from, CHUNK)
                    .into();
            }
            let Some(step) = self.chunk.pop_front() else {
                self.progress.end_walk();
                return None;
            };
            if self.progress.had_turn(step.device) {
                self.progress.pass_over(step.device);
            } else {
                self.progress.begin(step.device);
                return Some((step, 0));
            }
        }
    }

    /// Begins the next device's turn: the last look at expiry, index and freshness is here, between
    /// taking credit and writing bytes.
    fn begin(&mut self, admission: Admission) {
        let Some((step, attempts)) = self.next_device() else {
            self.shared.window.release(1);
            return;
        };
        if self.turns.task.expires_at <= clock::now() {
            self.shared.metrics.skip(EXPIRED, 1);
            return self.without_request(step.device, attempts, Mark::Expired, None);
        }
        let is_fresh = self.shared.follower.is_fresh();
        if !is_fresh || !self.is_sure() {
            self.again.push_front((step, attempts));
            self.is_stale = !is_fresh;
            self.shared.window.release(1);
            return;
        }
        let target = {
            let index = self.shared.follower.index();
            index.refresh(&mut self.interest, &self.turns.loaded.event);
            index.target(
                &self.interest,
                &self.turns.task.lane.app,
                step,
                self.turns.task.revision,
            )
        };
        let target = match target {
            Ok(target) => target,
            Err(dropped) => {
                self.shared.metrics.skip(dropped.as_str(), 1);
                let reason = Some(dropped.as_str().into());
                return self.without_request(step.device, attempts, Mark::Dropped, reason);
            }
        };
        let delivery = Delivery {
            turns: self.turns.clone(),
            hash: step.device,
            attempts,
            target,
        };
        self.in_flight.push(match &self.form {
            Ok(form) => Box::pin(delivery.attempt(form.clone(), admission)),
            Err(refusal) => Box::pin(delivery.refuse(refusal.reason.clone(), admission)),
        });
    }

    /// A turn that needed no request, and so no credit.
    fn without_request(
        &mut self,
        device: DeviceHash,
        attempts: u32,
        mark: Mark,
        reason: Option<String>,
    ) {
        self.shared.window.release(1);
        let at = clock::now();
        self.note(
            Line {
                device,
                mark,
                attempt: attempts,
                reason,
                at,
            },
            None,
        );
    }

    fn note(&mut self, line: Line, later: Option<Later>) {
        self.progress.mark(line, later);
        self.unrecorded_since.get_or_insert_with(Instant::now);
    }

    fn ended(&mut self, ended: Ended) {
        let Ended {
            device,
            attempts,
            turn,
            at,
        } = ended;
        match turn {
            Turn::Marked(mark, reason) => {
                if mark == Mark::Accepted {
                    self.observe_age(at);
                }
                self.had_turn(device, attempts, mark, reason, at, None);
            }
            Turn::Later(wait, reason) => {
                let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
                let due = at.checked_add(wait).unwrap_or(self.turns.task.expires_at);
                self.had_turn(device, attempts, Mark::Later, Some(reason), at, Some(due));
            }
            Turn::Failed(wish, reason) => {
                let after = self.turns.lane.state.failed(wish, Instant::now());
                self.had_no_turn(device, attempts, after, &reason);
            }
            Turn::Credentials(reason) => {
                tracing::error!(
                    app = %self.turns.task.lane.app,
                    reason = &*reason,
                    "the provider refuses our credentials: the lane is paused, the work is kept"
                );
                let after = self.turns.lane.state.refused(Instant::now());
                self.had_no_turn(device, attempts, after, &reason);
            }
        }
    }

    /// The provider answered for the device: its credit is held until the mark is recorded.
    fn had_turn(
        &mut self,
        device: DeviceHash,
        attempts: u32,
        mark: Mark,
        reason: Option<Reason>,
        at: Timestamp,
        due: Option<Timestamp>,
    ) {
        self.turns.lane.state.succeeded();
        self.credits.0 += 1;
        let attempt = attempts + 1;
        let later = due.map(|due| Later {
            attempts: attempt,
            due,
        });
        let reason = reason.map(String::from);
        let line = Line {
            device,
            mark,
            attempt,
            reason,
            at,
        };
        self.note(line, later);
    }

    /// The app failed, not the device: its turn is to be taken again, here or after the pause.
    fn had_no_turn(
        &mut self,
        device: DeviceHash,
        attempts: u32,
        after: AfterFailure,
        reason: &str,
    ) {
        self.shared.window.release(1);
        tracing::debug!(lane = %self.turns.task.lane, reason, "attempt that marks nobody");
        match after {
            AfterFailure::Again => self.again.push_back((Step::to(device), attempts)),
            AfterFailure::Paused(pause) => {
                if self.halt.is_none() {
                    tracing::warn!(
                        lane = %self.turns.task.lane,
                        reason,
                        seconds = pause.as_secs(),
                        "provider is not available: the lane is paused, its task handed back"
                    );
                    self.halt = Some(Settle::Back(Some(pause)));
                }
            }
        }
    }

    fn observe_age(&self, at: Timestamp) {
        if let Some(occurred) = self.turns.loaded.event.occurred_at {
            self.shared
                .metrics
                .event_age
                .observe(at.duration_since(occurred).as_secs_f64());
        }
    }
}

async fn stored(appending: &mut Option<Appending>) -> (ReceiptChain, Result<Instant, AppendError>) {
    match appending {
        Some(appending) => appending.await,
        None => std::future::pending().await,
    }
}

async fn looked(looking: &mut Option<Looking>) -> (Instant, Option<Standing>) {
    match looking {
        Some(looking) => looking.await,
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
