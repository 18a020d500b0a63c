//! Who should hold a lease, of those who could. Pure.
//!
//! Architecture invariant: it only says who goes first. A wrong list costs time, never a second
//! holder: that is refused by the broker.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::Vacancy;

/// Processes that start within so much of each other are equally old: one deployment.
const TOGETHER: SignedDuration = SignedDuration::from_secs(60);
/// Each candidate lets those before it go first for so long. It is longer than the time between two
/// looks, so that whoever is first has seen the vacancy by then.
const TURN: Duration = Duration::from_millis(300);
/// Nobody waits for more than so many others: a member may not have the source at all.
const MOST_TURNS: u32 = 2;
/// What a hand-over leaves to the one that it is meant for.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long whoever let go of a lease stands back.
const LET_GO: Duration = Duration::from_secs(5);
/// A preferred node gets a lease back after it was well for so long.
pub const WELL_FOR: Duration = Duration::from_mins(1);

/// A member that could hold a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The process.
    pub node: String,
    /// Its machine.
    pub host: String,
    /// What its configuration says it weighs; more is better.
    pub weight: u32,
    /// Since when it runs.
    pub started: Timestamp,
    /// For how long it has been seen without interruption and ready; `None` while it is not ready.
    pub well_for: Option<Duration>,
    /// How many leases it holds.
    pub n_leases: usize,
}

/// An operator's wish that a node or a host holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// For this source only; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A node, or a host.
    pub node: String,
    /// Until when; it is forgotten by itself then.
    pub until: Timestamp,
}

/// Everyone who could hold leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// The members of the role.
    pub standings: Vec<Standing>,
    /// What operators wish.
    pub preferences: Vec<Preference>,
}

impl Electorate {
    fn preference(&self, source: &str) -> Option<&str> {
        let of = |wanted: Option<&str>| {
            let found = self.preferences.iter();
            found
                .filter(|it| it.source.as_deref() == wanted)
                .max_by_key(|it| it.until)
        };
        of(Some(source))
            .or_else(|| of(None))
            .map(|it| it.node.as_str())
    }

    /// A preference of a source counts more than one for all, and both more than any weight.
    fn worth(&self, source: &str, standing: &Standing) -> (bool, u32) {
        let is_wanted = self
            .preference(source)
            .is_some_and(|it| it == standing.node || it == standing.host);
        (is_wanted, standing.weight)
    }

    /// The nodes, the one that should hold a source's lease first: those that are ready, then by an
    /// operator's preference, by weight, by age, and of those that started together the one with the
    /// fewest leases.
    pub fn order(&self, source: &str) -> Vec<&str> {
        let ages = ages(&self.standings);
        let mut ordered: Vec<_> = self.standings.iter().zip(ages).collect();
        ordered.sort_by_key(|(it, age)| {
            let worth = self.worth(source, it);
            (
                Reverse(it.well_for.is_some()),
                Reverse(worth),
                *age,
                it.n_leases,
                // Several sources that become vacant together are spread.
                crate::hash::digest("fanfare.lease", &[source.as_bytes(), it.node.as_bytes()]),
            )
        });
        ordered.iter().map(|(it, _)| it.node.as_str()).collect()
    }

    /// How long `me` lets others go first after a vacancy of a source's lease, `gone` being the node
    /// that held it last, if it is known to be gone. `stop_after` is the time after which a holder
    /// that does not know of its loss has stopped by itself.
    pub fn stand_back(
        &self,
        source: &str,
        me: &str,
        gone: Option<&str>,
        why: &Vacancy,
        stop_after: Duration,
    ) -> Duration {
        // Nobody waits for the dead, nor for whoever let go and stands back itself.
        let is_out = |node: &str| {
            let let_go = matches!(why, Vacancy::Released { by, .. } if by == node);
            let_go || gone == Some(node)
        };
        let order = self.order(source);
        let before = order.iter().take_while(|it| **it != me);
        let n_before = before.filter(|it| !is_out(it)).count();
        let n_before = u32::try_from(n_before).unwrap_or(MOST_TURNS);
        let turns = TURN * n_before.min(MOST_TURNS);
        match why {
            Vacancy::Never | Vacancy::Expired => turns,
            Vacancy::Withdrawn => stop_after + turns,
            Vacancy::Released { to: Some(to), .. } if to == me => Duration::ZERO,
            Vacancy::Released { by, .. } if by == me => LET_GO,
            Vacancy::Released { to: Some(_), .. } => HAND_OVER + turns,
            // Whoever stops is waited for by its users: within a second another one reads.
            Vacancy::Released { to: None, .. } => turns.min(TURN),
        }
    }

    /// To whom a holder should hand a source's lease over: a node that is worth more, whether by
    /// weight or by an operator's preference, and has been well for [`WELL_FOR`]. Age is no reason:
    /// whoever comes back is younger.
    pub fn successor(&self, source: &str, holder: &str) -> Option<&str> {
        let find = |node: &str| self.standings.iter().find(|it| it.node == node);
        let best = find(self.order(source).first()?)?;
        let holder = find(holder)?;
        let is_well = best.well_for.is_some_and(|it| it >= WELL_FOR);
        let is_better = self.worth(source, best) > self.worth(source, holder);
        (is_well && is_better).then_some(best.node.as_str())
    }
}

/// The generation of each: 0 for the oldest. One whose predecessor started at most [`TOGETHER`]
/// earlier is of its predecessor's generation.
fn ages(standings: &[Standing]) -> Vec<usize> {
    let mut starts: Vec<Timestamp> = standings.iter().map(|it| it.started).collect();
    starts.sort_unstable();
    let mut generations: Vec<(Timestamp, usize)> = Vec::new();
    for start in starts {
        let generation = match generations.last() {
            None => 0,
            Some((last, n)) if start.duration_since(*last) <= TOGETHER => *n,
            Some((_, n)) => n + 1,
        };
        generations.push((start, generation));
    }
    let of = |start| {
        let found = generations.iter().find(|(it, _)| *it == start);
        found.map_or(0, |it| it.1)
    };
    standings.iter().map(|it| of(it.started)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP_AFTER: Duration = Duration::from_secs(16);

    fn standing(node: &str, weight: u32, started_s: i64, n_leases: usize) -> Standing {
        Standing {
            node: node.to_owned(),
            host: format!("host-of-{node}"),
            weight,
            started: Timestamp::from_second(started_s).unwrap(),
            well_for: Some(WELL_FOR),
            n_leases,
        }
    }

    fn electorate(standings: Vec<Standing>) -> Electorate {
        Electorate {
            standings,
            preferences: Vec::new(),
        }
    }

    fn prefer(source: Option<&str>, node: &str) -> Preference {
        Preference {
            source: source.map(str::to_owned),
            node: node.to_owned(),
            until: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn weight_counts_before_age_and_age_before_the_number_of_leases() {
        let all = electorate(vec![
            standing("young", 1, 1000, 0),
            standing("old", 1, 0, 3),
            standing("as-old", 1, 50, 2),
            standing("heavy", 2, 2000, 9),
        ]);
        assert_eq!(all.order("s"), ["heavy", "as-old", "old", "young"]);
    }

    #[test]
    fn what_an_operator_prefers_comes_first_if_it_is_ready() {
        let mut all = electorate(vec![standing("a", 5, 0, 0), standing("b", 1, 0, 0)]);
        all.preferences = vec![prefer(None, "host-of-b")];
        assert_eq!(all.order("s"), ["b", "a"]);
        all.preferences.push(prefer(Some("s"), "a"));
        assert_eq!(all.order("s"), ["a", "b"]);
        assert_eq!(all.order("t"), ["b", "a"]);
        if let Some(it) = all.standings.last_mut() {
            it.well_for = None;
        }
        assert_eq!(all.order("t"), ["a", "b"]);
    }

    #[test]
    fn a_lease_returns_to_who_weighs_more_once_that_node_was_well_for_a_minute() {
        let mut all = electorate(vec![standing("a", 1, 0, 1), standing("b", 2, 5000, 0)]);
        assert_eq!(all.successor("s", "a"), Some("b"));
        assert_eq!(all.successor("s", "b"), None);
        assert_eq!(all.successor("s", "unknown"), None);
        if let Some(it) = all.standings.last_mut() {
            it.well_for = Some(WELL_FOR / 2);
        }
        assert_eq!(all.successor("s", "a"), None);
        let equal = electorate(vec![standing("a", 1, 5000, 9), standing("b", 1, 0, 0)]);
        assert_eq!(equal.successor("s", "a"), None, "age is no reason");
    }

    #[test]
    fn the_first_takes_a_vacancy_at_once_and_the_others_let_it_go_first() {
        let all = electorate(vec![
            standing("a", 1, 0, 0),
            standing("b", 1, 0, 1),
            standing("c", 1, 0, 2),
        ]);
        let wait = |me: &str, gone, why: &Vacancy| all.stand_back("s", me, gone, why, STOP_AFTER);
        let expired = |me, gone| wait(me, gone, &Vacancy::Expired);
        assert_eq!(expired("a", None), Duration::ZERO);
        assert_eq!(expired("c", None), TURN * 2);
        assert_eq!(expired("c", Some("a")), TURN);
        assert_eq!(expired("unknown", None), TURN * MOST_TURNS);
        let released = |to: Option<&str>| Vacancy::Released {
            by: "a".to_owned(),
            to: to.map(str::to_owned),
        };
        assert_eq!(wait("b", None, &released(None)), Duration::ZERO);
        assert_eq!(wait("a", None, &released(None)), LET_GO);
        assert_eq!(wait("c", None, &released(Some("c"))), Duration::ZERO);
        assert_eq!(wait("b", None, &released(Some("c"))), HAND_OVER);
        assert!(wait("a", None, &Vacancy::Withdrawn) >= STOP_AFTER);
    }

    #[test]
    fn generations_are_chained() {
        let all = [
            standing("a", 1, 0, 0),
            standing("b", 1, 60, 0),
            standing("c", 1, 120, 0),
            standing("d", 1, 181, 0),
        ];
        assert_eq!(ages(&all), [0, 0, 0, 1]);
    }
}
