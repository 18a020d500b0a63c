//! The control bucket: several create, one wins, the others read the winner's.

use bytes::Bytes;
use fanfare_nats::control::{Created, Record};
use fanfare_nats::testing::TestServer;
use futures::future::join_all;

use super::support::{eventually, raw};

on_one_and_three!(
    of_racing_creators_exactly_one_wins_and_the_others_read_what_it_wrote,
    equal_values_of_two_creators_are_still_one_creation,
    what_was_deleted_or_has_expired_may_be_created_again,
);

async fn of_racing_creators_exactly_one_wins_and_the_others_read_what_it_wrote(server: TestServer) {
    let brokers = [
        server.broker("n1").await,
        server.broker("n2").await,
        server.broker("n3").await,
    ];
    for round in 0..20 {
        let key = format!("baseline.source-{round}");
        let creators = brokers.iter().enumerate().map(|(n, broker)| {
            let key = &key;
            async move {
                (
                    n,
                    broker
                        .control_create(key, format!("{n}").into())
                        .await
                        .unwrap(),
                )
            }
        });
        let created = join_all(creators).await;
        let winners: Vec<_> = created
            .iter()
            .filter_map(|(n, it)| match it {
                Created::Mine(revision) => Some((*revision, Bytes::from(format!("{n}")))),
                Created::Theirs(_) => None,
            })
            .collect();
        let [(revision, value)] = winners.as_slice() else {
            panic!("not one winner: {created:?}");
        };
        let record = Record {
            revision: *revision,
            value: value.clone(),
        };
        for (_, created) in created {
            assert!(
                matches!(created, Created::Mine(_)) || created == Created::Theirs(record.clone())
            );
        }
        assert_eq!(brokers[0].control_get(&key).await.unwrap(), Some(record));
    }
}

async fn equal_values_of_two_creators_are_still_one_creation(server: TestServer) {
    let brokers = [server.broker("n1").await, server.broker("n2").await];
    let value = Bytes::from_static(b"the same");
    let first = brokers[0]
        .control_create("baseline.usgs", value.clone())
        .await
        .unwrap();
    let Created::Mine(revision) = first else {
        panic!("{first:?}");
    };
    let second = brokers[1]
        .control_create("baseline.usgs", value.clone())
        .await
        .unwrap();
    assert_eq!(second, Created::Theirs(Record { revision, value }));
}

async fn what_was_deleted_or_has_expired_may_be_created_again(server: TestServer) {
    let broker = server.broker("n1").await;
    let raw = raw(&server).await;
    let key = "cursor.usgs.0";
    assert_eq!(broker.control_get(key).await.unwrap(), None);
    let put = broker.control_put(key, "1".into()).await.unwrap();
    let record = Record {
        revision: put,
        value: "1".into(),
    };
    assert_eq!(broker.control_get(key).await.unwrap(), Some(record));

    let bucket = raw.get_key_value("fanfare_control").await.unwrap();
    bucket.purge(key).await.unwrap();
    assert_eq!(broker.control_get(key).await.unwrap(), None);
    let again = broker.control_create(key, "2".into()).await.unwrap();
    assert!(
        matches!(again, Created::Mine(revision) if revision > put),
        "{again:?}"
    );

    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-TTL", "1");
    let subject = format!("$KV.fanfare_control.{key}");
    raw.publish_with_headers(subject, headers, "3".into())
        .await
        .unwrap()
        .await
        .unwrap();
    eventually(async || match broker.control_get(key).await.unwrap() {
        None => Ok(()),
        Some(record) => Err(record),
    })
    .await;
    let after_expiry = broker.control_create(key, "4".into()).await.unwrap();
    assert!(matches!(after_expiry, Created::Mine(_)), "{after_expiry:?}");
}
