//! One event and one device.

use std::collections::BTreeMap;

use serde_json::json;

use super::{PLANNED, at, begun, device, ended, event, id, lane, line, plan, subscription};
use crate::device::{Device, Subscription};
use crate::feed::Change;
use crate::level::Level;
use crate::plan::HashRange;
use crate::receipt::{Later, Mark, Receipt};
use crate::story::census::Draft;
use crate::story::read::{Document, StoredEvent};
use crate::story::unplanned::Absence;
use crate::story::why::{Case, Chain, Ending, TokenStory, why};

fn case(document: Document, receipts: Vec<Receipt>) -> Case {
    Case {
        device: id("a"),
        document,
        stored: StoredEvent {
            seq: 1,
            at: at(0),
            event: event(&["all"], json!({"mag": 4.6})),
        },
        plan: Some(plan()),
        absence: None,
        chains: vec![Chain {
            lane: lane(),
            n: HashRange::new(0, 0).unwrap().index(),
            n_tasks: 1,
            receipts: (5..).zip(receipts).collect(),
        }],
        letters: Vec::new(),
        levels: vec![Level::Step(4.5), Level::Step(6.0)],
    }
}

fn stands(revision: u64, subscriptions: Vec<Subscription>) -> Document {
    let device = Device {
        subscriptions,
        ..device("token-a", &[])
    };
    Document::Stands {
        revision,
        at: at(0),
        device: Box::new(device),
    }
}

fn follows_all() -> Document {
    stands(1, vec![subscription("all", json!([]))])
}

fn removed() -> Document {
    Document::Removed {
        revision: PLANNED + 5,
        at: at(9),
    }
}

#[track_caller]
fn check_why(case: &Case, word: &str, sentence: &str) {
    let why = why(case);
    assert_eq!(why.ending.word(), word, "{why:?}");
    let told = why.ending.sentence();
    assert!(told.contains(sentence), "{told}");
}

#[test]
fn why_tells_what_the_receipts_say() {
    let told = |mark, reason| {
        case(
            follows_all(),
            vec![begun(), ended(vec![line("a", mark, reason)])],
        )
    };
    check_why(&told(Mark::Accepted, None), "delivered", "attempt 1");
    check_why(&told(Mark::Expired, None), "expired", "had expired");
    check_why(&told(Mark::Superseded, None), "superseded", "level s6");
    check_why(
        &told(Mark::Dropped, Some("unsubscribed")),
        "dropped",
        "followed the event no longer",
    );
    check_why(
        &told(Mark::Refused, Some("BadTopic")),
        "refused",
        "(BadTopic)",
    );
    check_why(&told(Mark::Unclear, None), "unclear", "the answer was lost");
}

#[test]
fn why_tells_a_dead_token_and_that_it_was_removed() {
    let line = line("a", Mark::Unregistered, Some("Unregistered"));
    let case = case(removed(), vec![begun(), ended(vec![line])]);
    check_why(
        &case,
        "unregistered",
        "knows the token no more (Unregistered)",
    );
    assert_eq!(why(&case).token, Some(TokenStory::Retired));
}

#[test]
fn why_tells_when_a_device_that_waits_is_due() {
    let mut waiting = ended(vec![line("a", Mark::Later, Some("unavailable"))]);
    let (attempts, due) = (1, at(60));
    waiting.later = BTreeMap::from([(id("a").hash(), Later { attempts, due })]);
    let case = case(follows_all(), vec![begun(), waiting]);
    check_why(&case, "waiting", "attempt 1 came to nothing");
    let why = why(&case);
    assert_eq!(why.ending, Ending::Waiting(Later { attempts, due }));
    assert_eq!(why.attempts.len(), 1);
}

#[test]
fn why_tells_which_filter_or_that_no_pattern_matches() {
    let filter = json!([{"field": "mag", "min": 5}]);
    let filtered = case(stands(1, vec![subscription("all", filter)]), vec![begun()]);
    check_why(
        &filtered,
        "filtered_out",
        "its filter does not let the event through",
    );
    let condition = &why(&filtered).opinions[0].conditions[0];
    assert_eq!(condition.text, "mag at least 5");
    assert_eq!(condition.found, "the event's mag is 4.6");
    let other = case(
        stands(1, vec![subscription("other", json!([]))]),
        vec![begun()],
    );
    check_why(&other, "not_subscribed", "no pattern");
    let left = case(
        stands(PLANNED + 1, Vec::new()),
        vec![begun(), ended(Vec::new())],
    );
    check_why(
        &left,
        "not_subscribed",
        "changed what it follows after the event was planned",
    );
}

#[test]
fn why_tells_of_a_device_that_no_receipt_names() {
    let closed = |mark| Receipt {
        rest: Some(mark),
        at: at(3600),
        ..ended(Vec::new())
    };
    check_why(
        &case(follows_all(), vec![]),
        "to_come",
        "no notifier has taken",
    );
    check_why(
        &case(follows_all(), vec![begun()]),
        "to_come",
        "is being sent",
    );
    check_why(
        &case(follows_all(), vec![begun(), closed(Mark::Expired)]),
        "expired",
        "expired",
    );
    check_why(
        &case(follows_all(), vec![begun(), closed(Mark::Dead)]),
        "poison",
        "given up",
    );
    check_why(
        &case(follows_all(), vec![begun(), ended(vec![])]),
        "lost",
        "Lost",
    );
    check_why(
        &case(removed(), vec![begun(), ended(vec![])]),
        "removed",
        "removed before",
    );
    let late = stands(PLANNED + 1, vec![subscription("all", json!([]))]);
    check_why(
        &case(late, vec![begun(), ended(vec![])]),
        "changed_after_plan",
        "after the event",
    );
    let mut unplanned = case(follows_all(), vec![]);
    unplanned.plan = None;
    unplanned.absence = Some(Absence::Superseded(Level::Step(6.0)));
    check_why(&unplanned, "superseded", "level s6");
}

#[test]
fn a_device_that_waits_for_a_confirmation_is_owed_its_challenge_alone() {
    let nonce = crate::key::NewSecret::nonce().hash();
    let waiting = || device("token-a", &["all"]).waiting(nonce, at(0), at(600));
    let mut draft = Draft::default();
    draft.note(&Change::Put(id("b"), Box::new(device("token-a", &[]))), 1);
    draft.note(&Change::Put(id("a"), Box::new(waiting())), 2);
    let census = draft.sealed();
    let hers = crate::Topic::of_user("ada").to_string();
    for (topic, owed) in [
        ("all", &[][..]),
        ("fanfare.device.a", &[]),
        (hers.as_str(), &["b"]),
        ("fanfare.challenge.a", &["a"]),
        ("fanfare.challenge.b", &[]),
    ] {
        let event = event(&[topic], json!({}));
        let debts = census.debts(&event, PLANNED);
        let ids: Vec<_> = debts.owed.iter().map(|it| census.id(it.place)).collect();
        assert_eq!(ids, owed, "{topic}");
        let document = Document::Stands {
            revision: 2,
            at: at(0),
            device: Box::new(waiting()),
        };
        let mut case = case(document, vec![begun(), ended(Vec::new())]);
        case.stored.event = event;
        let is_owed = owed == ["a"];
        assert_eq!(why(&case).ending == Ending::Lost, is_owed, "{topic}");
    }
}
