//! Streams, buckets and durables: made by anyone, changed by nobody, and checked.

mod refused;

use std::time::Duration;

use async_nats::jetstream::consumer::{FromConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use fanfare_nats::stream::{
    Definition, Difference, Kind, LANE_EPOCH, Step, Topology, Weight, steps,
};
use fanfare_nats::testing::TestServer;
use futures::future::try_join_all;
use serde_json::json;

use self::refused::found;
use super::support::{connect, event, eventually, lane, plan, raw};

on_one_and_three!(
    ensuring_twice_and_from_several_processes_at_once_makes_one_topology,
    what_is_merely_doubtful_is_told_and_refuses_nothing,
    receipts_must_outlive_their_tasks,
    what_can_be_changed_while_everything_runs_is_set_right_and_keeps_the_rest,
    what_cannot_be_changed_is_left_to_people_and_still_told,
    after_a_restore_claims_of_a_new_epoch_win_and_every_event_comes_again,
    who_takes_from_a_durable_that_is_made_anew_learns_of_its_epoch,
    a_missing_stream_and_a_missing_durable_are_named,
    what_is_exported_is_what_is_made,
    a_configured_wait_that_the_durable_does_not_have_is_told_and_can_be_applied,
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
        "FANFARE_AUDIT",
    ] {
        let stream = raw.get_stream(name).await.unwrap();
        assert_eq!(stream.cached_info().config.num_replicas, server.replicas());
    }
}

fn check(found: &[Difference], name: &str, properties: &[&str]) {
    let names: Vec<_> = found.iter().map(|it| it.name.as_str()).collect();
    let found: Vec<_> = found.iter().map(|it| it.property).collect();
    assert_eq!(found, properties, "{name}");
    assert!(names.iter().all(|it| *it == name), "{names:?}");
}

async fn what_is_merely_doubtful_is_told_and_refuses_nothing(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    let raw = raw(&server).await;
    let stream = raw.get_stream("FANFARE_TASKS").await.unwrap();
    let mut config = consumer_config(&raw).await;
    config.ack_wait = Duration::from_hours(1);
    stream.update_consumer(config).await.unwrap();
    broker.ensure(&topology).await.unwrap();
    let found = broker.verify(&topology).await;
    check(&found, "FANFARE_TASKS/send-ios-urgent", &["ack_wait"]);
    assert_eq!(found[0].weight, Weight::Doubtful);
}

async fn a_configured_wait_that_the_durable_does_not_have_is_told_and_can_be_applied(
    server: TestServer,
) {
    let broker = connect(&server, "fanfare").await;
    let shorter = Topology {
        ack_wait: Duration::from_secs(12),
        ..topology(&server)
    };
    broker.ensure(&shorter).await.unwrap();
    let found = broker.verify(&topology(&server)).await;
    let names: Vec<_> = found
        .iter()
        .map(|it| (it.name.as_str(), it.property))
        .collect();
    let tasks = ("FANFARE_TASKS/send-ios-urgent", "ack_wait");
    assert_eq!(names, [("FANFARE_EVENTS/notifier", "ack_wait"), tasks]);
    assert!(found.iter().all(|it| it.weight == Weight::Doubtful));
    broker
        .apply(&topology(&server), &steps(found))
        .await
        .unwrap();
    eventually(async || match broker.verify(&topology(&server)).await {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    })
    .await;
}

async fn consumer_config(raw: &async_nats::jetstream::Context) -> pull::Config {
    let stream = raw.get_stream("FANFARE_TASKS").await.unwrap();
    let consumer = stream.get_consumer::<pull::Config>("send-ios-urgent").await;
    let consumer = consumer.unwrap();
    pull::Config::try_from_consumer_config(consumer.cached_info().config.clone()).unwrap()
}

async fn receipts_must_outlive_their_tasks(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    let raw = raw(&server).await;
    for (tasks, receipts, is_fine) in [
        (50, 50, true),
        (50, 49, false),
        (0, 49, false),
        (0, 0, true),
    ] {
        for (name, hours) in [("FANFARE_TASKS", tasks), ("FANFARE_RECEIPTS", receipts)] {
            let stream = raw.get_stream(name).await.unwrap();
            let mut config = stream.cached_info().config.clone();
            config.max_age = Duration::from_hours(hours);
            raw.update_stream(config).await.unwrap();
        }
        let expected: &[&str] = if is_fine {
            &[]
        } else {
            &["max_age against tasks"]
        };
        check(
            &broker.verify(&topology).await,
            "FANFARE_RECEIPTS",
            expected,
        );
    }
    let left = broker
        .apply(&topology, &steps(broker.verify(&topology).await))
        .await;
    assert_eq!(left.unwrap(), []);
}

async fn what_can_be_changed_while_everything_runs_is_set_right_and_keeps_the_rest(
    server: TestServer,
) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    let stored = event("kept");
    broker.publish(&stored, false).await.unwrap();
    let raw = raw(&server).await;
    let change = async |name: &str, change: &dyn Fn(&mut Config)| {
        let stream = raw.get_stream(name).await.unwrap();
        let mut config = stream.cached_info().config.clone();
        change(&mut config);
        raw.update_stream(config).await.unwrap();
    };
    change("FANFARE_EVENTS", &|it| {
        it.max_age = Duration::from_hours(1);
        it.discard = DiscardPolicy::Old;
        it.max_messages_per_subject = 3;
        it.description = Some("an operator's".into());
    })
    .await;
    change("FANFARE_TASKS", &|it| {
        it.max_bytes = 1 << 20;
        it.allow_atomic_publish = false;
        it.subjects = vec!["fanfare.plan.>".into()];
    })
    .await;
    change("FANFARE_RECEIPTS", &|it| it.allow_direct = true).await;
    change("KV_fanfare_devices", &|it| {
        it.max_age = Duration::from_hours(1);
    })
    .await;
    let mut config = consumer_config(&raw).await;
    (config.max_deliver, config.max_ack_pending) = (9, 10);
    config.backoff = vec![Duration::from_secs(1)];
    config.metadata = [("team".to_owned(), "quakes".to_owned())].into();
    let stream = raw.get_stream("FANFARE_TASKS").await.unwrap();
    stream.update_consumer(config).await.unwrap();
    raw.delete_stream("FANFARE_DEAD").await.unwrap();

    let differences = broker.verify(&topology).await;
    let steps = steps(differences);
    assert!(
        !steps.iter().any(|it| matches!(it, Step::ByHand { .. })),
        "{steps:#?}"
    );
    assert_eq!(broker.apply(&topology, &steps).await.unwrap(), []);
    broker.ensure(&topology).await.unwrap();
    let events = raw.get_stream("FANFARE_EVENTS").await.unwrap();
    let info = events.cached_info();
    assert_eq!(info.config.description.as_deref(), Some("an operator's"));
    assert_eq!(info.state.messages, 1);
    let metadata = consumer_config(&raw).await.metadata;
    assert_eq!(
        (&*metadata[LANE_EPOCH], &*metadata["team"]),
        ("1", "quakes")
    );
}

async fn what_cannot_be_changed_is_left_to_people_and_still_told(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let found = found(&server, &broker, "FANFARE_EVENTS", |it| {
        it.retention = RetentionPolicy::WorkQueue;
    })
    .await;
    let planned = steps(found.clone());
    assert!(
        matches!(planned.as_slice(), [Step::ByHand { .. }]),
        "{planned:#?}"
    );
}

async fn after_a_restore_claims_of_a_new_epoch_win_and_every_event_comes_again(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    broker.publish(&event("seen"), false).await.unwrap();
    let claims = broker.event_claims().await.unwrap();
    let message = claims.next().await.unwrap().unwrap();
    message.ack().await.unwrap();
    broker.commit(&plan("seen", &[("ios", 3)])).await.unwrap();
    assert_eq!(broker.task_claims(&lane("ios")).await.unwrap().epoch(), 1);

    // A lane that only another configuration has.
    let other = Topology::new(server.replicas(), vec![lane("other")]);
    broker.ensure(&other).await.unwrap();
    broker.begin_epoch(&topology, 77).await.unwrap();
    broker.begin_epoch(&topology, 50).await.unwrap();
    eventually(async || {
        let claims = broker.task_claims(&lane("other")).await;
        match claims.map_err(|it| it.to_string())?.epoch() {
            78 => Ok(()),
            epoch => Err(epoch.to_string()),
        }
    })
    .await;
    assert_eq!(broker.verify(&topology).await, []);
    let again = broker.event_claims().await.unwrap().next().await.unwrap();
    again.unwrap().ack().await.unwrap();
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    assert_eq!(claims.epoch(), 78);
    claims.next().await.unwrap().unwrap().ack().await.unwrap();
    let raw = raw(&server).await;
    assert_eq!(consumer_config(&raw).await.metadata[LANE_EPOCH], "78");
}

async fn who_takes_from_a_durable_that_is_made_anew_learns_of_its_epoch(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    broker.ensure(&topology).await.unwrap();
    let claims = broker.task_claims(&lane("ios")).await.unwrap();
    let working = claims.clone();
    let raw = raw(&server).await;
    let stream = raw.get_stream("FANFARE_TASKS").await.unwrap();
    stream.delete_consumer("send-ios-urgent").await.unwrap();
    let later = Topology {
        epoch: 9,
        ack_wait: topology.ack_wait * 2,
        ..topology.clone()
    };
    broker.ensure(&later).await.unwrap();
    broker.commit(&plan("us1", &[("ios", 3)])).await.unwrap();
    assert_eq!(working.epoch(), 1);
    eventually(async || {
        claims.pause_left().await.map_err(|it| it.to_string())?;
        match (working.epoch(), working.ack_wait()) {
            (9, ack_wait) if ack_wait == later.ack_wait => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let taken = eventually(async || working.next().await.unwrap().ok_or("nothing")).await;
    taken.ack().await.unwrap();
    // An epoch never falls, also if somebody makes the durable without one.
    let mut config = consumer_config(&raw).await;
    config.metadata.clear();
    stream.update_consumer(config).await.unwrap();
    claims.pause_left().await.unwrap();
    assert_eq!(working.epoch(), 9);
}

async fn a_missing_stream_and_a_missing_durable_are_named(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    let missing = broker.verify(&topology).await;
    assert_eq!(missing.len(), 11, "{missing:?}");
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

/// Whoever makes streams, buckets and durables from the exported definitions gets what `ensure`
/// makes.
async fn what_is_exported_is_what_is_made(server: TestServer) {
    let broker = connect(&server, "fanfare").await;
    let topology = topology(&server);
    let raw = raw(&server).await;
    for definition in topology.definitions(broker.names()) {
        let Definition { kind, name, config } = definition;
        let (subject, payload) = match kind {
            Kind::Stream | Kind::Bucket(_) => (format!("STREAM.CREATE.{name}"), config),
            Kind::Consumer(stream) => {
                let subject = format!("CONSUMER.DURABLE.CREATE.{stream}.{name}");
                (subject, json!({ "stream_name": stream, "config": config }))
            }
        };
        let made: serde_json::Value = raw.request(subject, &payload).await.unwrap();
        assert_eq!(made.get("error"), None, "{name}: {made}");
    }
    eventually(async || match broker.verify(&topology).await {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    })
    .await;
    let exported = configurations(&raw).await;
    for name in exported.keys() {
        raw.delete_stream(name).await.unwrap();
    }
    broker.ensure(&topology).await.unwrap();
    assert_eq!(configurations(&raw).await, exported);
}

/// The configuration of every stream and of its consumers, as the broker tells it.
async fn configurations(
    raw: &async_nats::jetstream::Context,
) -> std::collections::BTreeMap<String, serde_json::Value> {
    let ask = async |subject: String| -> serde_json::Value {
        let told: serde_json::Value = raw.request(subject, &json!({})).await.unwrap();
        assert_eq!(told.get("error"), None, "{told}");
        told
    };
    let mut found = std::collections::BTreeMap::new();
    let streams = ask("STREAM.LIST".to_owned()).await;
    for stream in streams["streams"].as_array().unwrap() {
        let name = stream["config"]["name"].as_str().unwrap().to_owned();
        let consumers = ask(format!("CONSUMER.LIST.{name}")).await;
        let consumers = consumers["consumers"].as_array().unwrap().iter();
        let mut all: Vec<_> = consumers.map(|it| it["config"].clone()).collect();
        all.sort_by_key(|it| it["durable_name"].to_string());
        all.push(stream["config"].clone());
        found.insert(name, all.into());
    }
    found
}
