//! Dead letters: kept, found again, and replayed without repeating anything.

use std::collections::BTreeMap;

use fanfare_nats::dead::{
    Case, DeadLetter, DeadReason, Done, Entry, Fate, Found, Hold, Kind, Rejudged, Standing, Step,
    Wanted,
};
use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::testing::TestServer;
use fanfare_nats::{AppName, Broker, DeviceHash, Event, Level, Plan, Task};
use jiff::{Timestamp, ToSpan};

use super::support::{event, event_at, eventually, hasty, lane, now, plan, raw, state, subjects};

on_one_and_three!(
    a_dead_letter_is_kept_with_what_it_says_and_burying_it_twice_is_harmless,
    letters_are_found_by_reason_app_event_and_time,
    advisories_lie_among_the_letters,
    two_operators_who_replay_at_once_bring_about_one_task_message,
    a_replay_sends_to_nobody_whom_the_receipts_call_accepted,
    an_event_that_is_gone_or_superseded_is_not_replayed,
    an_event_that_became_readable_is_stored_once_more_for_the_planners,
);

fn task_of(item: &str) -> Task {
    plan(item, &[("ios", 1)]).tasks().next().unwrap()
}

fn refused(item: &str, device: &str) -> DeadLetter {
    let device = DeviceHash::of(device);
    DeadLetter::refused(&task_of(item), device, 3, "BadDeviceToken", now())
}

async fn all(broker: &Broker, wanted: &Wanted) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut lefts = Vec::new();
    let n = broker.dead_letters(wanted, |entry, left| {
        entries.push(entry);
        lefts.push(left);
    });
    let n = n.await.unwrap();
    assert_eq!(n, entries.len() as u64);
    assert!(lefts.iter().rev().copied().eq(0..n), "{lefts:?}");
    if wanted.since.is_none() {
        let seqs: Vec<u64> = entries.iter().map(|it| it.seq).collect();
        assert_eq!(seqs, paged(broker, wanted).await, "{wanted:?}");
    }
    entries
}

/// The numbers of the same letters, two at a time.
async fn paged(broker: &Broker, wanted: &Wanted) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let after = seqs.last().copied().unwrap_or_default();
        let page = broker.dead_letters_after(wanted, after, 2).await.unwrap();
        seqs.extend(page.iter().map(|it| it.seq));
        if page.len() < 2 {
            return seqs;
        }
    }
}

async fn a_dead_letter_is_kept_with_what_it_says_and_burying_it_twice_is_harmless(
    server: TestServer,
) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let (event, hash) = (event("us1"), DeviceHash::of("phone-1"));
    let letter = refused("us1", "phone-1").by("n1", Some("00-trace-span-01"));
    broker.bury(&letter).await.unwrap();
    broker.bury(&letter).await.unwrap();
    assert_eq!(state(&raw, "FANFARE_DEAD").await.messages, 1);

    let entry = broker.dead_letter(1).await.unwrap().unwrap();
    assert_eq!(
        entry.subject,
        format!("fanfare.dead.refused.{}.ios.{hash}", event.id())
    );
    let read = entry.letter().unwrap();
    assert_eq!((read.error.as_str(), read.attempts), ("BadDeviceToken", 3));
    assert_eq!((read.node.as_str(), read.trace_id()), ("n1", Some("trace")));
    assert_eq!(
        read.task_until(letter.at).unwrap().range,
        task_of("us1").range
    );
    assert!(broker.dead_letter(2).await.unwrap().is_none());

    // A later attempt that is refused the same way is another letter.
    broker.bury(&refused("us1", "phone-1")).await.unwrap();
    assert_eq!(state(&raw, "FANFARE_DEAD").await.messages, 2);

    // What cannot even be named is kept too, and each for itself.
    for subject in ["fanfare.event.x", "fanfare.event.y"] {
        let unnamed = DeadLetter {
            reason: DeadReason::Invalid,
            event: "?".to_owned(),
            app: "?".to_owned(),
            device: "?".to_owned(),
            task: None,
            subject: Some(subject.to_owned()),
            payload: Some("Z2FyYmFnZQ==".to_owned()),
            ..letter.clone()
        };
        assert_eq!(unnamed.payload_bytes().unwrap(), b"garbage");
        broker.bury(&unnamed).await.unwrap();
    }
    assert_eq!(state(&raw, "FANFARE_DEAD").await.messages, 4);
}

async fn letters_are_found_by_reason_app_event_and_time(server: TestServer) {
    let broker = server.broker("n1").await;
    assert!(all(&broker, &Wanted::default()).await.is_empty());
    for n in 0..700 {
        broker.bury(&refused("us1", &n.to_string())).await.unwrap();
    }
    let (since, task) = (now(), task_of("us2"));
    let poison = DeadLetter::poisoned(&task, 5, Some(DeviceHash(9)), since);
    broker.bury(&poison).await.unwrap();

    let everything = all(&broker, &Wanted::default()).await;
    assert!(everything.iter().map(|it| it.seq).eq(1..=701));
    let n = async |wanted: Wanted| all(&broker, &wanted).await.len();
    let any = Wanted::default;
    let kind = |reason| Wanted {
        kind: Some(Kind::Letter(reason)),
        ..any()
    };
    assert_eq!(n(kind(DeadReason::Refused)).await, 700);
    assert_eq!(n(kind(DeadReason::Invalid)).await, 0);
    let app = |name| Wanted {
        app: AppName::parse(name).ok(),
        ..any()
    };
    assert_eq!(n(app("ios")).await, 701);
    assert_eq!(n(app("android")).await, 0);
    let since = Some(since);
    assert_eq!(n(Wanted { since, ..any() }).await, 1);
    let event = Some(task.event.clone());
    let of_event = all(&broker, &Wanted { event, ..any() }).await;
    assert_eq!(of_event.len(), 1);
    let letter = of_event[0].letter().unwrap();
    let low = letter.low.as_deref();
    assert_eq!((letter.attempts, low), (5, Some("0000000000000009")));
}

async fn advisories_lie_among_the_letters(server: TestServer) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    broker.bury(&refused("us1", "phone-1")).await.unwrap();
    let advisory = br#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","id":"x",
        "timestamp":"2026-01-01T00:00:00Z","stream":"FANFARE_TASKS","consumer":"send-ios-urgent",
        "stream_seq":42,"deliveries":7}"#;
    let subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.FANFARE_TASKS.send-ios-urgent";
    let payload = advisory.as_slice().into();
    raw.client().publish(subject, payload).await.unwrap();
    eventually(async || match state(&raw, "FANFARE_DEAD").await.messages {
        2 => Ok(()),
        n => Err(n),
    })
    .await;
    let advisories = Wanted {
        kind: Some(Kind::Advisory),
        ..Wanted::default()
    };
    assert_eq!(all(&broker, &Wanted::default()).await.len(), 2);
    let found = all(&broker, &advisories).await;
    assert_eq!(found.len(), 1);
    match &found[0].found {
        Found::Advisory(it) => assert_eq!((it.stream_seq, it.deliveries), (42, 7)),
        other @ (Found::Letter(_) | Found::Unreadable(_)) => panic!("no advisory: {other:?}"),
    }
}

/// An event that is stored and planned, and its task.
async fn planned(broker: &Broker, event: &Event) -> Task {
    broker.publish(event, false).await.unwrap();
    let screen = event.screen();
    let stored = broker.stored_event(&event.source, &screen, &event.level);
    let (event_seq, _) = stored.await.unwrap().unwrap();
    let plan = Plan {
        event: event.id(),
        event_seq,
        ..plan("any", &[("ios", 1)])
    };
    plan.tasks().next().unwrap()
}

fn walked(pass: u32, lines: &[(&str, Mark)]) -> Receipt {
    let claim = Claim {
        epoch: 1,
        pass,
        message: 0,
        delivered: 1,
        nonce: 7,
    };
    let at = Timestamp::from_millisecond(now().as_millisecond()).unwrap();
    let line = |(device, mark): &(&str, Mark)| Line {
        device: DeviceHash::of(device),
        mark: *mark,
        attempt: 1,
        reason: None,
        at,
    };
    Receipt {
        low: None,
        lines: lines.iter().map(line).collect(),
        claims_without_mark: 0,
        ..Receipt::first(claim, "n1", at)
    }
}

async fn append(broker: &Broker, task: &Task, receipts: &[Receipt]) {
    let (mut chain, _) = broker.receipts(task).await.unwrap();
    for receipt in receipts {
        chain.append(receipt).await.unwrap();
    }
}

fn case(task: &Task, devices: &[&str]) -> Case {
    let mut cases = devices.iter().map(|device| {
        let letter = DeadLetter::refused(task, DeviceHash::of(device), 1, "x", now());
        Case::of(&letter, now() + 1.hours()).unwrap()
    });
    let mut case = cases.next().unwrap();
    cases.for_each(|it| case.join(it));
    case
}

async fn tasks(server: &TestServer) -> BTreeMap<String, usize> {
    subjects(&raw(server).await, "FANFARE_TASKS", "fanfare.task.>").await
}

async fn two_operators_who_replay_at_once_bring_about_one_task_message(server: TestServer) {
    let (broker, other) = (
        hasty(&server, "ops1", &[lane("ios")]).await,
        hasty(&server, "ops2", &[lane("ios")]).await,
    );
    let task = planned(&broker, &event("us1")).await;
    append(&broker, &task, &[walked(1, &[("a", Mark::Refused)])]).await;
    let case = case(&task, &["a"]);
    let (one, two, three) = tokio::join!(
        broker.replay(&case, now()),
        other.replay(&case, now()),
        other.replay(&case, now()),
    );
    for done in [one, two, three] {
        let done = done.unwrap();
        assert!(matches!(done, Done::Replayed(_)), "{done:?}");
    }
    let stored = tasks(&server).await;
    let subject = format!("fanfare.task.ios-urgent.{}.0.4", task.event);
    assert_eq!(stored, BTreeMap::from([(subject, 1)]));
    let chain = broker.receipt_chain(&task.event, &task.lane, 0);
    assert_eq!(chain.await.unwrap().len(), 2);

    // The workers get it with the new expiry, and their claim counts.
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    let message = claims.next().await.unwrap().unwrap();
    let (read, pass) = message.task(broker.names()).unwrap();
    assert_eq!((read.expires_at, pass), (case.task.expires_at, 4));
    message.ack().await.unwrap();
}

async fn a_replay_sends_to_nobody_whom_the_receipts_call_accepted(server: TestServer) {
    let broker = server.broker("ops").await;
    let task = planned(&broker, &event("us1")).await;
    let first = Receipt {
        low: Some(DeviceHash(0)),
        ..walked(1, &[])
    };
    let lines = [("a", Mark::Refused), ("b", Mark::Refused)];
    append(&broker, &task, &[first, walked(1, &lines)]).await;
    // An earlier replay was begun, and its worker got through to one of them.
    let done = broker.replay(&case(&task, &["a"]), now()).await.unwrap();
    assert!(matches!(done, Done::Replayed(_)), "{done:?}");
    let done = broker.replay(&case(&task, &["a"]), now()).await.unwrap();
    match &done {
        Done::Replayed(it) => assert!(matches!(it.judged.step, Step::Publish(4)), "{it:?}"),
        Done::Nothing(_) => panic!("{done:?}"),
    }
    append(&broker, &task, &[walked(4, &[("a", Mark::Accepted)])]).await;

    let assessed = broker
        .assess(&case(&task, &["a", "b"]), now())
        .await
        .unwrap();
    let fates: Vec<_> = assessed.judged.fates.values().collect();
    let n_open = fates.iter().filter(|it| ***it == Fate::Open).count();
    assert_eq!((fates.len(), n_open), (2, 1), "{fates:?}");
    let done = broker.replay(&case(&task, &["a"]), now()).await.unwrap();
    assert!(matches!(done, Done::Nothing(_)), "{done:?}");
    assert_eq!(tasks(&server).await.len(), 1);

    let done = broker
        .replay(&case(&task, &["a", "b"]), now())
        .await
        .unwrap();
    assert!(matches!(done, Done::Replayed(_)), "{done:?}");
    let (_, last) = broker.receipts(&task).await.unwrap();
    let waiting: Vec<_> = last.unwrap().later.into_keys().collect();
    assert_eq!(waiting, [DeviceHash::of("b")]);
}

async fn an_event_that_is_gone_or_superseded_is_not_replayed(server: TestServer) {
    let broker = server.broker("ops").await;
    let (low, high) = (
        event_at("us1", Level::Step(4.5)),
        event_at("us1", Level::Step(6.0)),
    );
    let task = planned(&broker, &low).await;
    append(&broker, &task, &[walked(1, &[("a", Mark::Refused)])]).await;
    let case = case(&task, &["a"]);
    let standing = async |case: &Case| match broker.replay(case, now()).await.unwrap() {
        Done::Nothing(it) => it.standing,
        Done::Replayed(it) => panic!("{it:?}"),
    };
    planned(&broker, &high).await;
    assert_eq!(standing(&case).await, Standing::Superseded);
    // At its sequence lies another event: the stream was made anew.
    let mut other = case.clone();
    other.task.event_seq += 1;
    assert_eq!(standing(&other).await, Standing::Gone);
    other.task.event_seq += 99;
    assert_eq!(standing(&other).await, Standing::Gone);

    // Without receipts nobody knows.
    let bare = planned(&broker, &event("us2")).await;
    let bare = self::case(&bare, &["a"]);
    match broker.replay(&bare, now()).await.unwrap() {
        Done::Nothing(it) => assert_eq!(it.judged.step, Step::Hold(Hold::ReceiptsGone)),
        Done::Replayed(it) => panic!("{it:?}"),
    }
    assert!(tasks(&server).await.is_empty());
}

async fn an_event_that_became_readable_is_stored_once_more_for_the_planners(server: TestServer) {
    let broker = hasty(&server, "ops", &[]).await;
    let event = event("us1");
    let task = planned(&broker, &event).await;
    let claims = broker.event_claims().await.unwrap();
    let message = claims.next().await.unwrap().unwrap();
    // As if the version that took it had not been able to read it.
    let error = std::io::Error::other("schema 9");
    let letter = DeadLetter::unreadable(&message, &error, broker.names(), now());
    message.terminate().await.unwrap();
    broker.bury(&letter).await.unwrap();

    let rejudged = broker.rejudge(&letter, now()).await.unwrap();
    let Rejudged::Event(read) = rejudged else {
        panic!("{rejudged:?}");
    };
    assert_eq!(*read, event);
    let again = Event {
        expires_at: event.expires_at - 1.hours(),
        ..*read
    };
    let (one, two) = tokio::join!(
        broker.publish_again(&again, task.event_seq),
        broker.publish_again(&again, task.event_seq),
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(
        state(&raw(&server).await, "FANFARE_EVENTS").await.messages,
        2
    );
    let message = claims.next().await.unwrap().unwrap();
    assert_eq!(message.event(broker.names()).unwrap(), again);
    message.ack().await.unwrap();
    let rejudged = broker.rejudge(&letter, now()).await.unwrap();
    assert_eq!(rejudged, Rejudged::Again);

    let elsewhere = DeadLetter {
        subject: Some("fanfare.event.x".to_owned()),
        ..letter.clone()
    };
    let rejudged = broker.rejudge(&elsewhere, now()).await.unwrap();
    assert_eq!(rejudged, Rejudged::Neither);
    let gone = DeadLetter {
        event_seq: 99,
        ..letter
    };
    let rejudged = broker.rejudge(&gone, now()).await.unwrap();
    assert_eq!(rejudged, Rejudged::Gone);
}
