//! One candidate's decisions about one lease: what was seen and answered goes in, what to read or
//! write comes out. Pure: `now` is passed in, and belongs to this process's own monotonic clock.
//!
//! Two holders are kept apart by two clocks that need not agree: the broker lets a record expire
//! [`Times::ttl`] after it was stored, and its writer counts a shorter time from *before* it sent it.
//! All that must hold is that both clocks run at about the same speed.

use std::time::Duration;

use tokio::time::Instant;

use super::Times;
use super::record::{Seen, Vacancy};

/// After an answer that says nothing: an election takes seconds, and each try costs a round trip.
const PAUSE: Duration = Duration::from_millis(250);
/// After a refusal, which only an operator can change.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing before this moment.
    Wait(Instant),
    /// Read what stands there.
    Read,
    /// Write a record behind this sequence.
    Write(Write),
}

/// A record to be written; the same one again while its fate is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// The sequence that it must follow.
    pub(super) expected: u64,
    /// Which write of this candidate.
    pub(super) n: u64,
    /// The lease's number; `None` for the write that takes it.
    pub(super) number: Option<u64>,
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This very request was stored, at this sequence.
    Stored(u64),
    /// Something else, or an earlier try of the same write, stands there.
    Exists,
    /// Not known.
    Unknown,
    /// The broker does not want it.
    Refused,
}

/// Why a holder is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// No renewal was confirmed in time.
    Expired,
    /// Another one holds it.
    Fenced,
    /// It was taken away by an operator.
    Withdrawn,
}

/// What is read or written next in a write whose fate is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Write(Instant),
    Read(Instant),
}

/// A write until its fate is known.
#[derive(Clone, Copy, Debug)]
struct Pending {
    write: Write,
    first_began: Option<Instant>,
    next: Next,
}

#[derive(Clone, Debug)]
enum State {
    Standby {
        look_at: Instant,
        vacant: Option<Vacant>,
    },
    Taking(Pending),
    Holding(Holding),
}

/// A vacancy and since when we know of it.
#[derive(Clone, Debug)]
struct Vacant {
    seq: u64,
    why: Vacancy,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Holding {
    number: u64,
    seq: u64,
    /// When the last confirmed write began.
    confirmed: Instant,
    renewal: Option<Pending>,
}

/// The decisions of a candidate.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    nonce: u64,
    times: Times,
    n: u64,
    state: State,
    /// Why the last holding ended.
    lost: Option<Lost>,
}

impl Machine {
    pub(super) fn new(nonce: u64, times: Times, now: Instant) -> Self {
        Self {
            nonce,
            times,
            n: 0,
            state: State::Standby {
                look_at: now,
                vacant: None,
            },
            lost: None,
        }
    }

    /// The number and the end of the lease that is held.
    pub(super) fn held(&self) -> Option<(u64, Instant)> {
        match &self.state {
            State::Holding(it) => Some((it.number, it.confirmed + self.times.stop_after)),
            State::Standby { .. } | State::Taking(_) => None,
        }
    }

    /// The sequence that a release must follow, as far as we know: that of our own record, or of the
    /// marker by which it was taken away from us.
    pub(super) fn ours_to_release(&self) -> Option<u64> {
        match &self.state {
            State::Holding(it) => Some(it.seq),
            State::Standby {
                vacant: Some(it), ..
            } if self.lost == Some(Lost::Withdrawn) => Some(it.seq),
            State::Standby { .. } | State::Taking(_) => None,
        }
    }

    /// Whether a write of ours may have been stored that we do not know of.
    pub(super) fn is_unsure(&self) -> bool {
        matches!(&self.state, State::Taking(it) if it.first_began.is_some())
    }

    /// What to do at `now`. `stand_back` says how long this candidate lets others go first after a
    /// vacancy.
    pub(super) fn step(&mut self, now: Instant, stand_back: impl Fn(&Vacancy) -> Duration) -> Step {
        match &mut self.state {
            State::Standby { look_at, vacant } => {
                if let Some(vacant) = vacant {
                    let due = vacant.since + stand_back(&vacant.why);
                    if due <= now {
                        let expected = vacant.seq;
                        return self.take(expected, now);
                    }
                    if now < *look_at {
                        return Step::Wait(due.min(*look_at));
                    }
                }
                if now < *look_at {
                    Step::Wait(*look_at)
                } else {
                    Step::Read
                }
            }
            State::Taking(pending) => pending.step(now),
            State::Holding(holding) => {
                let due = holding.confirmed + self.times.renew_every;
                if holding.renewal.is_none() && due <= now {
                    self.n += 1;
                    let write = Write {
                        expected: holding.seq,
                        n: self.n,
                        number: Some(holding.number),
                    };
                    holding.renewal = Some(Pending::new(write, now));
                }
                match &mut holding.renewal {
                    Some(pending) => pending.step(now),
                    None => Step::Wait(due),
                }
            }
        }
    }

    fn take(&mut self, expected: u64, now: Instant) -> Step {
        self.n += 1;
        let write = Write {
            expected,
            n: self.n,
            number: None,
        };
        let mut pending = Pending::new(write, now);
        let step = pending.step(now);
        self.state = State::Taking(pending);
        step
    }

    /// What a read showed; `None` if there was no answer.
    pub(super) fn read(&mut self, seen: Option<Seen>, now: Instant) {
        // What is seen by a holder concerns it only while it certainly is one.
        self.expire(now);
        let Some(seen) = seen else {
            return self.look_again(now + PAUSE);
        };
        let is_own = match &seen {
            Seen::Held { seq, record } => record
                .as_ref()
                .filter(|it| it.nonce == self.nonce)
                .map(|it| (*seq, it.n)),
            Seen::Vacant { .. } => None,
        };
        match &mut self.state {
            State::Standby { .. } => self.seen_standing_by(is_own, seen, now),
            State::Taking(pending) => match is_own {
                Some((seq, n)) if n == pending.write.n => {
                    let confirmed = pending.first_began.unwrap_or(now);
                    self.holds(seq, confirmed);
                }
                // An older write of ours, stored late.
                Some(_) | None => self.seen_standing_by(is_own, seen, now),
            },
            State::Holding(holding) => {
                let Some(pending) = holding.renewal else {
                    return;
                };
                match is_own {
                    Some((seq, n)) if n == pending.write.n => {
                        holding.seq = seq;
                        holding.confirmed = pending.first_began.unwrap_or(holding.confirmed);
                        holding.renewal = None;
                    }
                    Some(_) | None => {
                        let is_withdrawn = matches!(
                            &seen,
                            Seen::Vacant {
                                why: Vacancy::Withdrawn,
                                ..
                            }
                        );
                        self.seen_standing_by(None, seen, now);
                        self.lost = Some(if is_withdrawn {
                            Lost::Withdrawn
                        } else {
                            Lost::Fenced
                        });
                    }
                }
            }
        }
    }

    fn look_again(&mut self, at: Instant) {
        match &mut self.state {
            State::Standby { look_at, .. } => *look_at = at,
            State::Taking(pending) => pending.next = Next::Read(at),
            State::Holding(holding) => {
                if let Some(pending) = &mut holding.renewal {
                    pending.next = Next::Read(at);
                }
            }
        }
    }

    fn seen_standing_by(&mut self, own: Option<(u64, u64)>, seen: Seen, now: Instant) {
        if let Some((seq, _)) = own {
            // It is ours although we gave it up or never heard that we have it: nobody else has.
            self.take(seq, now);
            return;
        }
        let known = match &self.state {
            State::Standby {
                vacant: Some(vacant),
                ..
            } => Some((vacant.seq, vacant.since)),
            State::Standby { .. } | State::Taking(_) | State::Holding(_) => None,
        };
        let vacant = match seen {
            Seen::Held { .. } => None,
            Seen::Vacant { seq, why } => Some(Vacant {
                since: known.filter(|it| it.0 == seq).map_or(now, |it| it.1),
                seq,
                why,
            }),
        };
        let look_at = now + self.times.look_every;
        self.state = State::Standby { look_at, vacant };
    }

    fn holds(&mut self, seq: u64, confirmed: Instant) {
        self.lost = None;
        self.state = State::Holding(Holding {
            number: seq,
            seq,
            confirmed,
            renewal: None,
        });
    }

    /// What was answered to the write that [`Self::step`] gave; the request began at `began`.
    pub(super) fn wrote(&mut self, answer: Answer, began: Instant, now: Instant) {
        match (&mut self.state, answer) {
            (State::Standby { .. }, _) => {}
            (State::Taking(_), Answer::Stored(seq)) => self.holds(seq, began),
            (State::Holding(holding), Answer::Stored(seq)) => {
                holding.seq = seq;
                holding.confirmed = began;
                holding.renewal = None;
            }
            (State::Taking(pending), answer) => pending.unsettled(answer, now),
            (State::Holding(holding), answer) => {
                if let Some(pending) = &mut holding.renewal {
                    pending.unsettled(answer, now);
                }
            }
        }
    }

    /// Ends a lease whose time is over. Call it after every event and before anything that needs the
    /// lease.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let is_over = self.held().is_some_and(|(_, deadline)| deadline <= now);
        if is_over {
            self.let_go(now);
            self.lost = Some(Lost::Expired);
        }
        is_over
    }

    /// Why the lease that was held last is held no more; `None` while it is held, and when that was
    /// of our own will.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Is no holder any more, and looks again at once.
    pub(super) fn let_go(&mut self, now: Instant) {
        self.lost = None;
        self.state = State::Standby {
            look_at: now,
            vacant: None,
        };
    }
}

impl Pending {
    fn new(write: Write, now: Instant) -> Self {
        Self {
            write,
            first_began: None,
            next: Next::Write(now),
        }
    }

    fn step(&mut self, now: Instant) -> Step {
        match self.next {
            Next::Write(at) | Next::Read(at) if now < at => Step::Wait(at),
            Next::Write(_) => {
                self.first_began.get_or_insert(now);
                Step::Write(self.write)
            }
            Next::Read(_) => Step::Read,
        }
    }

    fn unsettled(&mut self, answer: Answer, now: Instant) {
        self.next = match answer {
            Answer::Stored(_) | Answer::Exists => Next::Read(now),
            Answer::Unknown => Next::Write(now + PAUSE),
            Answer::Refused => Next::Write(now + REFUSED_PAUSE),
        };
    }
}
