//! Members that come, stay and go, and lanes that an operator pauses.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use fanfare_nats::event::Urgency;
use fanfare_nats::lanes::LaneReport;
use fanfare_nats::members::{Member, TTL};
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{AppName, Broker, Lane};
use jiff::{Timestamp, ToSpan};

use super::support::{eventually, now, raw};

on_one_and_three!(
    members_are_those_who_said_so_and_did_not_say_goodbye,
    a_member_that_falls_silent_is_forgotten_and_may_come_back,
    a_pause_is_the_brokers_own_and_ends_with_it,
);

fn member(broker: &Broker, role: &str) -> Member {
    Member {
        role: role.to_owned(),
        node: broker.node().to_owned(),
        host: "host".to_owned(),
        version: "1.0".to_owned(),
        weight: 1,
        started: Timestamp::UNIX_EPOCH,
        waits_for: None,
    }
}

async fn nodes(broker: &Broker, role: &str) -> Vec<String> {
    let members = eventually(async || broker.members(role).await).await;
    members.into_iter().map(|it| it.node).collect()
}

async fn become_nodes(broker: &Broker, role: &str, expected: &[&str]) {
    eventually(async || {
        let found = nodes(broker, role).await;
        if found == expected {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
}

async fn members_are_those_who_said_so_and_did_not_say_goodbye(server: TestServer) {
    let (one, two) = (server.broker("n.1").await, server.broker("n2").await);
    assert!(nodes(&one, "notifier").await.is_empty());
    for _ in 0..3 {
        one.put_member(&member(&one, "notifier")).await.unwrap();
    }
    two.put_member(&member(&two, "notifier")).await.unwrap();
    two.put_member(&member(&two, "api")).await.unwrap();
    become_nodes(&one, "notifier", &["n.1", "n2"]).await;
    become_nodes(&one, "api", &["n2"]).await;
    two.remove_member("notifier").await.unwrap();
    become_nodes(&one, "notifier", &["n.1"]).await;
    become_nodes(&one, "api", &["n2"]).await;
}

async fn a_member_that_falls_silent_is_forgotten_and_may_come_back(server: TestServer) {
    let broker = server.broker("n1").await;
    let own = member(&broker, "notifier");
    let began = tokio::time::Instant::now();
    broker.put_member(&own).await.unwrap();
    become_nodes(&broker, "notifier", &["n1"]).await;
    become_nodes(&broker, "notifier", &[]).await;
    let took = began.elapsed();
    assert!(TTL < took + Duration::from_secs(1), "{took:?}");
    assert!(took < TTL + Duration::from_secs(8), "{took:?}");
    // The marker of its expiry is no obstacle, and the new record goes away like the first.
    broker.put_member(&own).await.unwrap();
    become_nodes(&broker, "notifier", &["n1"]).await;
    become_nodes(&broker, "notifier", &[]).await;
}

async fn a_pause_is_the_brokers_own_and_ends_with_it(server: TestServer) {
    let lane = Lane {
        app: AppName::parse("ios").unwrap(),
        urgency: Urgency::Bulk,
    };
    let topology = Topology::new(server.replicas(), vec![lane.clone()]);
    let broker = server.broker_with("n1", &topology).await;
    let claims = broker.task_claims(&lane).await.unwrap();
    let report = async || -> LaneReport { broker.lanes().await.unwrap().remove(0) };
    assert_eq!(report().await.paused_until, None);
    assert_eq!(claims.pause_left().await.unwrap(), None);

    // Known at once, on three servers too, where a pause is answered before it is agreed upon.
    let until = now() + 1.hour();
    broker.pause_lane(&lane, until).await.unwrap();
    let told = report().await;
    assert_eq!(told.lane, lane);
    assert_eq!(
        told.paused_until.map(Timestamp::as_second),
        Some(until.as_second())
    );
    assert!(claims.pause_left().await.unwrap().unwrap() <= Duration::from_hours(1));
    // Pausing again sets the new moment, and it ends by itself.
    broker.pause_lane(&lane, now() + 2.seconds()).await.unwrap();
    eventually(async || match claims.pause_left().await.unwrap() {
        None => Ok(()),
        Some(left) => Err(left),
    })
    .await;
    assert_eq!(report().await.paused_until, None);

    // Paused without us, as `nats consumer pause` does it, and let go by us.
    let stream = raw(&server)
        .await
        .get_stream("FANFARE_TASKS")
        .await
        .unwrap();
    let _bound: PullConsumer = stream.get_consumer("send-ios-bulk").await.unwrap();
    let far = time::OffsetDateTime::from_unix_timestamp(4_000_000_000).unwrap();
    stream.pause_consumer("send-ios-bulk", far).await.unwrap();
    eventually(async || report().await.paused_until.ok_or("not paused")).await;
    broker.resume_lane(&lane).await.unwrap();
    assert_eq!(report().await.paused_until, None);
}
