//! This notifier among all: it takes its part of the apps' limits.
//!
//! A part is good for a few seconds after the others were read ([`crate::rate::SHARE_LASTS`]), by
//! this process's own clock. Whoever was frozen for longer sends nothing on a limited app before it
//! has read them again.

use std::sync::Arc;

use fanfare_nats::members::Member;
use fanfare_nats::membership::View;
use tokio::sync::watch;

use crate::rate::{self, Share};
use crate::shared::Shared;

pub(crate) const ROLE: &str = "notifier";

/// Takes this process's part whenever the others were read, until the process drains.
pub(crate) async fn take_parts(shared: Arc<Shared>, mut views: watch::Receiver<View>) {
    let own = shared.broker.member(ROLE);
    while let Some(Ok(())) = shared.stop.run_until_cancelled(views.changed()).await {
        let view = views.borrow_and_update().clone();
        take_shares(&shared, &own, &view);
    }
}

fn take_shares(shared: &Shared, own: &Member, view: &View) {
    let Some(read_at) = view.read_at else {
        return;
    };
    let weights = weights(own, &view.members);
    let n_members = view.members.iter().filter(|it| it.node != own.node).count() + 1;
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
    use jiff::Timestamp;

    use super::*;

    fn member(node: &str, weight: u32) -> Member {
        Member {
            role: ROLE.to_owned(),
            node: node.to_owned(),
            host: "h".to_owned(),
            version: "1".to_owned(),
            weight,
            started: Timestamp::UNIX_EPOCH,
            waits_for: None,
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
