//! The device bucket as a stream of changes.

use std::collections::BTreeMap;

use fanfare_nats::Broker;
use fanfare_nats::bucket::Expect;
use fanfare_nats::feed::{Change, DeviceWatch};
use fanfare_nats::testing::TestServer;

use super::support::{device, eventually, id, raw, strike};

on_one_and_three!(
    a_load_and_the_watch_behind_it_show_every_change_in_order,
    a_watch_goes_on_through_a_kill,
    a_record_that_cannot_be_read_is_skipped_and_counted,
);

/// The load's changes, and the watch behind it.
async fn loaded(broker: &Broker) -> (Vec<(Change, u64)>, DeviceWatch) {
    let mut changes = Vec::new();
    let after = broker
        .load_devices(|change, revision| changes.push((change, revision)))
        .await;
    let watch = broker.watch_devices(after.unwrap()).await.unwrap();
    (changes, watch)
}

fn put(name: &str) -> Change {
    Change::Put(id(name), Box::new(device(name)))
}

async fn a_load_and_the_watch_behind_it_show_every_change_in_order(server: TestServer) {
    let broker = server.broker("n1").await;
    let (nothing, _) = loaded(&broker).await;
    assert_eq!(nothing, []);
    let write = async |name: &str| {
        broker
            .put_device(&id(name), &device(name), Expect::Any)
            .await
            .unwrap()
    };
    let mut expected = BTreeMap::new();
    for n in 0..50 {
        let name = format!("phone-{n}");
        expected.insert(write(&name).await, put(&name));
    }
    let gone = expected.keys().next().copied().unwrap();
    expected.remove(&gone);
    let removed = broker
        .delete_device(&id("phone-0"), Expect::Any)
        .await
        .unwrap()
        .unwrap();
    expected.insert(removed, Change::Removed(id("phone-0")));
    let behind = broker.put_barrier().await.unwrap();
    assert_eq!(broker.n_devices().await.unwrap(), 51);

    let (changes, mut watch) = loaded(&broker).await;
    let loaded: Vec<_> = changes
        .into_iter()
        .map(|(change, revision)| (revision, change))
        .collect();
    assert_eq!(loaded, expected.into_iter().collect::<Vec<_>>());

    let updated = write("phone-1").await;
    let barrier = broker.put_barrier().await.unwrap();
    let removed = broker
        .delete_device(&id("phone-1"), Expect::Any)
        .await
        .unwrap()
        .unwrap();
    let new = write("phone-9_Z").await;
    // The watch begins behind what the load has shown, not behind what the leader has: the load may
    // come from a server that lags.
    assert_eq!(watch.next().await.unwrap(), (Change::Other, behind));
    assert_eq!(watch.next().await.unwrap(), (put("phone-1"), updated));
    assert_eq!(watch.next().await.unwrap(), (Change::Other, barrier));
    assert_eq!(
        watch.next().await.unwrap(),
        (Change::Removed(id("phone-1")), removed)
    );
    assert_eq!(watch.next().await.unwrap(), (put("phone-9_Z"), new));
}

async fn a_watch_goes_on_through_a_kill(mut server: TestServer) {
    let broker = server.broker("n1").await;
    let (_, mut watch) = loaded(&broker).await;
    let mut written = Vec::new();
    let write = async |name: &str| {
        eventually(async || {
            broker
                .put_device(&id(name), &device(name), Expect::Any)
                .await
                .map_err(|it| it.to_string())
        })
        .await
    };
    for n in 0..20 {
        let name = format!("before-{n}");
        written.push((put(&name), write(&name).await));
    }
    assert_eq!(watch.next().await.unwrap(), written[0]);
    strike(&mut server, "KV_fanfare_devices").await;
    for n in 0..20 {
        let name = format!("after-{n}");
        written.push((put(&name), write(&name).await));
    }
    let barrier =
        eventually(async || broker.put_barrier().await.map_err(|it| it.to_string())).await;
    written.push((Change::Other, barrier));
    // A write whose answer was lost is stored more than once; the last one is what counts.
    let mut seen = vec![written[0].clone()];
    while seen.last().is_none_or(|(_, revision)| *revision < barrier) {
        seen.push(watch.next().await.unwrap());
    }
    assert!(seen.is_sorted_by(|a, b| a.1 < b.1), "{seen:?}");
    seen.retain(|it| written.contains(it));
    assert_eq!(seen, written);
    eventually(async || {
        let noticed = broker.metrics().reconnects.get() + broker.metrics().publish_retries.get();
        if noticed > 0 {
            Ok(())
        } else {
            Err("the kill did not bite")
        }
    })
    .await;
}

async fn a_record_that_cannot_be_read_is_skipped_and_counted(server: TestServer) {
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let bucket = raw.get_key_value("fanfare_devices").await.unwrap();
    let garbage = bucket.put("d.garbage", "{}".into()).await.unwrap();
    let no_id = bucket.put("d.no=id", "{}".into()).await.unwrap();
    let revision = broker
        .put_device(&id("phone-1"), &device("t"), Expect::Any)
        .await
        .unwrap();
    let (changes, mut watch) = loaded(&broker).await;
    let phone = Change::Put(id("phone-1"), Box::new(device("t")));
    assert_eq!(
        changes,
        [
            (Change::Other, garbage),
            (Change::Other, no_id),
            (phone, revision)
        ]
    );
    assert_eq!(broker.metrics().skipped_records.get(), 2);
    let garbage = bucket.put("d.garbage", "[".into()).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), (Change::Other, garbage));
    assert_eq!(broker.metrics().skipped_records.get(), 3);
    assert!(broker.device(&id("garbage")).await.is_err());
}
