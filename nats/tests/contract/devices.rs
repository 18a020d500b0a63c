//! Guarded writes of device documents.

use std::time::Duration;

use fanfare_nats::Device;
use fanfare_nats::bucket::{Expect, Stored, WriteDeviceError};
use fanfare_nats::testing::TestServer;
use futures::future::join_all;

use super::support::{device, eventually, id, kill_all};

on_one_and_three!(
    a_write_is_read_back_at_the_revision_it_returned,
    a_guard_that_does_not_hold_is_a_conflict,
    of_racing_updates_of_one_revision_exactly_one_wins,
    of_equal_updates_of_one_revision_exactly_one_wins,
    without_a_connection_a_write_is_refused_at_once,
);

async fn a_write_is_read_back_at_the_revision_it_returned(server: TestServer) {
    let broker = server.broker("n1").await;
    let (phone, other) = (id("phone-1"), id("phone-2"));
    assert_eq!(broker.device(&phone).await.unwrap(), None);
    let first = broker
        .put_device(&phone, &device("t1"), Expect::Any)
        .await
        .unwrap();
    let second = broker
        .put_device(&phone, &device("t2"), Expect::Any)
        .await
        .unwrap();
    assert!(second > first);
    let stored = Stored {
        revision: second,
        device: stored_at(second, device("t2")),
    };
    assert_eq!(broker.device(&phone).await.unwrap(), Some(stored));
    assert_eq!(broker.device(&other).await.unwrap(), None);

    let removed = broker.delete_device(&phone, Expect::Any).await.unwrap();
    assert!(removed.is_some_and(|it| it > second), "{removed:?}");
    assert_eq!(broker.device(&phone).await.unwrap(), None);
    assert_eq!(
        broker.delete_device(&phone, Expect::Any).await.unwrap(),
        None
    );
    let barrier = broker.put_barrier().await.unwrap();
    assert!(Some(barrier) > removed);
}

/// As it is read back: with the revision since which it has its token.
fn stored_at(revision: u64, device: Device) -> Device {
    Device {
        holding: device.holding.at(revision),
        ..device
    }
}

fn is_conflict<T>(written: Result<T, WriteDeviceError>) -> bool {
    matches!(written, Err(WriteDeviceError::Conflict))
}

async fn a_guard_that_does_not_hold_is_a_conflict(server: TestServer) {
    let broker = server.broker("n1").await;
    let phone = id("phone-1");
    let put = async |token: &str, expect| broker.put_device(&phone, &device(token), expect).await;
    assert!(is_conflict(put("t", Expect::Revision(1)).await));
    let first = put("t1", Expect::Absent).await.unwrap();
    assert!(is_conflict(put("t2", Expect::Absent).await));
    let second = put("t2", Expect::Revision(first)).await.unwrap();
    assert!(is_conflict(put("t3", Expect::Revision(first)).await));
    assert!(is_conflict(
        broker.delete_device(&phone, Expect::Absent).await
    ));
    assert!(is_conflict(
        broker.delete_device(&phone, Expect::Revision(first)).await
    ));
    let removed = broker
        .delete_device(&phone, Expect::Revision(second))
        .await
        .unwrap();
    assert!(removed.is_some());
    assert!(is_conflict(
        broker.delete_device(&phone, Expect::Revision(second)).await
    ));
    assert!(is_conflict(put("t3", Expect::Revision(second)).await));
    let again = put("t4", Expect::Absent).await.unwrap();
    assert!(Some(again) > removed);
    assert!(is_conflict(put("t5", Expect::Absent).await));
}

async fn of_racing_updates_of_one_revision_exactly_one_wins(server: TestServer) {
    let brokers = [
        server.broker("n1").await,
        server.broker("n2").await,
        server.broker("n3").await,
    ];
    let phone = id("phone-1");
    let mut revision = brokers[0]
        .put_device(&phone, &device("t"), Expect::Any)
        .await
        .unwrap();
    for round in 0..20 {
        let updates = brokers.iter().enumerate().map(|(n, broker)| {
            let (phone, document) = (phone.clone(), device(&format!("t-{round}-{n}")));
            async move {
                broker
                    .put_device(&phone, &document, Expect::Revision(revision))
                    .await
            }
        });
        let (mut written, mut conflicts) = (Vec::new(), 0);
        for (n, answer) in join_all(updates).await.into_iter().enumerate() {
            match answer {
                Ok(revision) => written.push((n, revision)),
                Err(WriteDeviceError::Conflict) => conflicts += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((written.len(), conflicts), (1, 2));
        let stored = brokers[1].device(&phone).await.unwrap().unwrap();
        assert_eq!(
            stored.device,
            stored_at(
                stored.revision,
                device(&format!("t-{round}-{}", written[0].0))
            )
        );
        assert_eq!(stored.revision, written[0].1);
        revision = stored.revision;
    }
}

async fn of_equal_updates_of_one_revision_exactly_one_wins(server: TestServer) {
    let (one, other) = (server.broker("n1").await, server.broker("n2").await);
    let phone = id("phone-1");
    let mut expect = Expect::Absent;
    for round in 0..20 {
        let document = device(&format!("t-{round}"));
        let (left, right) = tokio::join!(
            one.put_device(&phone, &document, expect),
            other.put_device(&phone, &document, expect),
        );
        let revision = match (left, right) {
            (Ok(revision), Err(WriteDeviceError::Conflict))
            | (Err(WriteDeviceError::Conflict), Ok(revision)) => revision,
            answers => panic!("one is first: {answers:?}"),
        };
        expect = Expect::Revision(revision);
    }
}

async fn without_a_connection_a_write_is_refused_at_once(mut server: TestServer) {
    let broker = server.broker("n1").await;
    let phone = id("phone-1");
    broker
        .put_device(&phone, &device("t"), Expect::Any)
        .await
        .unwrap();
    kill_all(&mut server).await;
    eventually(async || {
        if broker.is_connected() {
            Err("connected")
        } else {
            Ok(())
        }
    })
    .await;
    let at_once = Duration::from_secs(1);
    let document = device("t");
    let put = broker.put_device(&phone, &document, Expect::Any);
    let put = tokio::time::timeout(at_once, put).await.unwrap();
    assert!(matches!(put, Err(WriteDeviceError::Unavailable)), "{put:?}");
    let deleted = broker.delete_device(&phone, Expect::Any);
    let deleted = tokio::time::timeout(at_once, deleted).await.unwrap();
    assert!(
        matches!(deleted, Err(WriteDeviceError::Unavailable)),
        "{deleted:?}"
    );
}
