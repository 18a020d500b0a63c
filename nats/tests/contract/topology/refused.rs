//! What would break the promise is named, beside what would not.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PriorityPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use fanfare_nats::Broker;
use fanfare_nats::stream::{Difference, LANE_EPOCH, TopologyError, Weight};
use fanfare_nats::testing::TestServer;

use super::super::support::{connect, raw};
use super::{check, topology};

on_one_and_three!(
    an_event_stream_that_would_forget_is_named,
    other_streams_and_buckets_that_would_break_the_promise_are_named,
    a_durable_that_would_break_the_promise_is_named,
    a_durable_that_only_tells_is_missed_and_stops_nothing,
);

/// Makes a pipeline, replaces one of its streams by a changed one, and tells what is found wrong.
pub(super) async fn found(
    server: &TestServer,
    broker: &Broker,
    stream: &str,
    change: impl FnOnce(&mut Config),
) -> Vec<Difference> {
    let topology = topology(server);
    broker.ensure(&topology).await.unwrap();
    // Without the change there is no difference: what is found later was planted.
    assert_eq!(broker.verify(&topology).await, []);
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
    check(
        &|it| it.retention = RetentionPolicy::Interest,
        &["retention"],
    )
    .await;
    // 24 h of `fresh_for`, and 48 h of slack.
    check(&|it| it.max_age = Duration::from_hours(71), &["max_age"]).await;
    check(&|it| it.max_message_size = 1024, &["max_msg_size"]).await;
    check(&|it| it.no_ack = true, &["no_ack"]).await;
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
    check(
        tasks,
        &|it| it.max_age = Duration::from_hours(30),
        "max_age",
    )
    .await;
    check(
        tasks,
        &|it| it.max_bytes = 1 << 20,
        "max_bytes with discard old",
    )
    .await;
    check(
        tasks,
        &|it| it.max_messages_per_subject = 5,
        "max_msgs_per_subject",
    )
    .await;
    check(
        "FANFARE_RECEIPTS",
        &|it| it.allow_direct = true,
        "allow_direct",
    )
    .await;
    check("FANFARE_DEAD", &|it| it.subjects.truncate(1), "subjects").await;
    let hour = Duration::from_hours(1);
    check("FANFARE_AUDIT", &|it| it.max_age = hour, "max_age").await;
    let bucket = "KV_fanfare_devices";
    check(bucket, &|it| it.max_messages_per_subject = 2, "history").await;
    check(bucket, &|it| it.max_age = hour, "max_age").await;
    check(bucket, &|it| it.discard = DiscardPolicy::Old, "discard").await;
    check(bucket, &|it| it.max_messages = 9, "max_msgs").await;
    // On one server memory is gone with a restart; of three, two remember.
    if server.replicas() == 1 {
        check(tasks, &|it| it.storage = StorageType::Memory, "storage").await;
        check(bucket, &|it| it.storage = StorageType::Memory, "storage").await;
    } else {
        check(tasks, &|it| it.num_replicas = 1, "num_replicas").await;
        check(bucket, &|it| it.num_replicas = 1, "num_replicas").await;
    }
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
        ack_wait: topology.ack_wait,
        filter_subject: "fanfare.task.ios-urgent.>".into(),
        metadata: [(LANE_EPOCH.to_owned(), "1".to_owned())].into(),
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
    check(&|it| it.headers_only = true, &["headers_only"]).await;
    check(&|it| it.max_ack_pending = 10, &["max_ack_pending"]).await;
    check(
        &|it| it.deliver_policy = DeliverPolicy::New,
        &["deliver_policy"],
    )
    .await;
    check(
        &|it| {
            it.priority_policy = PriorityPolicy::Overflow;
            it.priority_groups = vec!["a".into()];
        },
        &["priority_policy"],
    )
    .await;
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
    check(&|it| it.ack_wait = Duration::from_secs(5), &["ack_wait"]).await;
    check(&|it| it.metadata.clear(), &["metadata fanfare.lane_epoch"]).await;
    let backoff = |it: &mut pull::Config| {
        it.max_deliver = 9;
        it.backoff = vec![Duration::from_secs(1), Duration::from_secs(5)];
    };
    check(&backoff, &["max_deliver", "backoff"]).await;
}

/// Made by somebody else, as something that has to be settled.
async fn a_durable_that_only_tells_is_missed_and_stops_nothing(server: TestServer) {
    let (broker, raw) = (connect(&server, "fanfare").await, raw(&server).await);
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    let stream = raw.get_stream("FANFARE_EVENTS").await.unwrap();
    let name = "FANFARE_EVENTS/notifier-ahead";
    stream.delete_consumer("notifier-ahead").await.unwrap();
    let missing = broker.verify(&topology).await;
    check(&missing, name, &["existence"]);
    assert!(missing.iter().all(|it| it.weight == Weight::Doubtful));
    let wrong = pull::Config {
        durable_name: Some("notifier-ahead".into()),
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    stream.create_consumer(wrong).await.unwrap();
    let differences = broker.verify(&topology).await;
    check(&differences, name, &["ack_policy", "headers_only"]);
    broker.ensure(&topology).await.unwrap();
}
