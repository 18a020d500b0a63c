//! Who was owed, and what a receipt's word is worth.

use super::*;
use proptest::prelude::*;

#[test]
fn whom_a_reserved_topic_names_is_owed() {
    let census = usual();
    let one = event(&["fanfare.device.x"], json!({}));
    let owed = census.debts(&one, PLANNED).owed;
    assert_eq!(owed.len(), 1);
    assert_eq!(census.id(owed[0].place), "x");
    let user = Topic::of_user("ada").as_str().to_owned();
    assert_eq!(
        census
            .debts(&event(&[&user], json!({})), PLANNED)
            .owed
            .len(),
        4
    );
}

#[test]
fn a_document_that_changed_since_is_counted_and_not_judged() {
    let mut draft = Draft::default();
    for (name, revision) in [("a", 1), ("b", PLANNED), ("c", PLANNED + 1)] {
        let device = device(&format!("token-{name}"), &["all"]);
        draft.note(&Change::Put(id(name), Box::new(device)), revision);
    }
    draft.note(&Change::Removed(id("d")), PLANNED + 2);
    draft.note(&Change::Removed(id("e")), 5);
    let debts = draft.sealed().debts(&event(&["all"], json!({})), PLANNED);
    assert_eq!(debts.owed.len(), 2);
    assert_eq!((debts.n_judged, debts.n_changed), (2, 2));
}

#[test]
fn a_token_is_owed_to_the_document_that_had_it_last() {
    let mut draft = Draft::default();
    for (name, revision) in [("old", 1), ("new", 2)] {
        draft.note(
            &Change::Put(id(name), Box::new(device("same", &["all"]))),
            revision,
        );
    }
    let census = draft.sealed();
    let owed = census.debts(&event(&["all"], json!({})), PLANNED).owed;
    assert_eq!(owed.len(), 1);
    assert_eq!(census.id(owed[0].place), "new");
}

#[test]
fn a_token_is_not_owed_to_another_user_who_has_not_confirmed_it() {
    let of = |user: &str, is_proven| Device {
        user: Some(user.to_owned()),
        holding: crate::device::Holding {
            since: None,
            is_proven,
        },
        ..device("same", &["all"])
    };
    let owed = |is_proven, his_revision| {
        let mut draft = Draft::default();
        let (hers, his) = (of("ada", false), of("bob", is_proven));
        draft.note(&Change::Put(id("his"), Box::new(his)), his_revision);
        draft.note(&Change::Put(id("hers"), Box::new(hers)), 1);
        let census = draft.sealed();
        let debts = census.debts(&event(&["all"], json!({})), PLANNED);
        let owed = debts.owed.into_iter();
        let owed = owed.map(|it| (census.id(it.place).to_owned(), it.is_shared));
        owed.collect::<Vec<_>>()
    };
    assert_eq!(owed(false, 2), [("hers".to_owned(), false)]);
    assert_eq!(owed(true, 2), [("his".to_owned(), false)]);
    // What is confirmed after the plan was hers in part.
    assert_eq!(owed(true, PLANNED + 1), [("hers".to_owned(), true)]);
}

#[test]
fn what_was_delivered_adds_up() {
    let judged = judge(&usual(), vec![begun(), ended(accepted(&["a", "b", "c"]))]);
    assert!(judged.adds_up(), "{judged:?}");
    assert_eq!((judged.sums.owed, judged.sums.accepted), (3, 3));
    assert_eq!(judged.sums.take_overs, 0);
}

#[test]
fn a_finished_task_that_never_names_a_device_has_lost_it() {
    let judged = judge(&usual(), vec![begun(), ended(accepted(&["a", "c"]))]);
    assert!(!judged.adds_up());
    assert_eq!(judged.sums.lost, 1);
    assert_eq!(found(&judged), [(What::Lost, "b")]);
}

#[test]
fn a_walk_that_goes_past_a_device_without_a_word_has_suppressed_it() {
    let census = usual();
    let mut hashes = ["a", "b", "c"].map(|it| (id(it).hash(), it));
    hashes.sort_unstable();
    let passing = Receipt {
        low: Some(DeviceHash(hashes[0].0.0 + 1)),
        ..begun()
    };
    let judged = judge(&census, vec![begun(), passing]);
    assert_eq!((judged.sums.suppressed, judged.sums.pending), (1, 2));
    assert_eq!(found(&judged), [(What::PassedOver, hashes[0].1)]);
}

#[test]
fn a_plan_without_a_task_for_an_app_has_suppressed_its_devices() {
    let (census, event) = (usual(), event(&["all"], json!({})));
    let plan = Plan {
        lanes: BTreeMap::new(),
        ..plan()
    };
    let judged = Audit::new(&census, &event, &plan, WINDOW).finish(&event.level, &[], at(10));
    assert_eq!(judged.sums.suppressed, 3);
    assert!(judged.findings.iter().all(|it| it.what == What::NoTask));
}

#[track_caller]
fn check_word(mark: Mark, reason: Option<&str>, levels: &[Level], expected: Option<What>) {
    let mut lines = accepted(&["a", "c"]);
    lines.push(line("b", mark, reason));
    let judged = judge_with(&usual(), vec![begun(), ended(lines)], levels);
    let what = judged.findings.first().map(|it| it.what);
    assert_eq!(what, expected, "{judged:?}");
}

#[test]
fn a_reason_that_the_streams_contradict_is_a_suppression() {
    let (low, high) = ([Level::Step(4.5)], [Level::Step(4.5), Level::Step(6.0)]);
    check_word(
        Mark::Dropped,
        Some("unsubscribed"),
        &low,
        Some(What::NotUnsubscribed),
    );
    check_word(
        Mark::Dropped,
        Some("gone"),
        &low,
        Some(What::NotUnsubscribed),
    );
    check_word(Mark::Dropped, Some("token_lost"), &low, None);
    check_word(Mark::Expired, None, &low, Some(What::NotExpired));
    check_word(Mark::Expired, Some("retry would come too late"), &low, None);
    check_word(Mark::Superseded, None, &low, Some(What::NotSuperseded));
    check_word(Mark::Superseded, None, &high, None);
    check_word(Mark::Refused, Some("BadTopic"), &low, None);
    check_word(Mark::Unregistered, Some("Unregistered"), &low, None);
}

#[test]
fn everyone_without_a_turn_gets_what_the_task_was_closed_with() {
    let mut hashes = ["a", "b", "c"].map(|it| (id(it).hash(), it));
    hashes.sort_unstable();
    let walked = Receipt {
        low: Some(hashes[1].0),
        lines: accepted(&[hashes[0].1]),
        ..begun()
    };
    let closed = Receipt {
        rest: Some(Mark::Expired),
        at: at(3600),
        ..ended(Vec::new())
    };
    let judged = judge(&usual(), vec![begun(), walked, closed.clone()]);
    assert!(judged.adds_up(), "{judged:?}");
    assert_eq!((judged.sums.accepted, judged.sums.expired), (1, 2));
    let too_early = Receipt {
        at: at(5),
        ..closed
    };
    let judged = judge(&usual(), vec![begun(), too_early]);
    assert_eq!(judged.sums.suppressed, 3);
}

#[test]
fn a_task_that_was_given_up_is_in_the_dead_letters() {
    let closed = Receipt {
        rest: Some(Mark::Dead),
        ..ended(Vec::new())
    };
    let judged = judge(&usual(), vec![begun(), closed]);
    assert!(judged.adds_up());
    assert_eq!((judged.sums.poison, judged.sums.dead()), (3, 3));
}

#[test]
fn an_intent_whose_outcome_nobody_knows_is_unclear() {
    let mut receipt = ended(accepted(&["a", "c"]));
    receipt.intended = [id("b").hash()].into();
    let judged = judge(&usual(), vec![begun(), receipt]);
    assert!(judged.adds_up(), "{judged:?}");
    assert_eq!(judged.sums.unclear, 1);
}

#[test]
fn what_waits_or_has_not_begun_is_pending_until_long_after_the_expiry() {
    let mut waiting = ended(accepted(&["a", "b"]));
    waiting
        .lines
        .push(line("c", Mark::Later, Some("unavailable")));
    let (attempts, due) = (1, at(60));
    waiting.later = BTreeMap::from([(id("c").hash(), Later { attempts, due })]);
    for receipts in [vec![], vec![begun()], vec![begun(), waiting]] {
        let judged = judge(&usual(), receipts);
        assert!(judged.adds_up() && judged.sums.pending > 0, "{judged:?}");
    }
    let (census, event, plan) = (usual(), event(&["all"], json!({})), plan());
    let late = at(3600) + SignedDuration::from_mins(61);
    let judged = Audit::new(&census, &event, &plan, WINDOW).finish(&event.level, &[], late);
    assert!(judged.is_overdue && !judged.adds_up());
}

#[test]
fn a_push_that_nobody_asked_for_is_found_and_one_of_a_changed_document_is_not_judged() {
    let census = census(&[("a", 1), ("x", 4), ("e", PLANNED + 1)]);
    let judged = judge(
        &census,
        vec![begun(), ended(accepted(&["a", "x", "e", "gone"]))],
    );
    assert_eq!(found(&judged), [(What::Unasked, "x")]);
    assert_eq!(
        (judged.sums.unasked, judged.sums.not_judged_accepted),
        (1, 2)
    );
    assert!(!judged.adds_up());
}

#[test]
fn acceptances_beyond_the_first_are_repeats_as_recorded() {
    let mut lines = accepted(&["a", "b", "c", "b"]);
    lines.push(line("b", Mark::Accepted, None));
    let judged = judge(&usual(), vec![begun(), ended(lines)]);
    assert_eq!((judged.sums.accepted, judged.sums.repeated), (3, 2));
    assert_eq!(found(&judged), [(What::Repeated, "b")]);
    assert!(!judged.adds_up());
}

#[test]
fn a_take_over_is_counted_with_the_most_that_it_can_have_repeated() {
    let second = Receipt {
        claim: claim(1, 2),
        ..begun()
    };
    let end = Receipt {
        claim: claim(1, 2),
        ..ended(accepted(&["a", "b", "c"]))
    };
    let judged = judge(&usual(), vec![begun(), second, end]);
    assert_eq!((judged.sums.take_overs, judged.sums.repeats_bound), (1, 3));
}

#[test]
fn a_replay_opens_a_task_again_that_was_given_up() {
    let closed = Receipt {
        rest: Some(Mark::Dead),
        ..ended(Vec::new())
    };
    let replay = Receipt {
        claim: claim(3, 0),
        ..begun()
    };
    let judged = judge(&usual(), vec![begun(), closed.clone(), replay.clone()]);
    assert_eq!((judged.sums.pending, judged.sums.poison), (3, 0));
    let end = Receipt {
        claim: claim(4, 1),
        ..ended(accepted(&["a", "b", "c"]))
    };
    let judged = judge(&usual(), vec![begun(), closed, replay, end]);
    assert!(judged.adds_up(), "{judged:?}");
    assert_eq!((judged.sums.accepted, judged.sums.take_overs), (3, 0));
}

#[track_caller]
fn check_take_over(before: &Receipt, after: Claim, expected: bool) {
    let after = Receipt {
        claim: after,
        ..begun()
    };
    assert_eq!(is_take_over(before, &after), expected);
}

#[test]
fn the_next_pass_of_a_walked_task_is_no_take_over() {
    let mut walked = ended(Vec::new());
    let (attempts, due) = (1, at(60));
    walked.later = BTreeMap::from([(id("a").hash(), Later { attempts, due })]);
    check_take_over(&walked, claim(2, 1), false);
    check_take_over(&walked, claim(1, 2), true);
    check_take_over(&begun(), claim(2, 1), true);
    check_take_over(&begun(), claim(1, 1), false);
    check_take_over(&ended(Vec::new()), claim(1, 2), false);
}

proptest! {
    // Whatever the receipts say, every debt is in exactly one part of the sums.
    #[test]
    fn the_parts_always_add_up_to_what_was_owed(
        cuts in prop::collection::vec((0_u8..6, any::<bool>(), 0_u8..9), 0..6),
    ) {
        let census = census(&[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 500)]);
        let marks = [
            Mark::Accepted, Mark::Unregistered, Mark::Refused, Mark::Later, Mark::Expired,
            Mark::Superseded, Mark::Dropped, Mark::Unclear, Mark::Dead,
        ];
        let names = ["a", "b", "c", "d", "e", "x"];
        let receipts = cuts.iter().map(|(who, ends, mark)| {
            let name = names[usize::from(*who)];
            let mut receipt = ended(vec![line(name, marks[usize::from(*mark)], None)]);
            if !ends {
                receipt.low = Some(id(name).hash());
            }
            receipt
        });
        let judged = judge(&census, receipts.collect());
        prop_assert_eq!(judged.sums.owed, 4);
    }
}
