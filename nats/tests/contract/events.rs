//! Create-only publish: stored once, by whomever, through kills and elections.

use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare_nats::post::Posted;
use fanfare_nats::publish::Published;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Level};
use futures::future::join_all;

use super::support::{event, event_at, raw, state, strike, usgs};

on_one_and_three!(
    events_are_read_in_stretches_both_ways_and_from_a_time_on,
    an_event_is_stored_once_and_read_back_as_it_was_written,
    identity_is_the_subject_and_needs_no_memory_of_message_ids,
    of_racing_publishers_exactly_one_stores_each_event,
    who_asks_again_finds_its_own_post_and_the_others_find_theirs_late,
    nothing_is_lost_or_doubled_when_the_broker_is_killed_under_load,
);

async fn who_asks_again_finds_its_own_post_and_the_others_find_theirs_late(server: TestServer) {
    let (one, other) = (server.broker("n1").await, server.broker("n2").await);
    let event = event("us1");
    let mut different = event.clone();
    "Another".clone_into(&mut different.content.title);
    for _ in 0..2 {
        let posted = one.post_as(&event, "a").await.unwrap();
        assert!(matches!(posted, Posted::New), "{posted:?}");
        for late in [&event, &different] {
            match other.post(late).await.unwrap() {
                Posted::Before(before) => assert_eq!(*before, event),
                Posted::New => panic!("it was stored before"),
            }
        }
    }
}

async fn events_are_read_in_stretches_both_ways_and_from_a_time_on(server: TestServer) {
    let broker = server.broker("n1").await;
    assert_eq!(broker.events_held().await.unwrap(), None);
    assert!(broker.events_from(1, 10).await.unwrap().is_end);
    assert!(broker.events_before(u64::MAX, 10).await.unwrap().is_end);
    assert_eq!(broker.newest_receipt().await.unwrap(), 0);
    let mut stored = Vec::new();
    for n in 0..70 {
        let item = format!("us{n}");
        match broker.publish(&event(&item), false).await.unwrap() {
            Published::Stored(seq) => stored.push((seq, item)),
            Published::Already => panic!("{item} is new"),
        }
    }
    let (mut next, mut found, mut n_stretches) = (1, Vec::new(), 0);
    loop {
        let stretch = broker.events_from(next, 20).await.unwrap();
        found.extend(stretch.items);
        (next, n_stretches) = (stretch.next, n_stretches + 1);
        if stretch.is_end {
            break;
        }
    }
    let told: Vec<_> = found
        .iter()
        .map(|it| (it.seq, it.event.item.clone()))
        .collect();
    assert_eq!(told, stored);
    assert!(n_stretches > 2, "{n_stretches}");
    let middle = &found[40];
    let from = broker.first_event_at(middle.at).await.unwrap();
    let since: Vec<_> = found.iter().filter(|it| it.at >= middle.at).collect();
    assert_eq!(from, since[0].seq);

    let newest = broker.events_before(u64::MAX, 30).await.unwrap();
    let rest = broker.events_before(newest.next, 100).await.unwrap();
    assert!(!newest.is_end && rest.is_end);
    let mut backwards: Vec<_> = newest
        .items
        .iter()
        .chain(&rest.items)
        .map(|it| it.seq)
        .collect();
    backwards.reverse();
    assert_eq!(backwards, stored.iter().map(|it| it.0).collect::<Vec<_>>());
}

async fn an_event_is_stored_once_and_read_back_as_it_was_written(server: TestServer) {
    let broker = server.broker("n1").await;
    let first = event_at("us1", Level::Step(4.5));
    let Published::Stored(seq) = broker.publish(&first, false).await.unwrap() else {
        panic!("a new event is stored");
    };
    assert_eq!(
        broker.publish(&first, false).await.unwrap(),
        Published::Already
    );
    let higher = event_at("us1", Level::Step(6.0));
    assert!(matches!(
        broker.publish(&higher, true).await.unwrap(),
        Published::Stored(_)
    ));

    let stored = broker
        .stored_event(&usgs(), &first.screen(), &first.level)
        .await
        .unwrap();
    assert_eq!(stored, Some((seq, first.clone())));
    assert_eq!(broker.event_at(seq).await.unwrap(), Some(first.clone()));
    assert_eq!(broker.event_at(seq + 100).await.unwrap(), None);
    let mut levels = broker
        .stored_levels(&usgs(), &first.screen())
        .await
        .unwrap();
    levels.sort_by_key(ToString::to_string);
    assert_eq!(levels, [Level::Step(4.5), Level::Step(6.0)]);
    let nobody = event("nobody");
    assert_eq!(
        broker
            .stored_event(&usgs(), &nobody.screen(), &nobody.level)
            .await
            .unwrap(),
        None
    );
    assert!(
        broker
            .stored_levels(&usgs(), &nobody.screen())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn identity_is_the_subject_and_needs_no_memory_of_message_ids(server: TestServer) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let event = event("us1");
    // What stands there has no message id, as after the window of two minutes.
    let subject = format!("fanfare.event.usgs.{}.first", event.screen());
    raw.publish(subject, "older".into())
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(
        broker.publish(&event, false).await.unwrap(),
        Published::Already
    );
    assert_eq!(state(&raw, "FANFARE_EVENTS").await.messages, 1);
}

/// Publishes `us0` to `us<n-1>`; returns how many this one stored.
async fn publish_all(broker: &Broker, n: usize, done: &AtomicUsize) -> usize {
    let mut stored = 0;
    for item in 0..n {
        let published = broker
            .publish(&event(&format!("us{item}")), false)
            .await
            .unwrap();
        stored += usize::from(published != Published::Already);
        done.fetch_add(1, Ordering::Relaxed);
    }
    stored
}

async fn writers(server: &TestServer) -> [Broker; 4] {
    [
        server.broker("n1").await,
        server.broker("n2").await,
        server.broker("n3").await,
        server.broker("n4").await,
    ]
}

async fn of_racing_publishers_exactly_one_stores_each_event(server: TestServer) {
    let (writers, done) = (writers(&server).await, AtomicUsize::new(0));
    let stored = join_all(writers.iter().map(|it| publish_all(it, 200, &done))).await;
    assert_eq!(stored.iter().sum::<usize>(), 200, "{stored:?}");
    let state = state(&raw(&server).await, "FANFARE_EVENTS").await;
    assert_eq!((state.messages, state.subjects_count), (200, 200));
}

async fn nothing_is_lost_or_doubled_when_the_broker_is_killed_under_load(mut server: TestServer) {
    const N: usize = 2000;
    let (writers, done) = (writers(&server).await, AtomicUsize::new(0));
    let publishing = join_all(writers.iter().map(|it| publish_all(it, N, &done)));
    let striking = async {
        while done.load(Ordering::Relaxed) < N {
            tokio::task::yield_now().await;
        }
        strike(&mut server, "FANFARE_EVENTS").await;
        done.load(Ordering::Relaxed)
    };
    let (stored, struck_at) = tokio::join!(publishing, striking);
    let retries: u64 = writers
        .iter()
        .map(|it| it.metrics().publish_retries.get())
        .sum();
    assert!(
        struck_at < 4 * N && retries > 0,
        "the kill did not bite: {struck_at}, {retries}"
    );
    // An answer lost with the server makes its writer believe that another one was first.
    assert!(stored.iter().sum::<usize>() <= N, "{stored:?}");
    let state = state(&raw(&server).await, "FANFARE_EVENTS").await;
    assert_eq!((state.messages, state.subjects_count), (N as u64, N as u64));
}
