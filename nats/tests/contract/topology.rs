//! Streams, buckets and durables: made by anyone, changed by nobody, and checked.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use fanfare_nats::Broker;
use fanfare_nats::stream::{Difference, Topology, TopologyError};
use fanfare_nats::testing::TestServer;
use futures::future::try_join_all;

use super::support::{connect, lane, raw};

on_one_and_three!(
    ensuring_twice_and_from_several_processes_at_once_makes_one_topology,
    an_event_stream_that_would_forget_is_named,
    other_streams_and_buckets_that_would_break_the_promise_are_named,
    a_durable_that_would_break_the_promise_is_named,
    a_missing_stream_and_a_missing_durable_are_named,
);

fn topology(server: &TestServer) -> Topology {
    Topology::new(server.replicas(), vec![lane("ios")])
}

async fn ensuring_twice_and_from_several_processes_at_once_makes_one_topology(server: TestServer) {
    let mut brokers = Vec::new();
    for _ in 0..4 {
        brokers.push(connect(&server, "fanfare").await);
    }
    let topology = topology(&server);
    try_join_all(brokers.iter().map(|it| it.ensure(&topology)))
        .await
        .unwrap();
    brokers[0].ensure(&topology).await.unwrap();
    assert_eq!(brokers[0].verify(&topology).await, []);
    let raw = raw(&server).await;
    for name in [
        "FANFARE_EVENTS",
        "FANFARE_TASKS",
        "FANFARE_RECEIPTS",
        "FANFARE_DEAD",
    ] {
        let stream = raw.get_stream(name).await.unwrap();
        assert_eq!(stream.cached_info().config.num_replicas, server.replicas());
    }
}

/// Makes a pipeline, replaces one of its streams by a changed one, and tells what is found wrong.
async fn found(
    server: &TestServer,
    broker: &Broker,
    stream: &str,
    change: impl FnOnce(&mut Config),
) -> Vec<Difference> {
    let topology = topology(server);
    broker.ensure(&topology).await.unwrap();
    let raw = raw(server).await;
    let name = stream.to_owned();
    let mut config = raw
        .get_stream(&name)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    raw.delete_stream(&name).await.unwrap();
    change(&mut config);
    raw.create_stream(config).await.unwrap();
    let found = match broker.ensure(&topology).await {
        Err(TopologyError::Differences(found)) => found,
        other => panic!("{stream}: {other:?}"),
    };
    raw.delete_stream(&name).await.unwrap();
    found
}

fn check(found: &[Difference], name: &str, properties: &[&str]) {
    let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
    let found: Vec<_> = found.iter().map(|it| it.property).collect();
    assert_eq!(found, properties, "{name}");
    assert!(names.iter().all(|it| *it == name), "{names:?}");
}

async fn check_stream(
    server: &TestServer,
    name: &str,
    change: impl FnOnce(&mut Config),
    properties: &[&str],
) {
    let broker = connect(server, "fanfare").await;
    check(
        &found(server, &broker, name, change).await,
        name,
        properties,
    );
}

async fn an_event_stream_that_would_forget_is_named(server: TestServer) {
    let check = async |change: &dyn Fn(&mut Config), properties: &[&str]| {
        check_stream(&server, "FANFARE_EVENTS", change, properties).await;
    };
    check(
        &|it| it.retention = RetentionPolicy::WorkQueue,
        &["retention"],
    )
    .await;
    check(&|it| it.max_age = Duration::from_hours(1), &["max_age"]).await;
    check(&|it| it.max_messages = 1000, &["max_msgs"]).await;
    check(&|it| it.allow_message_ttl = false, &["allow_msg_ttl"]).await;
    check(
        &|it| it.discard = DiscardPolicy::Old,
        &["max_bytes with discard old"],
    )
    .await;
    let per_subject = |it: &mut Config| {
        it.max_messages_per_subject = 1;
        it.discard_new_per_subject = true;
    };
    check(
        &per_subject,
        &["discard_new_per_subject", "max_msgs_per_subject"],
    )
    .await;
}

async fn other_streams_and_buckets_that_would_break_the_promise_are_named(server: TestServer) {
    let check = async |name: &str, change: &dyn Fn(&mut Config), property: &str| {
        check_stream(&server, name, change, &[property]).await;
    };
    let tasks = "FANFARE_TASKS";
    check(tasks, &|it| it.allow_atomic_publish = false, "allow_atomic").await;
    check(
        tasks,
        &|it| it.allow_message_schedules = false,
        "allow_msg_schedules",
    )
    .await;
    check(tasks, &|it| it.storage = StorageType::Memory, "storage").await;
    check(
        "FANFARE_RECEIPTS",
        &|it| it.allow_direct = true,
        "allow_direct",
    )
    .await;
    check("FANFARE_DEAD", &|it| it.subjects.truncate(1), "subjects").await;
    let bucket = "KV_fanfare_devices";
    check(bucket, &|it| it.max_messages_per_subject = 2, "history").await;
    check(
        bucket,
        &|it| it.max_age = Duration::from_hours(1),
        "max_age",
    )
    .await;
    check(bucket, &|it| it.storage = StorageType::Memory, "storage").await;
}

async fn check_durable(
    server: &TestServer,
    change: impl FnOnce(&mut pull::Config),
    properties: &[&str],
) {
    let (broker, raw) = (connect(server, "fanfare").await, raw(server).await);
    let topology = topology(server);
    broker.ensure(&topology).await.unwrap();
    let stream = raw.get_stream("FANFARE_TASKS").await.unwrap();
    stream.delete_consumer("send-ios-urgent").await.unwrap();
    let mut config = pull::Config {
        durable_name: Some("send-ios-urgent".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(20),
        filter_subject: "fanfare.task.ios-urgent.>".into(),
        ..pull::Config::default()
    };
    change(&mut config);
    stream.create_consumer(config).await.unwrap();
    let differences = broker.verify(&topology).await;
    check(&differences, "FANFARE_TASKS/send-ios-urgent", properties);
    stream.delete_consumer("send-ios-urgent").await.unwrap();
}

async fn a_durable_that_would_break_the_promise_is_named(server: TestServer) {
    let check = async |change: &dyn Fn(&mut pull::Config), properties: &[&str]| {
        check_durable(&server, change, properties).await;
    };
    check(&|_| {}, &[]).await;
    check(&|it| it.max_deliver = 5, &["max_deliver"]).await;
    check(&|it| it.ack_policy = AckPolicy::None, &["ack_policy"]).await;
    check(
        &|it| it.filter_subject = "fanfare.task.>".into(),
        &["filter_subject"],
    )
    .await;
    check(
        &|it| it.inactive_threshold = Duration::from_mins(5),
        &["inactive_threshold"],
    )
    .await;
    check(
        &|it| it.ack_wait = Duration::from_millis(200),
        &["ack_wait"],
    )
    .await;
    let backoff = |it: &mut pull::Config| {
        it.max_deliver = 9;
        it.backoff = vec![Duration::from_secs(1), Duration::from_secs(5)];
    };
    check(&backoff, &["max_deliver", "backoff"]).await;
}

async fn a_missing_stream_and_a_missing_durable_are_named(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    let missing = broker.verify(&topology).await;
    assert_eq!(missing.len(), 9, "{missing:?}");
    assert!(
        missing.iter().all(|it| it.property == "existence"),
        "{missing:?}"
    );
    broker.ensure(&topology).await.unwrap();
    let raw = raw(&server).await;
    raw.delete_stream("FANFARE_TASKS").await.unwrap();
    let missing: Vec<_> = broker
        .verify(&topology)
        .await
        .into_iter()
        .map(|it| it.name)
        .collect();
    assert_eq!(missing, ["FANFARE_TASKS", "FANFARE_TASKS/send-ios-urgent"]);
    broker.ensure(&topology).await.unwrap();
}
