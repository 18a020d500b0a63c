//! Before anything is sent: whose the task is, and whether it is to be sent at all.

use fanfare_nats::receipt::{Claim, Mark, Receipt, Verdict};

use super::mutant::Mutant;
use super::task::Phase;
use super::{At, Settle, Standing, TaskMachine};
use crate::progress::Progress;

/// So many claims in a row without a mark or a word, and the task runs alone in its process.
const ALONE_FROM: u32 = 3;
/// So many, and it is given up.
const DEAD_FROM: u32 = 5;

impl<L> TaskMachine<L> {
    /// Judges the claim against what is recorded.
    pub(super) fn judge(&mut self, recorded: Option<&Receipt>, at: &At) {
        if recorded.is_some_and(Receipt::is_finished) {
            return self.go(Phase::Settle(Settle::Ack));
        }
        match self.verdict(recorded.map(|it| &it.claim)) {
            Verdict::Obsolete => return self.go(Phase::Settle(Settle::Ack)),
            Verdict::Refused => return self.go(Phase::Settle(Settle::Refused)),
            Verdict::Take | Verdict::Own => {}
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
