//! Who could hold leases, read again and again beside the role.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::operate::LeaseReport;
use super::order::{Electorate, Standing};
use crate::connect::Broker;
use crate::members::Member;
use crate::membership::View;

/// Reads leases and preferences whenever the members were read.
#[derive(Debug)]
pub struct Census {
    broker: Broker,
    members: watch::Receiver<View>,
    electorate: watch::Sender<Arc<Electorate>>,
    well_since: WellSince,
}

/// Since when each node has been seen without interruption, and ready.
type WellSince = HashMap<String, Instant>;

impl Broker {
    /// Who could hold leases, of the members that are read into `members`. Empty until the first
    /// reading, and as it was while nothing can be read.
    pub fn electorate(
        &self,
        members: watch::Receiver<View>,
    ) -> (Census, watch::Receiver<Arc<Electorate>>) {
        let (electorate, read) = watch::channel(Arc::default());
        let census = Census {
            broker: self.clone(),
            members,
            electorate,
            well_since: WellSince::new(),
        };
        (census, read)
    }
}

impl Census {
    /// Reads until `stop`. Dropping the future stops it.
    pub async fn run(mut self, stop: CancellationToken) {
        let reading = async {
            while self.members.changed().await.is_ok() {
                self.read().await;
            }
        };
        stop.run_until_cancelled(reading).await;
    }

    async fn read(&mut self) {
        let view = self.members.borrow_and_update().clone();
        let (leases, preferences) = tokio::join!(self.broker.leases(), self.broker.preferences());
        let (Ok(leases), Ok(preferences)) = (leases, preferences) else {
            return; // As it was.
        };
        let now = view.read_at.unwrap_or_else(Instant::now);
        remember(&mut self.well_since, &view.members, now);
        let standings = standings(&view.members, &leases, &self.well_since, now);
        self.electorate.send_replace(Arc::new(Electorate {
            standings,
            preferences,
        }));
    }
}

fn remember(well_since: &mut WellSince, members: &[Member], now: Instant) {
    let is_well = |it: &&Member| it.waits_for.is_none();
    well_since.retain(|node, _| {
        let found = members.iter().filter(is_well);
        found.map(|it| &it.node).any(|it| it == node)
    });
    for member in members.iter().filter(is_well) {
        well_since.entry(member.node.clone()).or_insert(now);
    }
}

fn standings(
    members: &[Member],
    leases: &[LeaseReport],
    well_since: &WellSince,
    now: Instant,
) -> Vec<Standing> {
    let standing = |it: &Member| {
        let holds = |lease: &&LeaseReport| {
            let holder = lease.holder.as_ref();
            holder.is_some_and(|holder| holder.node == it.node)
        };
        Standing {
            node: it.node.clone(),
            host: it.host.clone(),
            weight: it.weight,
            started: it.started,
            well_for: well_since.get(&it.node).map(|since| now - *since),
            n_leases: leases.iter().filter(holds).count(),
        }
    };
    members.iter().map(standing).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn member(node: &str, waits_for: Option<&str>) -> Member {
        Member {
            role: "fetcher".to_owned(),
            node: node.to_owned(),
            host: "h".to_owned(),
            version: "1".to_owned(),
            weight: 1,
            started: Timestamp::UNIX_EPOCH,
            waits_for: waits_for.map(str::to_owned),
        }
    }

    #[test]
    fn whoever_was_away_or_not_ready_begins_to_be_well_anew() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut well_since = WellSince::new();
        let mut well_for = |members: &[Member], now| {
            remember(&mut well_since, members, now);
            let standings = standings(members, &[], &well_since, now);
            standings
                .iter()
                .map(|it| it.well_for.map(|it| it.as_secs()))
                .collect::<Vec<_>>()
        };
        let (a, b) = (member("a", None), member("b", None));
        assert_eq!(well_for(&[a.clone(), b.clone()], at(0)), [Some(0), Some(0)]);
        let ill = member("b", Some("nats: connection lost"));
        assert_eq!(well_for(&[a.clone(), ill], at(10)), [Some(10), None]);
        assert_eq!(
            well_for(&[a.clone(), b.clone()], at(20)),
            [Some(20), Some(0)]
        );
        assert_eq!(well_for(std::slice::from_ref(&b), at(30)), [Some(10)]);
        assert_eq!(well_for(&[a, b], at(40)), [Some(0), Some(20)]);
    }
}
