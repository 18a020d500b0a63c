//! Events without a plan.

use super::at;
use crate::level::Level;
use crate::story::unplanned::{Absence, Unplanned};

#[track_caller]
fn check_absence(change: impl Fn(&mut Unplanned<'_>), now: i64, expected: &Absence) {
    let levels = [Level::Step(4.5), Level::Step(6.0)];
    let mut unplanned = Unplanned {
        seq: 7,
        stored_at: at(0),
        expires_at: at(60),
        level: &levels[0],
        levels: &levels[..1],
        settled_up_to: 6,
        plans_kept: Some(std::time::Duration::from_hours(48)),
    };
    change(&mut unplanned);
    assert_eq!(unplanned.absence(at(now)), *expected);
}

#[test]
fn an_event_without_a_plan_is_explained_or_waits_or_is_lost() {
    check_absence(|_| {}, 10, &Absence::Waiting);
    check_absence(|it| it.settled_up_to = 7, 10, &Absence::Lost);
    check_absence(|it| it.settled_up_to = 7, 60, &Absence::Expired);
    check_absence(|_| {}, 49 * 3600, &Absence::Forgotten);
    let levels = [Level::Step(4.5), Level::Step(6.0)];
    let stands = Absence::Superseded(Level::Step(6.0));
    let mut unplanned = Unplanned {
        seq: 7,
        stored_at: at(0),
        expires_at: at(60),
        level: &levels[0],
        levels: &levels,
        settled_up_to: 7,
        plans_kept: None,
    };
    assert_eq!(unplanned.absence(at(10)), stands);
    unplanned.levels = &levels[..1];
    assert_eq!(unplanned.absence(at(10)), Absence::Lost);
}
