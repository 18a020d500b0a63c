//! Hearing of events before their turn: each is told once, to one of those that listen, beside the
//! durable that they are taken from.

use std::collections::BTreeMap;

use fanfare_nats::Urgency;
use fanfare_nats::ahead::Ahead;
use fanfare_nats::testing::TestServer;

use super::support::{event, eventually, hasty, lane};

on_one_and_three!(of_each_event_one_listener_is_told_once_and_it_stays_in_its_queue);

const N: u64 = 700;

async fn of_each_event_one_listener_is_told_once_and_it_stays_in_its_queue(server: TestServer) {
    let broker = hasty(&server, "n1", &[lane("ios")]).await;
    let other = server.broker("n2").await;
    let listeners = [
        broker.events_ahead().await.unwrap(),
        other.events_ahead().await.unwrap(),
    ];
    for n in 0..N {
        let mut one = event(&format!("us{n}"));
        one.urgency = if n % 7 == 0 {
            Urgency::Urgent
        } else {
            Urgency::Bulk
        };
        broker.publish(&one, false).await.unwrap();
    }
    let mut told = BTreeMap::<u64, Vec<Option<Urgency>>>::new();
    eventually(async || {
        for listener in &listeners {
            hear(listener, &mut told).await;
        }
        if told.len() as u64 == N {
            Ok(())
        } else {
            Err(told.len())
        }
    })
    .await;
    // Nothing is told again.
    for listener in &listeners {
        hear(listener, &mut told).await;
    }
    for (seq, urgency) in told {
        let expected = if (seq - 1) % 7 == 0 {
            Urgency::Urgent
        } else {
            Urgency::Bulk
        };
        assert_eq!(urgency, [Some(expected)], "{seq}");
    }
    let claims = broker.event_claims().await.unwrap();
    let first = eventually(async || claims.next().await.unwrap().ok_or("nothing")).await;
    assert_eq!((first.seq(), first.n_behind()), (1, N - 1));
    first.ack().await.unwrap();
}

/// Everything that a listener is told until it is told nothing.
async fn hear(listener: &Ahead, told: &mut BTreeMap<u64, Vec<Option<Urgency>>>) {
    while let Some(one) = listener.next().await.unwrap() {
        told.entry(one.seq).or_default().push(one.urgency);
    }
}
