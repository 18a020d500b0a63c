//! What receipts say by themselves, counted.

use super::*;
use crate::story::tally::{OTHER, Tally};

#[test]
fn each_device_is_counted_by_its_last_word() {
    let first = Receipt {
        lines: vec![
            line("a", Mark::Later, Some("500")),
            line("b", Mark::Dropped, Some("unsubscribed")),
        ],
        ..begun()
    };
    let tally = Tally::of_task(
        &[
            begun(),
            first.clone(),
            ended(vec![
                line("a", Mark::Accepted, None),
                line("c", Mark::Refused, Some("PayloadTooLarge")),
                line("d", Mark::Refused, None),
            ]),
        ],
        true,
    );
    let counts = [Mark::Accepted, Mark::Later, Mark::Dropped, Mark::Refused];
    assert_eq!(counts.map(|it| tally.n(it)), [1, 0, 1, 2]);
    assert_eq!((tally.owed(), tally.repeated), (Some(4), 0));
    let reasons: Vec<_> = tally.reasons().collect();
    let expected = [
        ("dropped", "unsubscribed", 1),
        ("refused", "PayloadTooLarge", 1),
        ("refused", OTHER, 1),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(tally.accepted_at, Some((at(2), at(2))));

    let open = Tally::of_task(&[begun(), first], true);
    assert_eq!((open.n(Mark::Later), open.owed()), (1, None));
    assert!(!open.is_finished());
}

#[test]
fn who_was_accepted_stays_accepted_and_once_more_is_a_repeat() {
    let receipts = [
        begun(),
        ended(vec![line("a", Mark::Accepted, None)]),
        ended(vec![
            line("a", Mark::Refused, Some("x")),
            line("a", Mark::Accepted, None),
        ]),
    ];
    let tally = Tally::of_task(&receipts, true);
    assert_eq!((tally.n(Mark::Accepted), tally.n(Mark::Refused)), (1, 0));
    assert_eq!((tally.repeated, tally.n_named()), (1, 1));
}

#[test]
fn nobody_says_how_many_a_task_that_was_closed_would_have_had() {
    let closed = Receipt {
        rest: Some(Mark::Expired),
        ..ended(vec![line("a", Mark::Accepted, None)])
    };
    let tally = Tally::of_task(&[begun(), closed], true);
    assert!(tally.is_finished());
    assert_eq!(
        (tally.owed(), tally.closed.get("expired")),
        (None, Some(&1))
    );
}

#[test]
fn an_intent_without_a_word_is_unclear_when_the_task_is_over() {
    let unsaid = Receipt {
        intended: [id("a").hash(), id("b").hash()].into(),
        ..ended(vec![line("a", Mark::Accepted, None)])
    };
    let tally = Tally::of_task(&[begun(), unsaid], true);
    assert_eq!((tally.n(Mark::Unclear), tally.owed()), (1, Some(2)));
}

#[test]
fn tasks_are_added_up_and_what_was_not_read_is_not_known() {
    let mut all = Tally::default();
    assert_eq!(all.owed(), Some(0));
    all.add(Tally::of_task(&[], true));
    assert_eq!((all.owed(), all.begun_at), (None, None));
    all.add(Tally::of_task(
        &[begun(), ended(vec![line("a", Mark::Accepted, None)])],
        true,
    ));
    assert_eq!((all.n_tasks, all.n_begun, all.n_finished), (2, 1, 1));
    assert_eq!((all.begun_at, all.n(Mark::Accepted)), (Some(at(1)), 1));
    let cut = Tally::of_task(&[begun(), ended(Vec::new())], false);
    assert!(!cut.is_finished() && cut.owed().is_none());
    all.add(cut);
    assert!(!all.is_whole);
}

#[test]
fn reasons_beyond_the_first_32_are_counted_together() {
    let lines = (0..40).map(|n| line(&format!("d{n}"), Mark::Refused, Some(&format!("r{n}"))));
    let tally = Tally::of_task(&[begun(), ended(lines.collect())], true);
    let reasons: Vec<_> = tally.reasons().collect();
    assert_eq!(reasons.len(), 33);
    assert_eq!(reasons.iter().map(|it| it.2).sum::<u64>(), 40);
    assert!(reasons.contains(&("refused", OTHER, 8)), "{reasons:?}");
}
