//! Whose a token is, where one waits for a confirmation or should.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::device::Holding;
use crate::topic::Topic;

/// A document whose token is another user's, as it is stored while it waits.
fn pending(token: &str, user: &str) -> Device {
    let asked = document("ios", token, Some(user), &[("news.it", 9), (">", 9)]);
    let nonce = crate::key::NewSecret::nonce().hash();
    asked.waiting(nonce, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
}

#[test]
fn a_pending_device_gets_its_challenge_and_nothing_else_and_takes_no_token() {
    let token = TOKENS[0];
    let app = AppName::parse("ios").unwrap();
    let mut index = Index::default();
    index.put(
        &id("a"),
        &document("ios", token, Some("ada"), &[(">", 9)]),
        1,
    );
    index.put(&id("b"), &pending(token, "bob"), 2);
    let is_free = |index: &Index, name: &str, user: &str| {
        !index.must_be_confirmed(&id(name), &document("ios", token, Some(user), &[]))
    };
    assert!(is_free(&index, "a", "ada") && !is_free(&index, "b", "bob"));
    assert_eq!(index.devices_of("bob"), [id("b")]);
    assert!(index.contested(9).is_empty());

    let news = Topic::parse("news.it").unwrap();
    let all = event(
        &[news, Topic::of_user("bob"), Topic::of_device(&id("b"))],
        json!({}),
    );
    let reached = |index: &Index, event: &Event| {
        let interest = index.interest(event);
        let counted: u64 = index.count(&interest).iter().map(|it| it.1).sum();
        let whole = HashRange::new(0, 0).unwrap();
        let steps = index.walk(&interest, &app, whole, DeviceHash(0), 10);
        let targets = steps
            .into_iter()
            .map(|it| index.target(&interest, &app, it, 9));
        let ids: Vec<String> = targets.filter_map(Result::ok).map(|it| it.id).collect();
        assert_eq!(usize::try_from(counted).unwrap(), ids.len());
        ids
    };
    assert_eq!(reached(&index, &all), ["a"]);
    let step = Step::to(id("b").hash());
    let refused = index.target(&index.interest(&all), &app, step, 9);
    assert_eq!(refused, Err(Dropped::Unsubscribed));
    let challenge = event(&[Topic::of_challenge(&id("b"))], json!({}));
    assert_eq!(reached(&index, &challenge), ["b"]);
    let target = index.target(&index.interest(&challenge), &app, step, 9);
    assert_eq!(target.unwrap().token, token);
    // Whose token is its own is not reached by a challenge.
    let other = event(&[Topic::of_challenge(&id("a"))], json!({}));
    assert_eq!(reached(&index, &other), [""; 0]);

    index.put(&id("b"), &pending(token, "bob").as_asked(), 3);
    let confirmed = pending(token, "bob").as_asked();
    assert!(!is_free(&index, "a", "ada"));
    assert!(!index.must_be_confirmed(&id("b"), &confirmed));
    assert_eq!(reached(&index, &all), ["b"]);
    assert_eq!(reached(&index, &challenge), [""; 0]);
    // Back to where it waits: the token falls to the one before.
    index.put(&id("b"), &pending(token, "bob"), 4);
    assert!(is_free(&index, "a", "ada") && !is_free(&index, "b", "bob"));
    index.remove(&id("b"), 5);
    index.remove(&id("a"), 6);
    assert!(is_free(&index, "b", "bob") && index.is_empty());
    assert_eq!(index.devices_of("bob"), []);
    assert!(index.pending.is_empty() && index.lost.is_empty());
}

/// Another API took it in, which had not seen yet whose the token was; or none asked.
#[test]
fn a_document_with_anothers_token_that_nobody_challenged_takes_nothing_and_is_named() {
    let app = AppName::parse("ios").unwrap();
    let of = |user: &str| document("ios", TOKENS[0], Some(user), &[(">", 9)]);
    let mut index = Index::default();
    index.put(&id("a"), &of("ada"), 1);
    index.put(&id("b"), &of("bob"), 2);
    index.put(&id("acme=a"), &of("acme\u{1f}ada"), 3);
    let reached = |index: &Index| {
        let interest = index.interest(&events()[0]);
        let target = |it: &str| index.target(&interest, &app, Step::to(id(it).hash()), 99);
        ["a", "b", "acme=a"].map(|it| target(it).is_ok())
    };
    let contested = |index: &Index| {
        let mut ids = index.contested(9);
        ids.sort();
        ids
    };
    assert_eq!(contested(&index), [id("acme=a"), id("b")]);
    assert_eq!(reached(&index), [true, false, false]);
    // Her app writes again, and the index is loaded anew: nothing depends on what came first.
    let since = Holding::default().at(1);
    let again = Device {
        holding: since,
        ..of("ada")
    };
    let mut anew = Index::default();
    for it in [&mut index, &mut anew] {
        it.put(&id("b"), &of("bob"), 2);
        it.put(&id("a"), &again, 4);
        assert_eq!(reached(it), [true, false, false]);
    }
    assert_eq!(contested(&anew), [id("b")]);
    index.remove(&id("a"), 5);
    assert_eq!(reached(&index), [false, true, false]);
    assert_eq!(contested(&index), [id("acme=a")]);
}
