//! The sums of an event or of many: owed on one side, everything that became of it on the other.

use std::ops::AddAssign;

/// What was owed and what became of it. Every owed delivery is in exactly one of the parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Pairs of an event and a device that it was owed to, by the documents.
    pub owed: u64,
    /// The provider took it.
    pub accepted: u64,
    /// Not sent: the event had expired.
    pub expired: u64,
    /// Not sent: a higher level of the item stood.
    pub superseded: u64,
    /// Not sent: the token was another device's when its turn came.
    pub dropped: u64,
    /// The provider knew the token no more.
    pub unregistered: u64,
    /// The provider refused it; a dead letter holds it.
    pub refused: u64,
    /// Not repeated, because the first request may have been delivered and it is at most once.
    pub unclear: u64,
    /// Given up with its task, which made no progress; a dead letter holds it.
    pub poison: u64,
    /// Still to come, or waiting for another attempt.
    pub pending: u64,
    /// Its task is finished and no receipt says a word about it.
    pub lost: u64,
    /// Somebody decided that it gets nothing, and the documents say that it should.
    pub suppressed: u64,
    /// Accepted although it was not owed. Not a part of what is owed.
    pub unasked: u64,
    /// Accepted more than once, as the receipts themselves say. Not a part either.
    pub repeated: u64,
    /// Accepted for devices whose documents changed since.
    pub not_judged_accepted: u64,
    /// Times that a task changed hands before its pass was over.
    pub take_overs: u64,
    /// The most repeats that these can have caused. A bound, not a finding.
    pub repeats_bound: u64,
}

impl Sums {
    /// Everything that became of what was owed.
    pub fn accounted(&self) -> u64 {
        self.accepted
            + self.not_sent()
            + self.dead()
            + self.unregistered
            + self.pending
            + self.lost
            + self.suppressed
    }

    /// Not sent for a reason that the streams confirm.
    pub fn not_sent(&self) -> u64 {
        self.expired + self.superseded + self.dropped + self.unclear
    }

    /// In dead letters.
    pub fn dead(&self) -> u64 {
        self.refused + self.poison
    }

    /// Whether nothing is missing and nothing was sent without being owed.
    pub fn adds_up(&self) -> bool {
        self.owed == self.accounted() && self.lost == 0 && self.suppressed == 0 && self.unasked == 0
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.owed += other.owed;
        self.accepted += other.accepted;
        self.expired += other.expired;
        self.superseded += other.superseded;
        self.dropped += other.dropped;
        self.unregistered += other.unregistered;
        self.refused += other.refused;
        self.unclear += other.unclear;
        self.poison += other.poison;
        self.pending += other.pending;
        self.lost += other.lost;
        self.suppressed += other.suppressed;
        self.unasked += other.unasked;
        self.repeated += other.repeated;
        self.not_judged_accepted += other.not_judged_accepted;
        self.take_overs += other.take_overs;
        self.repeats_bound += other.repeats_bound;
    }
}
