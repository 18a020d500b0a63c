//! Buckets of tokens, as the time at which each will be full again. Pure.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::Who;

/// The most askers that are counted each for himself.
const MOST: usize = 65_536;
/// The time in which an empty bucket is full again.
const MINUTE: Duration = Duration::from_mins(1);
/// Making room looks at everybody, so it is not done for every request.
const MAKE_ROOM_EVERY: Duration = Duration::from_secs(1);

/// When each bucket will be full, counted from the first instant. One that is full is forgotten
/// when room is needed.
#[derive(Debug)]
pub(super) struct Table {
    epoch: Instant,
    full_at: HashMap<Who, Duration>,
    made_room_at: Duration,
}

/// What a request found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Requests that would be served now.
    pub(super) remaining: u64,
    /// Seconds for which these last at the pace at which tokens come back; where there are none, until
    /// there is one.
    pub(super) lasts_s: u64,
    /// Seconds until one would, if this one is not.
    pub(super) wait_s: Option<u64>,
}

impl Table {
    /// A table in which every bucket is full.
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            full_at: HashMap::new(),
            made_room_at: Duration::ZERO,
        }
    }

    /// Takes a token from somebody's bucket, or from that of the `others` if there is no room for
    /// his.
    pub(super) fn take(
        &mut self,
        who: Who,
        others: Who,
        per_minute: NonZeroU32,
        at: Instant,
    ) -> Taken {
        let now = at.saturating_duration_since(self.epoch);
        let who = if self.has_room_for(&who, now) {
            who
        } else {
            others
        };
        let token = MINUTE / per_minute.get();
        let before = self.full_at.get(&who).copied().unwrap_or(now).max(now);
        let after = before + token;
        let missing = after.saturating_sub(now);
        if missing > MINUTE {
            let wait_s = ceil_s(missing.saturating_sub(MINUTE)).max(1);
            return Taken {
                remaining: 0,
                lasts_s: wait_s,
                wait_s: Some(wait_s),
            };
        }
        self.full_at.insert(who, after);
        let left = MINUTE.saturating_sub(missing);
        let tokens = left.as_nanos() / token.as_nanos().max(1);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        let lasts = match tokens {
            0 => token.saturating_sub(left),
            tokens => token.saturating_mul(tokens),
        };
        Taken {
            remaining: tokens.into(),
            lasts_s: ceil_s(lasts).max(1),
            wait_s: None,
        }
    }

    fn has_room_for(&mut self, who: &Who, now: Duration) -> bool {
        if self.full_at.len() < MOST || self.full_at.contains_key(who) {
            return true;
        }
        if now.saturating_sub(self.made_room_at) >= MAKE_ROOM_EVERY {
            self.made_room_at = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        self.full_at.len() < MOST
    }
}

/// Up, so that nobody comes too early.
fn ceil_s(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::quota::Quota;

    const OTHERS: Who = Who::Others(Quota::Address);

    fn address(n: u32) -> Who {
        Who::Address(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    fn take(table: &mut Table, n: u32, per_minute: u32, after: Duration) -> Taken {
        let at = table.epoch + after;
        let per_minute = NonZeroU32::new(per_minute).unwrap();
        table.take(address(n), OTHERS, per_minute, at)
    }

    #[test]
    fn a_minutes_worth_is_served_at_once_and_then_one_at_a_time() {
        let mut table = Table::new(Instant::now());
        let zero = Duration::ZERO;
        for (left, lasts_s) in [(2, 40), (1, 20), (0, 20)] {
            let taken = take(&mut table, 1, 3, zero);
            assert_eq!((taken.remaining, taken.wait_s), (left, None));
            assert_eq!(taken.lasts_s, lasts_s);
        }
        let refused = take(&mut table, 1, 3, zero);
        assert_eq!((refused.wait_s, refused.lasts_s), (Some(20), 20));
        // A refusal costs nothing, and another's bucket is another.
        assert_eq!(take(&mut table, 1, 3, zero).wait_s, Some(20));
        assert_eq!(take(&mut table, 2, 3, zero).wait_s, None);
        let early = Duration::from_millis(19_500);
        assert_eq!(take(&mut table, 1, 3, early).wait_s, Some(1));
        assert_eq!(take(&mut table, 1, 3, Duration::from_secs(20)).wait_s, None);
        let later = take(&mut table, 1, 3, Duration::from_mins(10));
        assert_eq!((later.remaining, later.lasts_s), (2, 40));
    }

    #[test]
    fn in_any_minute_at_most_twice_the_quota_and_over_time_the_quota_is_served() {
        let mut table = Table::new(Instant::now());
        let mut served = 0_u32;
        for tenth in 0..6000_u64 {
            let after = Duration::from_millis(100 * tenth);
            served += u32::from(take(&mut table, 1, 60, after).wait_s.is_none());
        }
        // Ten minutes, and the bucket that was full at first.
        assert!((655..=660).contains(&served), "{served}");
    }

    #[test]
    fn the_table_is_bounded_and_who_finds_no_room_shares_one_bucket() {
        let mut table = Table::new(Instant::now());
        let most = u32::try_from(MOST).unwrap();
        let second = Duration::from_secs(1);
        for n in 0..most + 100 {
            take(&mut table, n, 60, second);
        }
        assert_eq!(table.full_at.len(), MOST + 1);
        assert_eq!(
            take(&mut table, most + 100, 60, second).wait_s,
            Some(1),
            "of 100 others"
        );
        // Who is known keeps his own; when buckets are full again there is room.
        assert_eq!(take(&mut table, 7, 60, second).wait_s, None);
        let later = take(&mut table, most + 100, 60, Duration::from_mins(2));
        assert_eq!((later.remaining, table.full_at.len()), (59, 1));
    }
}
