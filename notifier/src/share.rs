//! Who may take the next place of a budget that all lanes of a process share. Pure.
//!
//! Half of a budget is divided among the apps and belongs to them, so that an app whose provider
//! never answers cannot hold the places of another. The other half is for whoever has work and
//! whose provider answers ([`crate::ramp`]): those that have filled their own part divide it evenly.
//! An app alone in its process has everything. Of the whole, a part belongs to urgent lanes;
//! bulk lanes divide the rest by the same rule. And of what an app may have at the moment, the same
//! part is its own urgent lane's: whoever gives a place back takes the next one before anybody who
//! waits can, so a bulk lane that might have all places of its app would keep them until it ends.

use fanfare_nats::Urgency;

/// What one app has of a class.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    n: usize,
    /// Whether it could use more than its own part, as it last said.
    can_reach: bool,
}

/// The places of one class, divided among apps, which are counted from 0.
#[derive(Clone, Debug)]
struct Division {
    size: usize,
    /// What belongs to each app.
    floor: usize,
    /// What is left beside the floors.
    common: usize,
    apps: Vec<Taken>,
    n_taken: usize,
    /// What all apps have, or could take at any moment because it belongs to them.
    n_held: usize,
    /// Apps that have filled their floor and reach for the common part.
    n_sharing: usize,
}

impl Division {
    fn new(size: usize, n_apps: usize) -> Self {
        let n_apps = n_apps.max(1);
        let floor = match n_apps {
            1 => size,
            // One each at least, as long as there is anything besides.
            _ => (size / (2 * n_apps)).max(usize::from(size > n_apps)),
        };
        Self {
            size,
            floor,
            common: size.saturating_sub(floor * n_apps),
            apps: vec![Taken::default(); n_apps],
            n_taken: 0,
            n_held: floor * n_apps,
            n_sharing: 0,
        }
    }

    /// What an app has.
    fn of(&self, app: usize) -> usize {
        self.apps.get(app).map_or(0, |it| it.n)
    }

    fn is_sharing(&self, it: Taken) -> bool {
        it.can_reach && it.n > 0 && it.n >= self.floor
    }

    /// Whether an app may take one more; `reach` is how many it may have beyond its own part.
    fn has_room(&mut self, app: usize, reach: usize) -> bool {
        self.change(app, |it| it.can_reach = reach > 0);
        self.of(app) < self.most(app, reach)
    }

    /// The most that an app may have at the moment: its own part, and its due of what is common.
    fn most(&self, app: usize, reach: usize) -> usize {
        let Some(taken) = self.apps.get(app).copied() else {
            return 0;
        };
        let n_others = self.n_sharing - usize::from(self.is_sharing(taken));
        let part = (self.common / (n_others + 1)).max(1);
        // Where nothing belongs to it, it could otherwise never get its first answer.
        let reach = reach.max(usize::from(self.floor == 0));
        let n_of_others = self.n_held - self.held(taken);
        (self.floor + part.min(reach)).min(self.size.saturating_sub(n_of_others))
    }

    /// What an app has, or could take at any moment.
    fn held(&self, it: Taken) -> usize {
        it.n.max(self.floor)
    }

    fn change(&mut self, app: usize, change: impl FnOnce(&mut Taken)) {
        let Some(taken) = self.apps.get_mut(app) else {
            return;
        };
        let before = *taken;
        change(taken);
        let after = *taken;
        self.n_taken = self.n_taken + after.n - before.n;
        self.n_held = self.n_held + self.held(after) - self.held(before);
        self.n_sharing += usize::from(self.is_sharing(after));
        self.n_sharing -= usize::from(self.is_sharing(before));
    }
}

/// A lane in the eyes of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Number of the app in this process.
    pub app: usize,
    /// Its class.
    pub urgency: Urgency,
}

/// A budget of places that urgent and bulk lanes of several apps share.
#[derive(Clone, Debug)]
pub struct Budget {
    all: Division,
    bulk: Division,
    urgent_percent: u8,
}

impl Budget {
    /// `size` places of which `urgent_percent` (at least one, if there are two) are not for bulk.
    pub fn new(size: usize, urgent_percent: u8, n_apps: usize) -> Self {
        Self {
            all: Division::new(size, n_apps),
            bulk: Division::new(for_bulk(size, urgent_percent), n_apps),
            urgent_percent,
        }
    }

    /// Whether a lane may take one more; `reach` is how many its app may have beyond its own part.
    pub fn has_room(&mut self, seat: Seat, reach: usize) -> bool {
        match seat.urgency {
            Urgency::Urgent => self.all.has_room(seat.app, reach),
            Urgency::Bulk => {
                self.bulk.has_room(seat.app, reach)
                    && self.all.has_room(seat.app, reach)
                    && self.is_left_to_bulk(seat.app, reach)
            }
        }
    }

    /// Whether the bulk lane of an app leaves its urgent lane what is not for bulk.
    fn is_left_to_bulk(&self, app: usize, reach: usize) -> bool {
        let most = self.all.most(app, reach);
        self.bulk.of(app) < for_bulk(most, self.urgent_percent)
    }

    /// A lane takes one. Taken is taken, whether there was room or not.
    pub fn take(&mut self, seat: Seat) {
        self.all.change(seat.app, |it| it.n += 1);
        if seat.urgency == Urgency::Bulk {
            self.bulk.change(seat.app, |it| it.n += 1);
        }
    }

    /// A lane gives `n` back; more than it has taken is forgotten.
    pub fn give_back(&mut self, seat: Seat, n: usize) {
        self.all
            .change(seat.app, |it| it.n = it.n.saturating_sub(n));
        if seat.urgency == Urgency::Bulk {
            self.bulk
                .change(seat.app, |it| it.n = it.n.saturating_sub(n));
        }
    }

    /// How many are taken by everyone.
    pub fn taken(&self) -> usize {
        self.all.n_taken
    }
}

/// What of so many places is not for urgent lanes alone: those have one at least, if there are two.
fn for_bulk(size: usize, urgent_percent: u8) -> usize {
    let urgent = size * usize::from(urgent_percent.min(100)) / 100;
    size - urgent.max(1).min(size.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URGENT: Urgency = Urgency::Urgent;
    const BULK: Urgency = Urgency::Bulk;

    fn seat(app: usize, urgency: Urgency) -> Seat {
        Seat { app, urgency }
    }

    /// Takes as many as there are; returns how many.
    fn fill(budget: &mut Budget, seat: Seat) -> usize {
        let mut n = 0;
        while budget.has_room(seat, usize::MAX) {
            budget.take(seat);
            n += 1;
        }
        n
    }

    #[test]
    fn an_app_alone_has_everything_and_its_bulk_lane_all_but_the_urgent_share() {
        let mut budget = Budget::new(128, 25, 1);
        assert_eq!(fill(&mut budget, seat(0, BULK)), 96);
        assert_eq!(fill(&mut budget, seat(0, URGENT)), 32);
        assert_eq!(budget.taken(), 128);
    }

    #[test]
    fn an_app_that_gives_nothing_back_leaves_the_others_their_part() {
        for urgency in [URGENT, BULK] {
            let mut budget = Budget::new(128, 25, 4);
            let stuck = fill(&mut budget, seat(0, urgency));
            assert!(stuck >= 60, "{stuck}");
            for other in 1..4 {
                assert!(fill(&mut budget, seat(other, urgency)) >= 12);
            }
        }
    }

    #[test]
    fn without_answers_an_app_has_its_own_part_and_no_more() {
        let mut budget = Budget::new(128, 25, 2);
        let mut n = 0;
        while budget.has_room(seat(0, URGENT), 0) {
            budget.take(seat(0, URGENT));
            n += 1;
        }
        assert_eq!(n, 32);
        // Nor does it take a part of the rest from an app that can use it.
        assert_eq!(fill(&mut budget, seat(1, URGENT)), 96);
        budget.give_back(seat(1, URGENT), 10);
        assert!(budget.has_room(seat(0, URGENT), 1), "its provider answered");
        assert!(
            !budget.has_room(seat(1, URGENT), usize::MAX),
            "which halves the rest"
        );
    }

    #[test]
    fn apps_that_want_more_than_their_part_divide_the_rest_evenly() {
        let mut budget = Budget::new(128, 25, 2);
        let (one, two) = (seat(0, URGENT), seat(1, URGENT));
        assert_eq!(fill(&mut budget, one), 96);
        assert_eq!(fill(&mut budget, two), 32);
        // The first never answers slower than the second takes: both turn over.
        for _ in 0..500 {
            budget.give_back(one, 1);
            if budget.has_room(one, usize::MAX) {
                budget.take(one);
            }
            fill(&mut budget, two);
        }
        assert_eq!(fill(&mut budget, two), 0);
        assert_eq!((budget.all.of(0), budget.all.of(1)), (64, 64));
    }

    /// A worker whose answer is there gives its place back and takes the next one at once, before
    /// any other worker looks.
    fn turn_over(budget: &mut Budget, seat: Seat) {
        budget.give_back(seat, 1);
        if budget.has_room(seat, usize::MAX) {
            budget.take(seat);
        }
    }

    #[test]
    fn a_bulk_lane_that_is_never_without_work_leaves_its_own_app_s_urgent_lane_its_part() {
        for size in [16, 128] {
            let mut budget = Budget::new(size, 25, 2);
            let (bulk, alert, other) = (seat(0, BULK), seat(0, URGENT), seat(1, URGENT));
            fill(&mut budget, bulk);
            fill(&mut budget, other);
            // Both apps turn over, and want as much as they can get.
            for _ in 0..2 * size {
                turn_over(&mut budget, bulk);
                fill(&mut budget, bulk);
                turn_over(&mut budget, other);
                fill(&mut budget, other);
            }
            assert_eq!(fill(&mut budget, alert), size / 8, "a quarter of a half");
            assert_eq!(budget.bulk.of(0), size * 3 / 8);
            assert_eq!(budget.all.of(1), size / 2);
        }
    }

    #[test]
    fn what_another_app_holds_for_long_is_not_counted_as_what_bulk_may_have() {
        let mut budget = Budget::new(128, 25, 2);
        // Its provider answered, and then never again: it holds more than its own part.
        fill(&mut budget, seat(1, URGENT));
        assert!(!budget.has_room(seat(1, URGENT), 0));
        assert_eq!(budget.all.of(1), 96);
        assert_eq!(fill(&mut budget, seat(0, BULK)), 24);
        assert_eq!(fill(&mut budget, seat(0, URGENT)), 8);
    }

    #[test]
    fn an_app_of_more_than_there_are_places_for_begins_with_one() {
        for n_apps in [96, 100, 128, 500] {
            for urgency in [URGENT, BULK] {
                let mut budget = Budget::new(128, 25, n_apps);
                for app in 0..96 {
                    let lane = seat(app, urgency);
                    assert!(budget.has_room(lane, 0), "{n_apps} apps, app {app}");
                    budget.take(lane);
                    assert!(!budget.has_room(lane, 0), "without an answer it is one");
                }
            }
        }
    }

    #[test]
    fn a_budget_of_one_still_moves() {
        let mut budget = Budget::new(1, 25, 3);
        assert_eq!(fill(&mut budget, seat(2, BULK)), 1);
        assert_eq!(fill(&mut budget, seat(0, URGENT)), 0);
        budget.give_back(seat(2, BULK), 1);
        assert_eq!(fill(&mut budget, seat(0, URGENT)), 1);
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_a_limit(
            size in 1_usize..200,
            percent in 0_u8..=90,
            n_apps in 1_usize..6,
            events in prop::collection::vec((0_usize..6, any::<bool>(), 0_usize..4), 0..400),
        ) {
            let mut budget = Budget::new(size, percent, n_apps);
            let fresh = budget.clone();
            for (app, is_urgent, n_back) in events {
                let urgency = if is_urgent { URGENT } else { BULK };
                let lane = seat(app % n_apps, urgency);
                if n_back > 0 {
                    // A lane gives back what is its own.
                    let bulk = budget.bulk.of(lane.app);
                    let own = if is_urgent { budget.all.of(lane.app) - bulk } else { bulk };
                    budget.give_back(lane, n_back.min(own));
                } else if budget.has_room(lane, usize::MAX) {
                    budget.take(lane);
                }
                prop_assert!(budget.all.n_taken <= size);
                prop_assert!(budget.bulk.n_taken <= fresh.bulk.size);
                prop_assert_eq!(budget.all.apps.iter().map(|it| it.n).sum::<usize>(), budget.all.n_taken);
                for division in [&budget.all, &budget.bulk] {
                    let sharing = division.apps.iter().filter(|it| division.is_sharing(**it));
                    prop_assert_eq!(sharing.count(), division.n_sharing);
                }
                // Whoever has less than its part of a class always gets one more of it.
                for app in 0..n_apps {
                    if budget.all.of(app) < budget.all.floor {
                        let has_room = budget.has_room(seat(app, URGENT), 0);
                        prop_assert!(has_room);
                    }
                }
            }
            for app in 0..n_apps {
                budget.give_back(seat(app, BULK), budget.bulk.of(app));
                budget.give_back(seat(app, URGENT), budget.all.of(app));
            }
            prop_assert_eq!(budget.taken(), 0);
            prop_assert_eq!(budget.all.n_sharing, 0);
        }
    }
}
