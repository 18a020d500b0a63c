//! Carries out what a task's machine asks for, and tells it what came of it.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::index::{Interest, Step};
use fanfare_nats::receipt::{Claim, Mark};
use fanfare_nats::receipts::ReceiptChain;
use fanfare_nats::{Receipt, Task, fail};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::admissions::Admissions;
use super::effects::{self, Told};
use crate::attempt::{self, Delivery, Turns};
use crate::clock;
use crate::lane::Admission;
use crate::loaded::{Form, Loaded};
use crate::machine::{Appended, At, Effect, Input, Rules, Settle, Start, TaskMachine, Unreadable};
use crate::metric::{EXPIRED, SUPERSEDED};
use crate::shared::{LaneOfProcess, Shared};
use crate::task_places::Alone;

/// Devices looked up under one lock, and answers taken in one go.
const CHUNK: usize = 128;

/// A task being worked on.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    lane: Arc<LaneOfProcess>,
    pub(super) task: Task,
    pub(super) machine: TaskMachine<Admission>,
    pub(super) admissions: Admissions,
    chain: Option<Arc<ReceiptChain>>,
    pub(super) loaded: Option<Arc<Loaded>>,
    aim: Option<Aim>,
    /// Effects under way that are not attempts: three at most.
    doing: FuturesUnordered<BoxFuture<'static, Told>>,
    in_flight: FuturesUnordered<BoxFuture<'static, attempt::Ended>>,
    alone: Option<Alone>,
    /// The moment that the machine's times count from.
    since: Instant,
    is_claimed: bool,
    is_woken_up: bool,
}

/// What all sends of the task have in common.
struct Aim {
    turns: Arc<Turns>,
    form: Form,
    interest: Interest,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        lane: Arc<LaneOfProcess>,
        task: Task,
        claim: Claim,
        ack_wait: Duration,
    ) -> Self {
        let start = Start {
            claim,
            node: shared.broker.node().into(),
            expires_at: task.expires_at,
            ack_wait,
            stride: shared.config.stride,
            stride_after: shared.config.stride_after(),
            rules: Rules::default(),
        };
        let at = At {
            mono: Duration::ZERO,
            wall: clock::now(),
            is_fresh: false,
        };
        Self {
            machine: TaskMachine::new(start, &at),
            admissions: Admissions::new(lane.clone()),
            chain: None,
            loaded: None,
            aim: None,
            doing: FuturesUnordered::new(),
            in_flight: FuturesUnordered::new(),
            alone: None,
            since: Instant::now(),
            is_claimed: false,
            is_woken_up: false,
            shared,
            lane,
            task,
        }
    }

    /// Runs the machine until it says what the message gets.
    ///
    /// Dropping the future leaves what is in flight unrecorded; its credits stay taken.
    pub(super) async fn run(mut self) -> Settle {
        let _at_work = self.shared.follower.at_work();
        let (stop, lane) = (self.shared.stop.clone(), self.lane.clone());
        let mut is_stopped = false;
        loop {
            if let Some(settle) = self.advance() {
                return settle;
            }
            let deadline = self.machine.deadline().map(|it| self.since + it);
            let may_close = self.machine.is_sending() && !self.machine.is_ending();
            tokio::select! {
                biased;
                Some(told) = self.doing.next(), if !self.doing.is_empty() => self.told(told),
                Some(ended) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    let now = self.at();
                    self.ended(ended, &now);
                }
                () = at(deadline), if deadline.is_some() => {}
                () = stop.cancelled(), if !is_stopped => {
                    is_stopped = true;
                    self.tell(Input::Stop);
                }
                () = lane.state.closed(), if may_close => self.tell(Input::HandBack(None)),
                admission = lane.state.admit(), if self.machine.wants_credit() => {
                    self.admissions.keep(admission);
                }
            }
        }
    }

    /// Does what can be done without waiting: takes the answers that are there, begins whatever may
    /// begin. One wait then serves many pushes.
    fn advance(&mut self) -> Option<Settle> {
        let now = self.at(); // Once for all answers that are there: clocks cost too.
        for _ in 0..CHUNK {
            match self.in_flight.next().now_or_never() {
                Some(Some(ended)) => self.ended(ended, &now),
                Some(None) | None => break,
            }
        }
        while let Some(effect) = self.machine.poll(&self.at(), &mut self.admissions) {
            if let Effect::Settle(settle) = effect {
                if self.is_claimed && settle == Settle::Ack && !self.is_woken_up {
                    fail::point("task.all-recorded");
                }
                self.admissions.put_back();
                return Some(settle);
            }
            self.carry_out(effect);
        }
        self.admissions.put_back();
        None
    }

    fn at(&self) -> At {
        At {
            mono: self.since.elapsed(),
            wall: clock::now(),
            is_fresh: self.shared.follower.is_fresh(),
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        let now = self.at();
        self.tell_at(input, &now);
    }

    pub(super) fn tell_at(&mut self, input: Input, now: &At) {
        self.machine.on(input, now, &mut self.admissions);
    }

    fn carry_out(&mut self, effect: Effect<Admission>) {
        let (shared, task) = (&self.shared, &self.task);
        let doing = match effect {
            Effect::Send {
                step,
                attempts,
                leave,
            } => return self.send(step, attempts, leave),
            Effect::Walk { from } => return self.walk(from),
            Effect::Settle(_) => return,
            Effect::Append { receipt, after } => return self.append(receipt, after),
            Effect::Load => effects::load(shared.clone(), task),
            Effect::ReadReceipts => effects::read_receipts(shared.clone(), task.clone()),
            Effect::RunAlone => effects::run_alone(shared.clone()),
            Effect::Look => match &self.loaded {
                Some(loaded) => effects::look(shared.clone(), loaded.clone()),
                None => return, // It is asked for of a loaded event only.
            },
            Effect::AwaitIndex => effects::await_index(shared.clone(), task.revision),
            Effect::Bury { claims, low } => {
                let event = self.loaded.as_ref().map(|it| &it.event);
                let trace = event.and_then(|it| it.traceparent.as_deref());
                effects::bury(shared.clone(), task, trace, claims, low)
            }
            Effect::WakeUp { pass, due } => {
                self.is_woken_up = true;
                fail::point("task.all-recorded");
                effects::wake_up(shared.clone(), task.clone(), pass, due)
            }
        };
        self.doing.push(doing);
    }

    fn append(&mut self, receipt: Box<Receipt>, after: u64) {
        let Some(chain) = &self.chain else {
            return; // Nothing is appended before the chain was read.
        };
        if self.is_claimed {
            fail::point("task.before-receipt");
        }
        self.count_skipped(&receipt);
        let appending = effects::append(self.shared.clone(), chain.clone(), after, receipt);
        self.doing.push(appending);
    }

    fn count_skipped(&self, receipt: &Receipt) {
        for (mark, reason) in [(Mark::Expired, EXPIRED), (Mark::Superseded, SUPERSEDED)] {
            let is_so = |it: &&fanfare_nats::receipt::Line| it.mark == mark && it.reason.is_none();
            let n = receipt.lines.iter().filter(is_so).count();
            let n = n + usize::from(receipt.rest == Some(mark));
            if n > 0 {
                self.shared
                    .metrics
                    .skip(reason, u64::try_from(n).unwrap_or(u64::MAX));
            }
        }
    }

    fn told(&mut self, told: Told) {
        let input = match told {
            Told::Event(loaded) => {
                self.loaded = loaded.as_ref().ok().cloned().flatten();
                let facts = loaded.map(|it| it.as_deref().map(effects::facts));
                Input::Event(facts)
            }
            Told::Receipts(Err(Unreadable)) => Input::Receipts(Err(Unreadable)),
            Told::Receipts(Ok((chain, recorded))) => {
                let last = chain.last();
                self.chain = Some(chain);
                Input::Receipts(Ok((recorded, last)))
            }
            Told::Alone(alone) => {
                self.alone = alone;
                Input::Alone(self.alone.is_some())
            }
            Told::Plain(input) => input,
        };
        if matches!(input, Input::Appended(Appended::Stored(_))) {
            fail::point(if self.is_claimed {
                "task.receipt-stored"
            } else {
                "task.claimed"
            });
            self.is_claimed = true;
        }
        self.tell(input);
    }

    /// What the sends have in common, made when the first of them is at hand: the index is ready.
    fn aim(&mut self) -> Option<&mut Aim> {
        if self.aim.is_none() {
            let loaded = self.loaded.clone()?;
            let interest = self.shared.follower.index().interest(&loaded.event);
            self.aim = Some(Aim {
                form: {
                    let (task, app) = (&self.task, &self.lane.app.app);
                    loaded.form(&task.lane.app, app, task.expires_at)
                },
                turns: Arc::new(Turns {
                    shared: self.shared.clone(),
                    lane: self.lane.clone(),
                    loaded,
                    task: self.task.clone(),
                }),
                interest,
            });
        }
        self.aim.as_mut()
    }

    fn walk(&mut self, from: fanfare_nats::DeviceHash) {
        let (shared, range) = (self.shared.clone(), self.task.range);
        let Some(Aim {
            turns, interest, ..
        }) = self.aim()
        else {
            return; // It is asked for of a loaded event only.
        };
        let index = shared.follower.index();
        index.refresh(interest, &turns.loaded.event);
        let steps = index.walk(interest, &turns.task.lane.app, range, from, CHUNK);
        drop(index);
        self.tell(Input::Walked(steps.into()));
    }

    /// Looks the device up a last time, and begins its attempt.
    fn send(&mut self, step: Step, attempts: u32, admission: Admission) {
        let shared = self.shared.clone();
        let Some(aim) = self.aim() else {
            return; // It is asked for of a loaded event only.
        };
        let target = {
            let index = shared.follower.index();
            let Turns { loaded, task, .. } = &*aim.turns;
            index.refresh(&mut aim.interest, &loaded.event);
            index.target(&aim.interest, &task.lane.app, step, task.revision)
        };
        let target = match target {
            Ok(target) => target,
            Err(dropped) => {
                shared.metrics.skip(dropped.as_str(), 1);
                return self.tell(Input::Dropped {
                    device: step.device,
                    attempts,
                    reason: dropped.as_str(),
                });
            }
        };
        let delivery = Delivery {
            turns: aim.turns.clone(),
            hash: step.device,
            attempts,
            target,
        };
        let attempt: BoxFuture<'static, attempt::Ended> = match aim.form.clone() {
            Ok(form) => Box::pin(begun(delivery.attempt(form, admission))),
            Err(refusal) => Box::pin(delivery.refuse(refusal.reason.clone(), admission)),
        };
        self.in_flight.push(attempt);
    }
}

/// An attempt, with the place for a crash where its request may have been written.
async fn begun(attempt: impl Future<Output = attempt::Ended>) -> attempt::Ended {
    let mut attempt = std::pin::pin!(attempt);
    let first = futures::poll!(&mut attempt);
    fail::point("task.sending");
    match first {
        std::task::Poll::Ready(ended) => ended,
        std::task::Poll::Pending => attempt.await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
