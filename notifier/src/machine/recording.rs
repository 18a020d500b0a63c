//! What is recorded while sending, and when: marks, intents, and the last word.

use fanfare_nats::DeviceHash;
use fanfare_nats::receipt::{Later, Line, Mark};

use super::judge::ALONE_FROM;
use super::mutant::Mutant;
use super::sending::Append;
use super::{Appended, At, Budget, Effect, Settle, TaskMachine};

impl<L> TaskMachine<L> {
    /// Whether something is to be recorded before the task leaves our hands: marks, intents taken
    /// back, or that it was handed back in good order, by a worker whose claim still stands.
    pub(super) fn needs_last_word(&self) -> bool {
        let is_to_say = match self.sending.halt {
            Some(_) => !self.start.rules.breaks(Mutant::NoWordAtHandBack),
            None => !self.sending.is_superseded && self.progress.claims_without_mark() > 0,
        };
        self.n_unrecorded() > 0 || (is_to_say && !self.sending.is_closed)
    }

    /// Marks, and intents taken back, that no receipt holds yet.
    fn n_unrecorded(&self) -> usize {
        self.progress.n_unrecorded().max(self.sending.credits.0)
    }

    pub(super) fn append_is_due<B: Budget<Leave = L>>(&self, at: &At, budget: &B) -> bool {
        if self.sending.appending.is_some() || self.sending.is_lost() {
            return false;
        }
        let n_unrecorded = self.n_unrecorded();
        let is_old = || {
            let since = self.sending.unrecorded_since;
            since.is_some_and(|it| it + self.start.stride_after <= at.mono)
        };
        let is_suspect = self.progress.claims_without_mark() >= ALONE_FROM;
        let stride = if is_suspect { 1 } else { self.start.stride };
        // Without credit nobody begins anything before a receipt is stored.
        n_unrecorded >= stride
            || (n_unrecorded > 0 && (budget.is_exhausted() || is_old()))
            || (self.is_unsure(at) && self.is_at_work())
            || (self.is_at_its_end() && self.needs_last_word())
    }

    pub(super) fn begin_append(&mut self, at: &At) -> Effect<L> {
        let is_last = self.is_at_its_end();
        if is_last && !self.start.rules.breaks(Mutant::NoWordAtHandBack) {
            self.progress.end_in_order();
        }
        self.sending.intents.announce();
        let (unrecorded, _) = self.sending.credits;
        self.sending.credits = (0, unrecorded);
        self.sending.unrecorded_since = None;
        self.sending.appending = Some(Append {
            begun: at.mono,
            is_last,
        });
        self.append(at)
    }

    pub(super) fn recorded<B: Budget<Leave = L>>(&mut self, appended: Appended, budget: &mut B) {
        let Some(append) = self.sending.appending.take() else {
            return;
        };
        match appended {
            Appended::Stored(seq) => {
                self.last = seq;
                self.sending.confirmed_at = append.begun;
                self.sending.is_closed = append.is_last;
                self.sending.intents.confirm();
                budget.give_back(std::mem::take(&mut self.sending.credits.1));
            }
            // Nothing is recorded and nothing is begun any more.
            Appended::Fenced | Appended::Unknown => self.sending.halt(Settle::Forget),
        }
    }

    /// The provider answered for the device: its credit is held until the mark is recorded.
    pub(super) fn had_turn(
        &mut self,
        device: DeviceHash,
        attempts: u32,
        (mark, reason): (Mark, Option<String>),
        later: Option<Later>,
        at: &At,
    ) {
        self.sending.credits.0 += 1;
        let line = Line {
            device,
            mark,
            attempt: attempts + 1,
            reason,
            at: at.wall,
        };
        self.note(line, later, at);
    }

    /// A turn that needed no request, and so no credit.
    pub(super) fn without_request<B: Budget<Leave = L>>(
        &mut self,
        device: DeviceHash,
        attempts: u32,
        mark: Mark,
        reason: Option<String>,
        at: &At,
        budget: &mut B,
    ) {
        // An intent that is recorded stands for a loss until the mark is.
        if self.progress.is_intended(device) {
            self.sending.credits.0 += 1;
        } else {
            budget.give_back(1);
        }
        let line = Line {
            device,
            mark,
            attempt: attempts,
            reason,
            at: at.wall,
        };
        self.note(line, None, at);
    }

    fn note(&mut self, line: Line, later: Option<Later>, at: &At) {
        self.progress.mark(line, later);
        self.sending.unrecorded_since.get_or_insert(at.mono);
    }

    /// Nobody had a turn. Where an intent is recorded, its credit is held until a receipt has taken
    /// it back: a worker that dies now loses the device.
    pub(super) fn had_no_turn<B: Budget<Leave = L>>(
        &mut self,
        device: DeviceHash,
        at: &At,
        budget: &mut B,
    ) {
        if self.progress.take_back(device) {
            self.sending.credits.0 += 1;
            self.sending.unrecorded_since.get_or_insert(at.mono);
        } else {
            budget.give_back(1);
        }
    }

    /// Nothing more is begun: whoever waits for a recorded intent gets none. An intent that a receipt
    /// holds, or one under way, keeps its credit until another receipt has taken it back.
    pub(super) fn take_back_intents<B: Budget<Leave = L>>(&mut self, at: &At, budget: &mut B) {
        let intents = std::mem::take(&mut self.sending.intents);
        for device in intents.gathered() {
            // No receipt names it, and none may from now on: whoever read that would give it up.
            self.progress.take_back(device);
            budget.give_back(1);
        }
        for device in intents.announced() {
            self.progress.take_back(device);
            self.sending.credits.0 += 1;
            self.sending.unrecorded_since.get_or_insert(at.mono);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use fanfare_nats::index::Step;

    use super::*;
    use crate::machine::testing::{AT, Plenty, claim, start};
    use crate::machine::{Facts, Input};

    /// A machine that is told things; what it asks for is kept.
    struct Told {
        machine: TaskMachine<()>,
        asked: Vec<Effect<()>>,
    }

    impl Told {
        fn on(&mut self, input: Input) {
            self.machine.on(input, &AT, &mut Plenty);
            self.poll();
        }

        fn poll(&mut self) {
            while let Some(effect) = self.machine.poll(&AT, &mut Plenty) {
                self.asked.push(effect);
            }
        }

        fn walked(&mut self, device: u64) {
            let step = Step::to(DeviceHash(device));
            self.on(Input::Walked(VecDeque::from([step])));
        }

        fn stored(&mut self, seq: u64) {
            self.on(Input::Appended(Appended::Stored(seq)));
        }

        /// The devices whose intent the last append names.
        fn intended(&self) -> BTreeSet<u64> {
            let last = self.asked.iter().rev().find_map(|it| {
                let Effect::Append { receipt, .. } = it else {
                    return None;
                };
                Some(receipt)
            });
            last.unwrap().intended.iter().map(|it| it.0).collect()
        }
    }

    #[test]
    fn an_intent_that_no_receipt_names_when_the_task_is_handed_back_is_never_named() {
        let mut told = Told {
            machine: TaskMachine::new(start(claim(1)), &AT),
            asked: Vec::new(),
        };
        told.poll();
        told.on(Input::Event(Ok(Some(Facts {
            has_levels: false,
            is_at_most_once: true,
        }))));
        told.on(Input::Receipts(Ok((None, 0))));
        told.stored(1); // The claim.
        told.on(Input::IndexReady);
        told.walked(10);
        assert_eq!(told.intended(), BTreeSet::from([10]));
        told.stored(2);
        told.walked(20);
        assert_eq!(told.intended(), BTreeSet::from([10, 20]));
        // While that append is under way.
        told.walked(30);
        told.on(Input::Stop);
        told.stored(3);
        assert_eq!(
            told.intended(),
            BTreeSet::from([10]),
            "the first is in flight, the second taken back, the third was never named"
        );
    }
}
