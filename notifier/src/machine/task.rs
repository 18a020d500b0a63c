//! One task in the hands of one worker: read, judge, claim, send, record, wake up, settle.

use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::receipt::{Claim, Mark, Receipt};
use jiff::Timestamp;

use super::mutant::Mutant;
use super::sending::Sending;
use super::{Appended, At, Budget, Effect, Facts, Input, LEVELS_KNOWN, PAUSE, Rules, Settle};
use crate::progress::Progress;

/// What a machine is started with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Start {
    /// The worker's claim; its nonce is the worker's own.
    pub(crate) claim: Claim,
    /// Who writes the receipts.
    pub(crate) node: Arc<str>,
    /// After this nobody is told any more.
    pub(crate) expires_at: Timestamp,
    /// How long the broker waits for a sign before it gives the task to another.
    pub(crate) ack_wait: Duration,
    /// A receipt is written after so many outcomes.
    pub(crate) stride: usize,
    /// Or so long after the first of them.
    pub(crate) stride_after: Duration,
    /// The rules that are kept: all, outside tests.
    pub(crate) rules: Rules,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Load,
    Read,
    Bury,
    Alone,
    Look,
    Claim,
    Index,
    /// A lower level is being sent, at the longest until then.
    Grace(Duration),
    Send,
    /// The receipt that ends the task, and what the message gets when it is stored.
    Close(Settle),
    WakeUp,
    Settle(Settle),
    Done,
}

/// One task in the hands of one worker. `L` is the leave to write a request.
#[derive(Clone, Debug, Hash)]
pub(crate) struct TaskMachine<L> {
    pub(super) start: Start,
    phase: Phase,
    /// Whether the phase's effect is under way, and since when.
    asked: bool,
    pub(super) asked_at: Duration,
    taken_at: Duration,
    /// When the machine was last polled or told something.
    seen_at: Duration,
    /// What is known of the event; nothing, if it has aged out.
    pub(super) facts: Option<Facts>,
    pub(super) has_lower: bool,
    /// Claims without a mark before this one.
    pub(super) claims_before: u32,
    /// An acknowledgement out of order; mutants only.
    early_ack: bool,
    pub(super) progress: Progress,
    /// Sequence of the task's last receipt.
    pub(super) last: u64,
    pub(super) sending: Sending<L>,
}

impl<L> TaskMachine<L> {
    /// A task that was taken.
    pub(crate) fn new(start: Start, at: &At) -> Self {
        Self {
            phase: Phase::Load,
            asked: false,
            asked_at: at.mono,
            taken_at: at.mono,
            seen_at: at.mono,
            facts: None,
            has_lower: false,
            claims_before: 0,
            early_ack: false,
            progress: Progress::begin_task(start.claim),
            last: 0,
            sending: Sending::default(),
            start,
        }
    }

    /// The next thing to do, if there is one.
    pub(crate) fn poll<B>(&mut self, at: &At, budget: &mut B) -> Option<Effect<L>>
    where
        B: Budget<Leave = L>,
    {
        self.look_at_the_clock(at);
        if std::mem::take(&mut self.early_ack) {
            return Some(Effect::Settle(Settle::Ack));
        }
        if let Phase::Grace(until) = self.phase
            && (until <= at.mono || self.sending.is_halted())
        {
            self.begin_sending(at);
        }
        if self.phase == Phase::Send {
            let effect = self.poll_sending(at, budget);
            if effect.is_some() || self.phase == Phase::Send {
                return effect;
            }
        }
        if self.asked {
            return None;
        }
        self.asked = true;
        self.asked_at = at.mono;
        self.ask(at)
    }

    /// The effect of the phase.
    fn ask(&mut self, at: &At) -> Option<Effect<L>> {
        match self.phase {
            Phase::Load => Some(Effect::Load),
            Phase::Read => Some(Effect::ReadReceipts),
            Phase::Bury => Some(Effect::Bury {
                claims: self.claims_before,
                low: self.progress.cursor(),
            }),
            Phase::Alone => Some(Effect::RunAlone),
            Phase::Look => Some(Effect::Look),
            Phase::Claim | Phase::Close(_) => Some(self.append(at)),
            Phase::Index => Some(Effect::AwaitIndex),
            Phase::WakeUp => Some(Effect::WakeUp {
                pass: self.progress.claim().pass + 1,
                due: self.progress.earliest_due().unwrap_or(at.wall),
            }),
            Phase::Settle(settle) => {
                self.phase = Phase::Done;
                Some(Effect::Settle(settle))
            }
            Phase::Grace(_) | Phase::Send | Phase::Done => None,
        }
    }

    /// When to poll again although nothing was heard; so often at least that a freeze is noticed.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let own = match self.phase {
            Phase::Grace(until) => Some(until),
            Phase::Send => self.sending_deadline(),
            Phase::Load
            | Phase::Read
            | Phase::Bury
            | Phase::Alone
            | Phase::Look
            | Phase::Claim
            | Phase::Index
            | Phase::Close(_)
            | Phase::WakeUp
            | Phase::Settle(_) => None,
            Phase::Done => return None,
        };
        let look = self.seen_at + self.start.ack_wait / 3;
        Some(own.map_or(look, |it| it.min(look)))
    }

    /// Whether a credit is all that is missing: poll again when there is one.
    pub(crate) fn wants_credit(&self) -> bool {
        self.phase == Phase::Send && self.sending.wants_credit
    }

    /// Whether requests are written, or would be if they might.
    pub(crate) fn is_sending(&self) -> bool {
        self.phase == Phase::Send
    }

    /// Whether it was said what the message gets.
    #[cfg(test)]
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether nothing more is begun.
    pub(crate) fn is_ending(&self) -> bool {
        self.sending.is_halted()
    }

    /// Tells the machine something.
    pub(crate) fn on<B>(&mut self, input: Input, at: &At, budget: &mut B)
    where
        B: Budget<Leave = L>,
    {
        self.look_at_the_clock(at);
        if self.phase == Phase::Send {
            return self.on_sending(input, at, budget);
        }
        match (self.phase, input) {
            (Phase::Load, Input::Event(Ok(facts))) => {
                self.facts = facts;
                self.go(Phase::Read);
            }
            (Phase::Read, Input::Receipts(Ok((recorded, last)))) => {
                self.last = last;
                self.judge(recorded.as_deref(), at);
            }
            (Phase::Load, Input::Event(Err(_)))
            | (Phase::Read, Input::Receipts(Err(_)))
            | (Phase::Look, Input::Looked(None))
            | (Phase::Bury, Input::Buried(false))
            | (Phase::Alone, Input::Alone(false)) => self.hand_back(Some(PAUSE), at),
            (Phase::Bury, Input::Buried(true)) => self.close(Mark::Dead, Settle::Terminate, at),
            (Phase::Alone, Input::Alone(true)) => self.look_or_claim(),
            (Phase::Look, Input::Looked(Some(standing))) => self.looked(standing, at),
            (Phase::Claim | Phase::Close(_), Input::Appended(appended)) => {
                self.appended(appended, at);
            }
            (Phase::Index, Input::IndexReady) if self.has_lower => {
                self.go(Phase::Grace(at.mono + LEVELS_KNOWN));
            }
            (Phase::Index, Input::IndexReady) => self.begin_sending(at),
            (Phase::WakeUp, Input::WokenUp(true)) => self.go(Phase::Settle(Settle::Ack)),
            (Phase::WakeUp, Input::WokenUp(false)) => {
                self.hand_back(Some(PAUSE), at);
            }
            (_, Input::Stop) => self.stop(at),
            (_, _) => {} // Comes too late to matter.
        }
    }

    pub(super) fn go(&mut self, phase: Phase) {
        self.phase = phase;
        self.asked = false;
    }

    pub(super) fn has_levels(&self) -> bool {
        self.facts.is_some_and(|it| it.has_levels)
    }

    pub(super) fn is_at_most_once(&self) -> bool {
        self.facts.is_some_and(|it| it.is_at_most_once)
    }

    /// Ends the task without sending: everyone left gets `mark`.
    pub(super) fn close(&mut self, mark: Mark, settle: Settle, at: &At) {
        self.progress.end_with(mark, at.wall);
        self.go(Phase::Close(settle));
    }

    /// The receipt that makes everything up to now durable.
    pub(super) fn append(&mut self, at: &At) -> Effect<L> {
        let mut receipt = self.progress.receipt(&self.start.node, at.wall);
        self.spoil(&mut receipt);
        let after = self.last;
        #[cfg(test)]
        let after = if self.start.rules.breaks(Mutant::BlindWrite) {
            super::mutant::WHICHEVER
        } else {
            after
        };
        Effect::Append {
            receipt: Box::new(receipt),
            after,
        }
    }

    fn spoil(&self, receipt: &mut Receipt) {
        if self.start.rules.breaks(Mutant::HighestCompleted)
            && let Some(highest) = receipt.above.pop_last()
        {
            receipt.above.clear();
            receipt.low = highest.0.checked_add(1).map(fanfare_nats::DeviceHash);
        }
    }

    fn appended(&mut self, appended: Appended, at: &At) {
        match (appended, self.phase) {
            (Appended::Stored(_), Phase::Close(settle)) => self.go(Phase::Settle(settle)),
            (Appended::Stored(seq), _) => {
                self.last = seq;
                self.sending.confirmed_at = self.asked_at;
                self.early_ack = self.start.rules.breaks(Mutant::AckOnReceipt);
                if self.sending.is_halted() {
                    self.begin_sending(at); // To its end, in order.
                } else {
                    self.go(Phase::Index);
                }
            }
            (Appended::Fenced | Appended::Unknown, _) => self.go(Phase::Settle(Settle::Forget)),
        }
    }

    /// Hands the message back, unless it may be another worker's by now: handed back by us it would
    /// go to a third one, who would fence the second.
    pub(super) fn hand_back(&mut self, delay: Option<Duration>, at: &At) {
        let sure_since = self.sending.confirmed_at.max(self.taken_at);
        let settle = if at.mono.saturating_sub(sure_since) < self.start.ack_wait / 2 {
            Settle::Back(delay)
        } else {
            Settle::Forget
        };
        self.go(Phase::Settle(settle));
    }

    /// Steps aside after a freeze, or whatever else kept this process from looking for so long that
    /// the message may be another's, who has perhaps not claimed it yet and will take the task from
    /// us at any time. What was in flight is all that may be repeated then: nothing more is begun.
    fn look_at_the_clock(&mut self, at: &At) {
        let away = at.mono.saturating_sub(self.seen_at);
        self.seen_at = at.mono;
        if away < self.start.ack_wait / 2 || self.start.rules.breaks(Mutant::FreezeUnnoticed) {
            return;
        }
        match self.phase {
            Phase::Load | Phase::Read | Phase::Bury | Phase::Alone | Phase::Look => {
                self.go(Phase::Settle(Settle::StepAside));
            }
            Phase::Claim if !self.asked => self.go(Phase::Settle(Settle::StepAside)),
            Phase::Index => {
                self.sending.halt(Settle::StepAside);
                self.begin_sending(at);
            }
            Phase::Claim | Phase::Grace(_) | Phase::Send => self.sending.halt(Settle::StepAside),
            Phase::Settle(Settle::Back(_)) => self.phase = Phase::Settle(Settle::StepAside),
            // The receipt is guarded, the alarm harmless, and the rest is said.
            Phase::Close(_) | Phase::WakeUp | Phase::Settle(_) | Phase::Done => {}
        }
    }

    fn stop(&mut self, at: &At) {
        match self.phase {
            Phase::Load | Phase::Read | Phase::Alone | Phase::Look => self.hand_back(None, at),
            Phase::Claim | Phase::Grace(_) => self.sending.halt(Settle::Back(None)),
            Phase::Index => {
                self.sending.halt(Settle::Back(None));
                self.begin_sending(at);
            }
            // What is begun ends soon.
            Phase::Send
            | Phase::Bury
            | Phase::Close(_)
            | Phase::WakeUp
            | Phase::Settle(_)
            | Phase::Done => {}
        }
    }

    /// Everything that was begun is recorded, or the task is lost.
    pub(super) fn sent(&mut self, halt: Option<Settle>, is_superseded: bool, at: &At) {
        match halt {
            Some(settle) => self.go(Phase::Settle(settle)),
            None if is_superseded => self.close(Mark::Superseded, Settle::Ack, at),
            None if self.progress.earliest_due().is_some() => {
                self.early_ack = self.start.rules.breaks(Mutant::AckBeforeWakeUp);
                self.go(Phase::WakeUp);
            }
            None => self.go(Phase::Settle(Settle::Ack)),
        }
    }

    fn begin_sending(&mut self, at: &At) {
        self.go(Phase::Send);
        let due = self.progress.due(at.wall);
        self.sending.begin(due);
    }
}
