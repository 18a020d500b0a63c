//! This notifier among all: it says that it lives, and takes its part of the apps' limits.
//!
//! A part is good for a few seconds after the others were read ([`crate::rate::SHARE_LASTS`]), by
//! this process's own clock. Whoever was frozen for longer sends nothing on a limited app before it
//! has read them again.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fanfare_nats::members::{Member, RENEW_EVERY};
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};

use crate::rate::{self, Share};
use crate::shared::Shared;

const ROLE: &str = "notifier";
/// All notifiers count the same; their rates follow the work that they take.
const WEIGHT: u32 = 1;
/// How often the others are read. A new one is known to all after this.
const READ_EVERY: Duration = Duration::from_secs(2);

/// Renews and reads until the process drains, then says goodbye.
pub(crate) async fn run(shared: Arc<Shared>, started: Timestamp) {
    let member = Member {
        role: ROLE.to_owned(),
        node: shared.broker.node().to_owned(),
        host: shared.broker.host().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        weight: WEIGHT,
        started,
    };
    let mut renewed_at = None;
    let mut tick = tokio::time::interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shared.stop.cancelled() => break,
        }
        tokio::select! {
            () = turn(&shared, &member, &mut renewed_at) => {}
            () = shared.stop.cancelled() => break,
        }
    }
    // Its part is free at once for the others; what is in flight here is a last burst.
    if let Err(error) = shared.broker.remove_member(ROLE).await {
        tracing::debug!(error = &error as &dyn Error, "no goodbye");
    }
}

/// First says that it lives, then reads who does: whoever reads later counts this one too.
async fn turn(shared: &Shared, member: &Member, renewed_at: &mut Option<Instant>) {
    let now = Instant::now();
    if renewed_at.is_none_or(|it| it + RENEW_EVERY <= now) {
        match shared.broker.put_member(member).await {
            Ok(()) => *renewed_at = Some(now),
            Err(error) => {
                tracing::debug!(error = &error as &dyn Error, "not known to be alive");
                return;
            }
        }
    }
    let read_at = Instant::now();
    match shared.broker.members(ROLE).await {
        Ok(members) => take_shares(shared, member, &members, read_at),
        Err(error) => tracing::debug!(error = &error as &dyn Error, "shares are not known"),
    }
}

fn take_shares(shared: &Shared, own: &Member, members: &[Member], read_at: Instant) {
    let weights = weights(own, members);
    let n_members = members.iter().filter(|it| it.node != own.node).count() + 1;
    let gauge = i64::try_from(n_members).unwrap_or(i64::MAX);
    shared.metrics.lanes.members.set(gauge);
    for app in shared.apps.values() {
        if let Some(limit) = app.limit {
            let share = rate::share(f64::from(limit), own.weight, weights);
            app.pressure.set_share(Share::PerSecond(share, read_at));
        }
    }
}

/// The weight of all members together. We are one of them, whether the reading shows us or not.
fn weights(own: &Member, members: &[Member]) -> u64 {
    let others = members.iter().filter(|it| it.node != own.node);
    let others: u64 = others.map(|it| u64::from(it.weight.max(1))).sum();
    others + u64::from(own.weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str, weight: u32) -> Member {
        Member {
            role: ROLE.to_owned(),
            node: node.to_owned(),
            host: "h".to_owned(),
            version: "1".to_owned(),
            weight,
            started: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn we_count_ourselves_once_whether_the_reading_shows_us_or_not() {
        let own = member("a", 1);
        assert_eq!(weights(&own, &[]), 1);
        let all = [member("a", 1), member("b", 1), member("c", 3)];
        assert_eq!(weights(&own, &all), 5);
        assert_eq!(weights(&own, &all[1..]), 5);
    }
}
