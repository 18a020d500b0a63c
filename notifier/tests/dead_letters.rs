//! Dead letters from a provider's refusal to the replay that is accepted, judged by the provider's
//! ledger alone.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "support functions of tests"
)]

#[path = "dead_letters/stage.rs"]
mod stage;

use fanfare_nats::bucket::Expect;
use fanfare_nats::dead::{Case, DeadLetter, DeadReason, Done};
use fanfare_nats::plan::{HashRange, Lane};
use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::testing::eventually;
use fanfare_nats::{Broker, DeviceHash, Task};
use fanfare_sim::script::{Answer, RetryAfter, Rule, Scope};
use jiff::{Timestamp, ToSpan};

use crate::stage::{World, device, hash, now, token};

fn refusing(token: Option<String>) -> Rule {
    Rule {
        token,
        ..Rule::new(Answer::Reason {
            status: 400,
            reason: "PayloadEmpty".to_owned(),
            retry_after: None,
        })
    }
}

fn is_replayed(done: &Done) -> bool {
    matches!(done, Done::Replayed(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_pushes_are_accepted_once_when_they_are_replayed_however_often() {
    let world = World::start(60).await;
    let rule = Rule {
        token_share: 0.5,
        ..refusing(None)
    };
    world.sim.add_rule(rule);
    let event = world.publish("us1").await;
    eventually(async || world.accepted().len() + world.letters().await.len() == 60).await;
    let letters = world.letters().await;
    assert!((10..50).contains(&letters.len()), "void: {}", letters.len());
    for letter in &letters {
        assert_eq!(letter.reason, DeadReason::Refused);
        assert_eq!(
            (letter.event.as_str(), letter.attempts),
            (event.id().as_str(), 1)
        );
        assert_eq!(
            (letter.error.as_str(), letter.node.as_str()),
            ("PayloadEmpty", "n1")
        );
        assert_eq!(letter.trace_id(), Some("0af7651916cd43dd8448eb211c80319c"));
        assert!(!format!("{letter:?}").contains(&"0".repeat(60)), "a token");
    }
    eventually(async || world.last_receipt(&letters[0]).await.is_finished()).await;

    // Refused again: another letter, and a replay of both reaches the device once.
    let again = &letters[..1];
    assert!(is_replayed(&world.replay(again).await));
    eventually(async || world.letters().await.len() == letters.len() + 1).await;
    eventually(async || world.last_receipt(&again[0]).await.is_finished()).await;
    world.sim.script().clear();
    let letters = world.letters().await;
    let (one, two) = tokio::join!(world.replay(&letters), world.replay(&letters));
    assert!(is_replayed(&one) || is_replayed(&two), "{one:?} {two:?}");
    eventually(async || world.accepted().len() == 60).await;
    eventually(async || world.last_receipt(&again[0]).await.is_finished()).await;

    // Nobody is left, for one operator or two at once.
    let (one, two) = tokio::join!(world.replay(&letters), world.replay(&letters));
    assert!(!is_replayed(&one) && !is_replayed(&two), "{one:?} {two:?}");
    let accepted = world.accepted();
    assert_eq!(accepted.len(), 60);
    assert!(accepted.values().all(|it| *it == 1), "{accepted:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_worth_sending_for_as_long_as_the_operator_says() {
    let world = World::start(1).await;
    world.sim.add_rule(refusing(None));
    let event = world.publish("us1").await;
    eventually(async || !world.letters().await.is_empty()).await;
    let letters = world.letters().await;
    eventually(async || world.last_receipt(&letters[0]).await.is_finished()).await;
    world.sim.script().clear();
    let until = now() + 5.hours();
    let case = Case::of(&letters[0], until).unwrap();
    let done = world.broker.replay(&case, now()).await.unwrap();
    assert!(is_replayed(&done), "{done:?}");
    eventually(async || world.accepted().len() == 1).await;
    let expirations: Vec<_> = world
        .requests()
        .iter()
        .map(|it| it.headers["apns-expiration"].clone())
        .collect();
    let expected = [event.expires_at, until].map(|it| it.as_second().to_string());
    assert_eq!(expirations, expected);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_was_accepted_meanwhile_is_left_out_and_one_that_waits_goes_on_waiting() {
    let world = World::start(4).await;
    for n in [0, 1] {
        world.sim.add_rule(refusing(Some(token(n))));
    }
    world.sim.add_rule(Rule {
        token: Some(token(2)),
        ..Rule::new(Answer::TooMany {
            scope: Scope::Device,
            retry_after: Some(RetryAfter::Seconds(90)),
        })
    });
    world.publish("us1").await;
    eventually(async || world.letters().await.len() == 2).await;
    let letters = world.letters().await;
    let waits = async || {
        let last = world.last_receipt(&letters[0]).await;
        last.low.is_none() && last.later.keys().eq([&hash(2)])
    };
    eventually(waits).await;

    world.sim.script().clear();
    assert!(is_replayed(&world.replay(&letters[..1]).await));
    eventually(async || world.accepted().len() == 2).await;
    eventually(waits).await;
    let done = world.replay(&letters).await;
    assert!(is_replayed(&done), "{done:?}");
    eventually(async || world.accepted().len() == 3).await;
    eventually(waits).await;
    let accepted = world.accepted();
    assert!(accepted.values().all(|it| *it == 1), "{accepted:?}");
    assert!(!accepted.contains_key(&token(2)), "it was not due");
    world.end().await;
}

/// A task whose first twenty devices had their turn, and one behind them, when it was given up.
async fn given_up(broker: &Broker, task: &Task, hashes: &[(DeviceHash, usize)]) -> DeadLetter {
    let at = Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    let claim = |delivered| Claim {
        epoch: 0,
        pass: 1,
        message: 0,
        delivered,
        nonce: delivered,
    };
    let (low, above) = (hashes[20].0, hashes[30].0);
    let line = |(device, _): &(DeviceHash, usize)| Line {
        device: *device,
        mark: Mark::Accepted,
        attempt: 1,
        reason: None,
        at,
    };
    let walking = Receipt {
        low: Some(low),
        above: [above].into(),
        lines: hashes[..20].iter().chain([&hashes[30]]).map(line).collect(),
        ..Receipt::first(claim(1), "n0", at)
    };
    let claimed = Receipt {
        claims_without_mark: 5,
        lines: Vec::new(),
        claim: claim(6),
        ..walking.clone()
    };
    let closed = Receipt {
        claim: claim(7),
        low: None,
        above: [].into(),
        rest: Some(Mark::Dead),
        ..claimed.clone()
    };
    let letter = DeadLetter::poisoned(task, 5, Some(low), at);
    let (mut chain, _) = broker.receipts(task).await.unwrap();
    for receipt in [Receipt::first(claim(1), "n0", at), walking, claimed, closed] {
        chain.append(&receipt).await.unwrap();
    }
    broker.bury(&letter).await.unwrap();
    letter
}

/// A task of forty devices that registered after the plan: the task is as its workers left it.
async fn planned_for_nobody() -> (World, Task, Vec<(DeviceHash, usize)>) {
    let world = World::start(0).await;
    let event = world.publish("us1").await;
    let planned = async || world.broker.stored_plan(&event.id()).await.unwrap();
    eventually(async || planned().await.is_some()).await;
    let plan = planned().await.unwrap();
    let mut hashes = Vec::new();
    for n in 0..40 {
        let (id, device) = device(n);
        let put = world.broker.put_device(&id, &device, Expect::Absent);
        put.await.unwrap();
        hashes.push((hash(n), n));
    }
    hashes.sort_unstable();
    let task = Task {
        event: event.id(),
        event_seq: plan.event_seq,
        lane: Lane::parse("main-urgent").unwrap(),
        range: HashRange::new(0, 0).unwrap(),
        revision: plan.revision,
        expires_at: event.expires_at,
    };
    (world, task, hashes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_task_that_is_replayed_goes_on_where_it_stood() {
    let (world, task, hashes) = planned_for_nobody().await;
    let letter = given_up(&world.broker, &task, &hashes).await;
    let letters = world.letters().await;
    assert!(is_replayed(&world.replay(&letters).await));
    eventually(async || world.last_receipt(&letter).await.is_finished()).await;
    assert!(!is_replayed(&world.replay(&letters).await));
    let mut expected: Vec<String> = hashes[20..].iter().map(|(_, n)| token(*n)).collect();
    expected.retain(|it| *it != token(hashes[30].1));
    expected.sort();
    let accepted = world.accepted();
    assert!(accepted.keys().eq(&expected), "{accepted:?}");
    assert!(accepted.values().all(|it| *it == 1), "{accepted:?}");
    world.end().await;
}

/// A worker takes up a task on which so many claims in a row left no mark.
async fn taken_up_after(world: &World, task: &Task, claims_without_mark: u32) {
    let at = Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    let claim = Claim {
        epoch: 0,
        pass: 1,
        message: 0,
        delivered: 9,
        nonce: 9,
    };
    let (mut chain, _) = world.broker.receipts(task).await.unwrap();
    let left = Receipt {
        claims_without_mark,
        ..Receipt::first(claim, "n0", at)
    };
    chain.append(&left).await.unwrap();
    world.broker.wake_up(task, 2, at, at).await.unwrap();
}

async fn finished(world: &World, task: &Task) -> Receipt {
    let last = async || world.broker.receipts(task).await.unwrap().1.unwrap();
    eventually(async || last().await.is_finished()).await;
    last().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_nobody_gets_on_with_ends_as_a_dead_letter_and_can_be_replayed() {
    let (world, task, hashes) = planned_for_nobody().await;
    taken_up_after(&world, &task, 12).await;
    assert_eq!(finished(&world, &task).await.rest, Some(Mark::Dead));
    assert!(world.accepted().is_empty());
    let letters = world.letters().await;
    let [letter] = letters.as_slice() else {
        panic!("{letters:?}");
    };
    assert_eq!(letter.reason, DeadReason::Poison);
    assert!(is_replayed(&world.replay(&letters).await));
    eventually(async || world.last_receipt(letter).await.rest.is_none()).await;
    assert_eq!(finished(&world, &task).await.rest, None);
    let accepted = world.accepted();
    assert_eq!(accepted.len(), hashes.len());
    assert!(accepted.values().all(|it| *it == 1), "{accepted:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspected_task_runs_alone_and_is_through_when_nothing_is_wrong_with_it() {
    let (world, task, hashes) = planned_for_nobody().await;
    taken_up_after(&world, &task, 3).await;
    assert_eq!(finished(&world, &task).await.rest, None);
    assert_eq!(world.accepted().len(), hashes.len());
    assert!(world.letters().await.is_empty());
    world.end().await;
}
