//! Each rule, broken on purpose: the exploration must notice, by the invariant that the rule keeps.

use super::Invariant;
use super::exhaustive::{Order, explore};
use super::random;
use super::setup::Setup;
use crate::machine::mutant::Mutant;

/// Explores a small world under a broken rule.
#[track_caller]
fn check(mutant: Mutant, setup: Setup, expected: Invariant) {
    let setup = Setup {
        mutant: Some(mutant),
        ..setup
    };
    let explored = explore(setup, Order::Nearest);
    let Some((invariant, trace)) = explored.broken else {
        panic!("{mutant:?} broke nothing in {} states", explored.n_states);
    };
    println!(
        "{mutant:?}: {invariant:?} after {} steps, {} states",
        trace.len(),
        explored.n_states
    );
    assert_eq!(invariant, expected, "{trace:#?}");
}

fn at_most_once(setup: Setup) -> Setup {
    Setup {
        is_at_most_once: true,
        ..setup
    }
}

/// Where nobody sees from a receipt that somebody is at work: then the fence alone decides.
fn apart(setup: Setup) -> Setup {
    Setup {
        clocks_agree: false,
        ..setup
    }
}

#[test]
fn equal_claims_accepted() {
    let setup = Setup::small(4, 1);
    check(Mutant::EqualClaims, setup, Invariant::OnlyOwnerRecords);
}

#[test]
fn no_claim_fence() {
    let setup = Setup::small(4, 1);
    check(Mutant::NoClaimFence, setup, Invariant::OnlyOwnerRecords);
}

/// What the fence is for: without it a late delivery takes the task from the one after it, and
/// each of them repeats what the other had under way.
#[test]
fn without_the_fence_one_fault_repeats_more_than_a_window() {
    for mutant in [Mutant::NoClaimFence, Mutant::EqualClaims] {
        let setup = Setup {
            watches: Some(Invariant::RepeatsWithinWindow),
            ..apart(Setup::small(4, 1))
        };
        check(mutant, setup, Invariant::RepeatsWithinWindow);
    }
}

#[test]
fn no_window() {
    let setup = Setup::small(4, 1);
    check(Mutant::NoWindow, setup, Invariant::RepeatsWithinWindow);
}

#[test]
fn a_blind_write_instead_of_compare_and_set() {
    let setup = Setup::small(3, 1);
    check(Mutant::BlindWrite, setup, Invariant::OnlyOwnerRecords);
}

#[test]
fn a_receipt_before_the_outcome() {
    let setup = Setup::small(3, 1);
    check(
        Mutant::ReceiptBeforeOutcome,
        setup,
        Invariant::RecordsAreTrue,
    );
}

#[test]
fn the_highest_completed_device_as_cursor() {
    let setup = Setup::small(3, 1);
    check(Mutant::HighestCompleted, setup, Invariant::NothingLost);
}

#[test]
fn a_task_acknowledged_when_its_claim_is_recorded() {
    let setup = Setup::small(2, 1);
    check(Mutant::AckOnReceipt, setup, Invariant::NothingLost);
}

#[test]
fn a_task_acknowledged_before_its_wake_up_is_stored() {
    let setup = Setup::small(2, 1);
    check(Mutant::AckBeforeWakeUp, setup, Invariant::WakeUpSurvives);
}

#[test]
fn waiting_devices_served_although_their_alarm_may_be_set() {
    let setup = Setup::small(2, 1);
    check(
        Mutant::AlarmForgotten,
        setup,
        Invariant::RepeatsWithinWindow,
    );
}

#[test]
fn two_messages_of_one_pass_taken_for_one() {
    let setup = apart(Setup::small(2, 1));
    check(Mutant::AnyMessage, setup, Invariant::RepeatsWithinWindow);
}

#[test]
fn a_task_taken_although_its_worker_lives() {
    let setup = Setup::small(3, 1);
    check(
        Mutant::FreshClaimTaken,
        setup,
        Invariant::RepeatsWithinWindow,
    );
}

#[test]
fn a_freeze_unnoticed() {
    // One life in about eight thousand shows it; the search begins a little before one.
    let broken = (45_000..125_000).find_map(|seed| {
        let setup = Setup {
            mutant: Some(Mutant::FreezeUnnoticed),
            is_at_most_once: false,
            ..random::freezing(seed)
        };
        random::live(seed, setup).broken
    });
    assert_eq!(broken, Some(Invariant::RepeatsWithinWindow));
}

#[test]
fn at_most_once_the_intent_recorded_with_the_outcome() {
    let setup = at_most_once(Setup::small(2, 1));
    check(
        Mutant::IntentAfterRequest,
        setup,
        Invariant::AtMostOnceNeverTwice,
    );
}

#[test]
fn poison_told_by_the_delivery_count() {
    check_lives(
        Mutant::PoisonByDeliveryCount,
        Invariant::NothingPoisonedByFaults,
    );
}

#[test]
fn an_event_acknowledged_before_its_tasks_are_stored() {
    let setup = Setup::planning(1);
    check(
        Mutant::EventAckedBeforeTasks,
        setup,
        Invariant::PlansAreWhole,
    );
}

#[test]
fn a_found_plan_cut_another_way() {
    check(
        Mutant::OtherCut,
        Setup::planning(1),
        Invariant::OneCutPerEvent,
    );
}

#[test]
fn a_task_handed_back_without_a_word() {
    check_lives(Mutant::NoWordAtHandBack, Invariant::NothingPoisonedByFaults);
}

/// Lives long lives under a broken rule, without a fault, until one of them notices.
#[track_caller]
fn check_lives(mutant: Mutant, expected: Invariant) {
    let broken = (0..400).find_map(|seed| {
        let setup = Setup {
            mutant: Some(mutant),
            faults: 0,
            ..random::setup(seed)
        };
        let life = random::live(seed, setup);
        life.broken.map(|it| (seed, it, life.n_steps))
    });
    println!("{mutant:?}: {broken:?} (seed, invariant, steps)");
    assert_eq!(broken.map(|(_, it, _)| it), Some(expected));
}
