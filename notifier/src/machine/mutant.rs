//! Ways to break the rules on purpose. A normal build has none: there [`Rules::breaks`] is `false`
//! and costs nothing.

/// A rule that is broken, one at a time; the simulation must notice each by the invariant it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// A claim that equals the recorded one is accepted.
    EqualClaims,
    /// A claim counts whichever message of the pass it is made with.
    AnyMessage,
    /// A task is taken although its worker recorded something a moment ago.
    FreshClaimTaken,
    /// A process that was frozen goes on with the tasks it had.
    FreezeUnnoticed,
    /// Every claim is accepted: compare-and-set is the only fence.
    NoClaimFence,
    /// A credit is given back as soon as it is taken.
    NoWindow,
    /// A receipt is appended whatever the last one is.
    #[cfg(test)]
    BlindWrite,
    /// A device is marked before its outcome is known.
    ReceiptBeforeOutcome,
    /// The low-water hash is behind the highest device that is through.
    HighestCompleted,
    /// A task's message is acknowledged when its claim is recorded.
    AckOnReceipt,
    /// A task's message is acknowledged before its wake-up is stored.
    AckBeforeWakeUp,
    /// The poison limits look at the delivery count.
    PoisonByDeliveryCount,
    /// A worker that hands its task back leaves no word.
    NoWordAtHandBack,
    /// At most once: the intent is recorded together with the outcome.
    IntentAfterRequest,
    /// A worker that takes a walked pass over serves its waiting devices.
    AlarmForgotten,
    /// An event is acknowledged when its plan is stored, before its tasks are.
    EventAckedBeforeTasks,
    /// Whoever finds a plan stores the tasks of its own.
    OtherCut,
}

/// The rules that a machine keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    #[cfg(test)]
    pub(crate) broken: Option<Mutant>,
}

impl Rules {
    /// Whether a rule is broken on purpose.
    #[cfg(test)]
    pub(crate) fn breaks(self, mutant: Mutant) -> bool {
        self.broken == Some(mutant)
    }

    /// Whether a rule is broken on purpose: never.
    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "test builds look into it")]
    pub(crate) const fn breaks(self, _: Mutant) -> bool {
        false
    }
}

/// What a broken machine names as the last receipt: whichever it is.
#[cfg(test)]
pub(crate) const WHICHEVER: u64 = u64::MAX;
