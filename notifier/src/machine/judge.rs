//! Before anything is sent: whose the task is, and whether it is to be sent at all.

use std::time::Duration;

use fanfare_nats::receipt::{Claim, Mark, Receipt, Verdict};
use jiff::SignedDuration;

use super::mutant::Mutant;
use super::task::Phase;
use super::{At, Settle, Standing, TaskMachine};
use crate::progress::Progress;

/// So many claims in a row without a mark or a word, and the task runs alone in its process, with a
/// receipt at its first mark.
pub(super) const ALONE_FROM: u32 = 3;
/// So many, and it is given up. The design says 5; kills alone reach that: where lives last seconds
/// and answers take half of one, one claim in four dies unmarked, and of 172 kills four left five in a
/// row (measured). A poison that is alone harms only itself meanwhile.
const DEAD_FROM: u32 = 12;

/// So far may the clocks of two machines be apart; `fanfare doctor` warns before that.
const CLOCKS_AGREE: SignedDuration = SignedDuration::from_secs(2);

impl<L> TaskMachine<L> {
    /// Judges the claim against what is recorded.
    pub(super) fn judge(&mut self, recorded: Option<&Receipt>, at: &At) {
        if recorded.is_some_and(Receipt::is_finished) {
            return self.go(Phase::Settle(Settle::Ack));
        }
        match self.verdict(recorded.map(|it| &it.claim)) {
            Verdict::Obsolete => return self.go(Phase::Settle(Settle::Ack)),
            Verdict::Refused => return self.go(Phase::Settle(Settle::Refused)),
            Verdict::Own => {}
            Verdict::Take => {
                if let Some(rest) = recorded.and_then(|it| self.still_another_s(it, at)) {
                    return self.hand_back(Some(rest), at);
                }
            }
        }
        self.progress = Progress::resume(recorded, self.start.claim, at.wall);
        if self.start.rules.breaks(Mutant::AlarmForgotten) {
            self.progress.forget_alarm();
        }
        self.claims_before = recorded.map_or(0, |it| it.claims_without_mark);
        if self.start.rules.breaks(Mutant::PoisonByDeliveryCount) {
            let deliveries = self.start.claim.delivered.saturating_sub(1);
            self.claims_before = u32::try_from(deliveries).unwrap_or(u32::MAX);
        }
        // An event that aged out has expired long before.
        if self.facts.is_none() || self.start.expires_at <= at.wall {
            self.close(Mark::Expired, Settle::Ack, at);
        } else if self.claims_before >= DEAD_FROM {
            self.go(Phase::Bury);
        } else if self.claims_before >= ALONE_FROM {
            self.go(Phase::Alone);
        } else {
            self.look_or_claim();
        }
    }

    /// For how long the worker that wrote `recorded` may still be at work: then the message came
    /// early, as it does when the broker elects another leader of the durable. It keeps the task, and
    /// nothing of it is repeated. Whoever died wrote its last receipt longer ago than that when the
    /// broker gives its message to another: the last sign is younger than a third of `ack_wait`.
    ///
    /// Machines agree on the time to about a second or two; a time further ahead of ours is a wrong
    /// one, and no reason to wait.
    fn still_another_s(&self, recorded: &Receipt, at: &At) -> Option<Duration> {
        if self.start.rules.breaks(Mutant::FreshClaimTaken)
            || recorded.is_handed_back
            || recorded.claim.pass != self.start.claim.pass
        {
            return None;
        }
        let age = at.wall.duration_since(recorded.at);
        if age < -CLOCKS_AGREE {
            return None;
        }
        let age = Duration::try_from(age).unwrap_or_default();
        let limit = self.start.ack_wait * 2 / 3;
        limit.checked_sub(age).filter(|it| !it.is_zero())
    }

    fn verdict(&self, recorded: Option<&Claim>) -> Verdict {
        let (mine, rules) = (&self.start.claim, self.start.rules);
        if rules.breaks(Mutant::NoClaimFence) {
            return Verdict::Take;
        }
        let bare = |it: &Claim| Claim { nonce: 0, ..*it };
        let is_equal = recorded.is_some_and(|it| bare(it) == bare(mine));
        if rules.breaks(Mutant::EqualClaims) && is_equal {
            return Verdict::Take;
        }
        if rules.breaks(Mutant::AnyMessage) {
            let message = recorded.map_or(0, |it| it.message);
            return Claim { message, ..*mine }.against(recorded);
        }
        mine.against(recorded)
    }

    pub(super) fn look_or_claim(&mut self) {
        self.go(if self.has_levels() {
            Phase::Look
        } else {
            Phase::Claim
        });
    }

    pub(super) fn looked(&mut self, standing: Standing, at: &At) {
        self.has_lower = standing.has_lower;
        self.sending.looked_at = self.asked_at;
        if standing.is_superseded {
            self.close(Mark::Superseded, Settle::Ack, at);
        } else {
            self.go(Phase::Claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::testing::{AT, Plenty, claim, start};
    use crate::machine::{Appended, Effect, Facts, Input};

    /// A task of which so many claims in a row left nothing, up to the verdict.
    fn judged(claims_without_mark: u32) -> TaskMachine<()> {
        let recorded = Receipt {
            claims_without_mark,
            ..Receipt::first(claim(8), "n", AT.wall - Duration::from_mins(1))
        };
        judged_by(&recorded)
    }

    fn judged_by(recorded: &Receipt) -> TaskMachine<()> {
        let facts = Facts {
            has_levels: false,
            is_at_most_once: false,
        };
        let mut machine = TaskMachine::new(start(claim(9)), &AT);
        assert_eq!(machine.poll(&AT, &mut Plenty), Some(Effect::Load));
        machine.on(Input::Event(Ok(Some(facts))), &AT, &mut Plenty);
        assert_eq!(machine.poll(&AT, &mut Plenty), Some(Effect::ReadReceipts));
        let read = Ok((Some(Box::new(recorded.clone())), 7));
        machine.on(Input::Receipts(read), &AT, &mut Plenty);
        machine
    }

    fn is_claim(effect: Option<Effect<()>>) -> bool {
        matches!(effect, Some(Effect::Append { after: 7, receipt }) if receipt.low.is_some())
    }

    /// A receipt that was written so many seconds ago.
    fn written(seconds: i64) -> Receipt {
        let at = AT.wall - jiff::SignedDuration::from_secs(seconds);
        Receipt::first(claim(8), "other", at)
    }

    #[test]
    fn a_task_whose_worker_recorded_something_a_moment_ago_stays_with_it() {
        let mut machine = judged_by(&written(19));
        let settled = machine.poll(&AT, &mut Plenty);
        let rest = Some(Duration::from_secs(1));
        assert_eq!(settled, Some(Effect::Settle(Settle::Back(rest))));
        assert!(is_claim(judged_by(&written(20)).poll(&AT, &mut Plenty)));
        // Whoever wrote it has a clock of its own, and no right to keep others waiting for an hour.
        let mut ahead = judged_by(&written(-2));
        let settled = ahead.poll(&AT, &mut Plenty);
        let whole = Some(Duration::from_secs(20));
        assert_eq!(settled, Some(Effect::Settle(Settle::Back(whole))));
        assert!(is_claim(judged_by(&written(-3)).poll(&AT, &mut Plenty)));
    }

    #[test]
    fn what_was_handed_back_and_what_a_wake_up_starts_is_taken_at_once() {
        let handed_back = Receipt {
            is_handed_back: true,
            ..written(0)
        };
        assert!(is_claim(judged_by(&handed_back).poll(&AT, &mut Plenty)));
        let of_pass = |pass| Receipt {
            claim: Claim { pass, ..claim(8) },
            ..written(0)
        };
        assert!(is_claim(judged_by(&of_pass(0)).poll(&AT, &mut Plenty)));
    }

    #[test]
    fn a_task_is_suspected_after_three_claims_without_a_mark_and_runs_alone() {
        assert!(is_claim(judged(2).poll(&AT, &mut Plenty)));
        let mut machine = judged(3);
        assert_eq!(machine.poll(&AT, &mut Plenty), Some(Effect::RunAlone));
        machine.on(Input::Alone(true), &AT, &mut Plenty);
        assert!(is_claim(machine.poll(&AT, &mut Plenty)));
    }

    #[test]
    fn whoever_cannot_run_alone_hands_the_task_back_without_a_claim() {
        let mut machine = judged(11);
        assert_eq!(machine.poll(&AT, &mut Plenty), Some(Effect::RunAlone));
        machine.on(Input::Alone(false), &AT, &mut Plenty);
        let settled = machine.poll(&AT, &mut Plenty);
        assert!(matches!(
            settled,
            Some(Effect::Settle(Settle::Back(Some(_))))
        ));
    }

    #[test]
    fn after_twelve_a_dead_letter_is_stored_then_a_receipt_then_the_message_ends() {
        let mut machine = judged(12);
        let buried = machine.poll(&AT, &mut Plenty);
        assert!(matches!(buried, Some(Effect::Bury { claims: 12, .. })));
        machine.on(Input::Buried(true), &AT, &mut Plenty);
        let Some(Effect::Append { receipt, .. }) = machine.poll(&AT, &mut Plenty) else {
            panic!("no receipt");
        };
        assert!(receipt.is_finished() && receipt.rest == Some(Mark::Dead));
        machine.on(Input::Appended(Appended::Stored(8)), &AT, &mut Plenty);
        let settled = machine.poll(&AT, &mut Plenty);
        assert_eq!(settled, Some(Effect::Settle(Settle::Terminate)));
    }

    #[test]
    fn without_its_dead_letter_a_task_is_not_given_up() {
        let mut machine = judged(12);
        machine.poll(&AT, &mut Plenty);
        machine.on(Input::Buried(false), &AT, &mut Plenty);
        let settled = machine.poll(&AT, &mut Plenty);
        assert!(matches!(
            settled,
            Some(Effect::Settle(Settle::Back(Some(_))))
        ));
    }
}
