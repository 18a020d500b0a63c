//! Plans and their tasks: together or not at all, once, whoever comes second.

use std::collections::BTreeMap;

use fanfare_nats::batch::Committed;
use fanfare_nats::subject::Subject;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Plan};
use futures::future::join_all;

use super::support::{connect, plan, raw, subjects};

on_one_and_three!(
    a_plan_is_stored_with_each_of_its_tasks_once,
    whoever_plans_again_finds_the_first_plan,
    of_racing_planners_one_stores_and_the_others_find_its_plan,
    tasks_that_are_missing_behind_a_plan_are_stored_by_the_next_planner,
);

/// Everything that must be stored for these plans, once.
fn wanted(broker: &Broker, plans: &[Plan]) -> BTreeMap<String, usize> {
    let subjects = plans.iter().flat_map(|plan| {
        let tasks = plan.tasks().map(|task| Subject::Task {
            lane: task.lane.clone(),
            event: task.event.clone(),
            n: task.range.index(),
            pass: 1,
        });
        let plan = Subject::Plan {
            event: plan.event.clone(),
        };
        std::iter::once(plan).chain(tasks).collect::<Vec<_>>()
    });
    subjects
        .map(|it| (broker.names().subject(&it), 1))
        .collect()
}

async fn stored(server: &TestServer, broker: &Broker) -> BTreeMap<String, usize> {
    subjects(&raw(server).await, &broker.names().tasks(), ">").await
}

/// Nobody, one task, some tasks in two lanes, more than go one by one, and the most there may be.
fn sizes() -> Vec<Plan> {
    vec![
        plan("nobody", &[]),
        plan("one", &[("ios", 1)]),
        plan("some", &[("ios", 2000), ("android", 1)]),
        plan("many", &[("ios", 5000), ("android", 5000)]),
        plan("most", &[("ios", 1_000_000)]),
    ]
}

async fn a_plan_is_stored_with_each_of_its_tasks_once(server: TestServer) {
    let broker = server.broker("n1").await;
    let plans = sizes();
    for plan in &plans {
        assert_eq!(broker.stored_plan(&plan.event).await.unwrap(), None);
        assert_eq!(broker.commit(plan).await.unwrap(), Committed::Stored);
        assert_eq!(
            broker.stored_plan(&plan.event).await.unwrap().as_ref(),
            Some(plan)
        );
    }
    assert_eq!(stored(&server, &broker).await, wanted(&broker, &plans));
}

async fn whoever_plans_again_finds_the_first_plan(server: TestServer) {
    let brokers = [server.broker("n1").await, server.broker("n2").await];
    let plans = sizes();
    for plan in &plans {
        assert_eq!(brokers[0].commit(plan).await.unwrap(), Committed::Stored);
        // A retry after a lost answer is the very same plan.
        assert_eq!(brokers[0].commit(plan).await.unwrap(), Committed::Stored);
        for other in sizes() {
            let other = Plan {
                event: plan.event.clone(),
                revision: 100,
                ..other
            };
            assert_eq!(
                brokers[1].commit(&other).await.unwrap(),
                Committed::Found(plan.clone())
            );
        }
    }
    assert_eq!(
        stored(&server, &brokers[0]).await,
        wanted(&brokers[0], &plans)
    );
}

async fn of_racing_planners_one_stores_and_the_others_find_its_plan(server: TestServer) {
    let brokers = [
        server.broker("n1").await,
        server.broker("n2").await,
        server.broker("n3").await,
    ];
    let mut winners = Vec::new();
    for round in 0..20 {
        // Their indexes differ a little, so their plans may differ in size.
        let devices: [u64; 3] = if round % 2 == 0 {
            [900, 1100, 1900]
        } else {
            [9000, 4000, 2000]
        };
        let plans = devices.map(|it| plan(&format!("us{round}"), &[("ios", it)]));
        let committed =
            join_all(brokers.iter().zip(&plans).map(|(it, plan)| it.commit(plan))).await;
        let committed: Vec<_> = committed.into_iter().map(Result::unwrap).collect();
        let stored = brokers[0]
            .stored_plan(&plans[0].event)
            .await
            .unwrap()
            .unwrap();
        for (plan, committed) in plans.iter().zip(committed) {
            // Two of the plans may be equal; then both are the one that stands.
            let expected = if *plan == stored {
                Committed::Stored
            } else {
                Committed::Found(stored.clone())
            };
            assert_eq!(committed, expected);
        }
        winners.push(stored);
    }
    assert_eq!(
        stored(&server, &brokers[0]).await,
        wanted(&brokers[0], &winners)
    );
}

async fn tasks_that_are_missing_behind_a_plan_are_stored_by_the_next_planner(server: TestServer) {
    // The plan's bytes, taken from another pipeline, and its first task.
    let other = connect(&server, "other").await;
    let topology = fanfare_nats::stream::Topology::new(server.replicas(), Vec::new());
    other.ensure(&topology).await.unwrap();
    let plan = plan("us1", &[("ios", 3000), ("web", 1)]);
    other.commit(&plan).await.unwrap();
    let (broker, raw) = (server.broker("n1").await, raw(&server).await);
    let event = &plan.event;
    for kind in [
        format!("plan.{event}"),
        format!("task.ios-urgent.{event}.3"),
    ] {
        let stream = raw.get_stream(other.names().tasks()).await.unwrap();
        let subject = format!("other.{kind}");
        let message = stream
            .get_last_raw_message_by_subject(&subject)
            .await
            .unwrap();
        let subject = format!("fanfare.{kind}");
        raw.publish(subject, message.payload)
            .await
            .unwrap()
            .await
            .unwrap();
    }

    let again = super::support::plan("us1", &[("ios", 1)]);
    assert_eq!(
        broker.commit(&again).await.unwrap(),
        Committed::Found(plan.clone())
    );
    assert_eq!(stored(&server, &broker).await, wanted(&broker, &[plan]));
}
