//! The part of a task that sends: admissions, answers and receipts interleaved.

use std::collections::VecDeque;
use std::time::Duration;

use fanfare_nats::DeviceHash;
use fanfare_nats::index::Step;
use fanfare_nats::receipt::{Later, Mark};

use super::intents::Intents;
use super::mutant::Mutant;
use super::{At, Budget, Came, Effect, Ended, Input, LEVELS_KNOWN, Settle, TaskMachine};

/// What is known while sending.
#[derive(Clone, Debug, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
pub(super) struct Sending<L> {
    /// Devices whose turn is to be taken again: the app failed, not they.
    again: VecDeque<(Step, u32)>,
    /// Devices that waited and are due.
    due: VecDeque<(Step, u32)>,
    /// The next devices of the walk, and whether more are being looked up.
    chunk: VecDeque<Step>,
    walking: bool,
    pub(super) intents: Intents<L>,
    pub(super) n_in_flight: usize,
    /// Credits of marks that no receipt holds yet, and of those in the append under way.
    pub(super) credits: (usize, usize),
    pub(super) appending: Option<Append>,
    /// When the oldest unrecorded mark was made.
    pub(super) unrecorded_since: Option<Duration>,
    /// When the last append that succeeded was begun: the task was ours then.
    pub(super) confirmed_at: Duration,
    /// When the last look at the item's levels was begun, and the one under way.
    pub(super) looked_at: Duration,
    pub(super) looking: Option<Duration>,
    /// After a look that failed.
    pub(super) look_after: Duration,
    pub(super) is_superseded: bool,
    awaiting_index: bool,
    /// Why nothing more is begun.
    pub(super) halt: Option<Settle>,
    /// Everything is recorded, and a last word said.
    pub(super) is_closed: bool,
    pub(super) wants_credit: bool,
}

/// An append under way.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Append {
    pub(super) begun: Duration,
    /// Nothing is in flight and nothing more is begun: it is the last.
    pub(super) is_last: bool,
}

impl<L> Default for Sending<L> {
    fn default() -> Self {
        Self {
            again: VecDeque::new(),
            due: VecDeque::new(),
            chunk: VecDeque::new(),
            walking: false,
            intents: Intents::default(),
            n_in_flight: 0,
            credits: (0, 0),
            appending: None,
            unrecorded_since: None,
            confirmed_at: Duration::ZERO,
            looked_at: Duration::ZERO,
            looking: None,
            look_after: Duration::ZERO,
            is_superseded: false,
            awaiting_index: false,
            halt: None,
            is_closed: false,
            wants_credit: false,
        }
    }
}

impl<L> Sending<L> {
    pub(super) fn begin(&mut self, due: Vec<(DeviceHash, u32)>) {
        self.due = due
            .into_iter()
            .map(|(device, attempts)| (Step::to(device), attempts))
            .collect();
    }

    /// Begins nothing more. The first reason to hand the task back stays; that it may be another's
    /// is worse, and that it is lost the worst.
    pub(super) fn halt(&mut self, settle: Settle) {
        let is_worse = match self.halt {
            None | Some(Settle::Back(_)) => true,
            Some(_) => settle == Settle::Forget,
        };
        let is_first = self.halt.is_none() || !matches!(settle, Settle::Back(_));
        if is_worse && is_first {
            self.halt = Some(settle);
        }
    }

    pub(super) fn is_halted(&self) -> bool {
        self.halt.is_some()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.halt == Some(Settle::Forget)
    }

    /// Whether a device is at hand, without a look-up.
    fn has_next(&self) -> bool {
        !(self.again.is_empty() && self.due.is_empty() && self.chunk.is_empty())
    }
}

impl<L> TaskMachine<L> {
    pub(super) fn poll_sending<B>(&mut self, at: &At, budget: &mut B) -> Option<Effect<L>>
    where
        B: Budget<Leave = L>,
    {
        self.sending.wants_credit = false;
        if !self.may_begin() && !self.sending.intents.is_empty() {
            self.take_back_intents(at, budget);
        }
        if self.append_is_due(at, budget) {
            return Some(self.begin_append(at));
        }
        if let Some(effect) = self.begin_more(at, budget) {
            return Some(effect);
        }
        // Beginning may have used up the credit, or come to the end of the walk.
        let has_intents = self.sending.intents.has_gathered() && self.sending.appending.is_none();
        if (has_intents && self.may_begin()) || self.append_is_due(at, budget) {
            return Some(self.begin_append(at));
        }
        if self.is_over() {
            self.leave(at, budget);
        }
        None
    }

    fn leave<B: Budget<Leave = L>>(&mut self, at: &At, budget: &mut B) {
        // What could not be recorded never will be: the task is lost.
        let (unrecorded, appending) = std::mem::take(&mut self.sending.credits);
        budget.give_back(unrecorded + appending);
        self.sent(self.sending.halt, self.sending.is_superseded, at);
    }

    fn begin_more<B>(&mut self, at: &At, budget: &mut B) -> Option<Effect<L>>
    where
        B: Budget<Leave = L>,
    {
        if !self.may_begin() {
            return None;
        }
        if !at.is_fresh && !self.sending.awaiting_index {
            self.sending.awaiting_index = true;
            return Some(Effect::AwaitIndex);
        }
        if self.look_is_due(at) {
            self.sending.looking = Some(at.mono);
            return Some(Effect::Look);
        }
        self.next_send(at, budget)
    }

    /// Begins the next device's turn: the last look at expiry, freshness and our right to send is
    /// here, after the credit is taken and right before the request is written.
    fn next_send<B>(&mut self, at: &At, budget: &mut B) -> Option<Effect<L>>
    where
        B: Budget<Leave = L>,
    {
        loop {
            if !self.is_sure(at) {
                return None;
            }
            if let Some((step, attempts, leave)) = self.sending.intents.next_ready() {
                if self.is_expired(at) {
                    self.without_request(step.device, attempts, Mark::Expired, None, at, budget);
                    continue;
                }
                return Some(self.send(step, attempts, leave, at));
            }
            if !self.sending.has_next() {
                let from = self.progress.cursor()?;
                if self.sending.walking {
                    return None;
                }
                self.sending.walking = true;
                return Some(Effect::Walk { from });
            }
            let Some(leave) = budget.try_admit() else {
                self.sending.wants_credit = true;
                return None;
            };
            if self.start.rules.breaks(Mutant::NoWindow) {
                budget.give_back(1);
            }
            let Some((step, attempts)) = self.next_device() else {
                budget.give_back(1);
                continue;
            };
            if self.is_expired(at) {
                self.without_request(step.device, attempts, Mark::Expired, None, at, budget);
                continue;
            }
            if self.needs_intent(step.device) {
                self.progress.intend(step.device);
                self.sending.intents.gather((step, attempts, leave));
                continue;
            }
            return Some(self.send(step, attempts, leave, at));
        }
    }

    fn needs_intent(&self, device: DeviceHash) -> bool {
        self.is_at_most_once()
            && !self.progress.is_intended(device)
            && !self.start.rules.breaks(Mutant::IntentAfterRequest)
    }

    fn send(&mut self, step: Step, attempts: u32, leave: L, at: &At) -> Effect<L> {
        self.sending.n_in_flight += 1;
        if self.start.rules.breaks(Mutant::ReceiptBeforeOutcome) {
            self.had_turn(step.device, attempts, (Mark::Accepted, None), None, at);
        }
        Effect::Send {
            step,
            attempts,
            leave,
        }
    }

    /// The next device at hand, in the order: those to be taken again, those that waited, the walk.
    fn next_device(&mut self) -> Option<(Step, u32)> {
        let waited = self.sending.again.pop_front();
        if let Some(next) = waited.or_else(|| self.sending.due.pop_front()) {
            return Some(next);
        }
        while let Some(step) = self.sending.chunk.pop_front() {
            if self.progress.had_turn(step.device) {
                self.progress.pass_over(step.device);
            } else {
                self.progress.begin(step.device);
                return Some((step, 0));
            }
        }
        None
    }

    pub(super) fn may_begin(&self) -> bool {
        self.sending.halt.is_none()
            && !self.sending.is_superseded
            && (self.sending.has_next()
                || !self.sending.intents.is_empty()
                || self.progress.cursor().is_some())
    }

    /// Whether it is known well enough that sending is still right: the index is fresh, the task
    /// ours, and no higher level stands.
    fn is_sure(&self, at: &At) -> bool {
        let looked = at.mono.saturating_sub(self.sending.looked_at);
        let knows_levels = !self.has_levels() || looked < LEVELS_KNOWN;
        at.is_fresh && !self.sending.awaiting_index && !self.is_unsure(at) && knows_levels
    }

    /// Whether the task may be somebody else's by now: this process may have been frozen, and what
    /// it sends before its next append would be sent without a right. The broker redelivers after
    /// `ack_wait`, of which a third may have passed since the message was extended.
    pub(super) fn is_unsure(&self, at: &At) -> bool {
        self.unsure_from() <= at.mono
    }

    fn unsure_from(&self) -> Duration {
        self.sending.confirmed_at + self.start.ack_wait / 2
    }

    fn is_expired(&self, at: &At) -> bool {
        self.start.expires_at <= at.wall
    }

    /// Whether something is in flight or may be begun: a receipt tells the others so, at least once in
    /// half of `ack_wait`.
    pub(super) fn is_at_work(&self) -> bool {
        self.sending.n_in_flight > 0 || self.may_begin()
    }

    /// Nothing is in flight and nothing more is begun.
    pub(super) fn is_at_its_end(&self) -> bool {
        !self.is_at_work()
    }

    fn is_over(&self) -> bool {
        self.is_at_its_end()
            && self.sending.appending.is_none()
            && (self.sending.is_lost() || !self.needs_last_word())
    }

    pub(super) fn sending_deadline(&self) -> Option<Duration> {
        let sending = &self.sending;
        let may_begin = self.may_begin();
        let may_append = sending.appending.is_none() && !sending.is_lost();
        let record = sending
            .unrecorded_since
            .map(|it| it + self.start.stride_after);
        let look =
            (may_begin && self.has_levels() && sending.looking.is_none()).then(|| self.look_at());
        let confirm = (self.is_at_work() && may_append).then(|| self.unsure_from());
        let times = [record.filter(|_| may_append), look, confirm];
        times.into_iter().flatten().min()
    }

    pub(super) fn on_sending<B>(&mut self, input: Input, at: &At, budget: &mut B)
    where
        B: Budget<Leave = L>,
    {
        match input {
            Input::Walked(steps) => {
                self.sending.walking = false;
                if steps.is_empty() {
                    self.progress.end_walk();
                }
                self.sending.chunk = steps;
            }
            Input::Ended(ended) => self.ended(ended, at, budget),
            Input::Dropped {
                device,
                attempts,
                reason,
            } => {
                self.sending.n_in_flight -= 1;
                let reason = Some(reason.to_owned());
                self.without_request(device, attempts, Mark::Dropped, reason, at, budget);
            }
            Input::Appended(appended) => self.recorded(appended, budget),
            Input::Looked(standing) => self.looked_again(standing, at),
            Input::IndexReady => self.sending.awaiting_index = false,
            Input::HandBack(pause) => self.sending.halt(Settle::Back(pause)),
            Input::Stop => self.sending.halt(Settle::Back(None)),
            Input::Event(_)
            | Input::Receipts(_)
            | Input::Alone(_)
            | Input::Buried(_)
            | Input::WokenUp(_) => {}
        }
    }

    fn ended<B: Budget<Leave = L>>(&mut self, ended: Ended, at: &At, budget: &mut B) {
        let Ended {
            device,
            attempts,
            at: read_at,
            came,
        } = ended;
        self.sending.n_in_flight -= 1;
        let read = At {
            wall: read_at,
            ..*at
        };
        if self.start.rules.breaks(Mutant::ReceiptBeforeOutcome) {
            return;
        }
        match came {
            Came::Marked(mark, reason) => {
                let reason = reason.map(String::from);
                self.had_turn(device, attempts, (mark, reason), None, &read);
            }
            Came::Later { due, reason } => {
                let attempts_now = attempts + 1;
                let later = Later {
                    attempts: attempts_now,
                    due,
                };
                let mark = (Mark::Later, Some(reason.into()));
                self.had_turn(device, attempts, mark, Some(later), &read);
            }
            Came::NoTurn => {
                self.had_no_turn(device, at, budget);
                self.sending.again.push_back((Step::to(device), attempts));
            }
            Came::HandBack(pause) => {
                self.had_no_turn(device, at, budget);
                self.sending.halt(Settle::Back(Some(pause)));
            }
        }
    }
}
