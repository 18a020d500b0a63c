//! Faults that are planted by hand, as a broken notifier would leave them behind.

use std::collections::BTreeMap;
use std::io::Write;

use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::{Broker, DeviceHash, DeviceId, Lane, Level, Plan};
use fanfare_tests::{Pipeline, Process, Setup};
use serde_json::json;

use super::{broker, check_why, event, fanfare, follows, now, object, why};
use crate::support::token;

/// The devices of a planted event, in the order of the walk.
fn walk() -> Vec<(DeviceHash, String)> {
    let names = ["one", "two", "three"];
    let mut walk: Vec<_> = names
        .iter()
        .map(|it| (DeviceId::parse(it).unwrap().hash(), (*it).to_owned()))
        .collect();
    walk.sort();
    walk
}

fn begun() -> Receipt {
    let claim = Claim {
        epoch: 1,
        pass: 1,
        message: 1,
        delivered: 1,
        nonce: 7,
    };
    Receipt::first(claim, "planter", now())
}

/// A receipt that says accepted of these devices of the walk, and stands at `low`.
fn receipt(accepted: &[usize], low: Option<DeviceHash>) -> Receipt {
    let at = now();
    let walk = walk();
    let line = |place: &usize| Line {
        device: walk[*place].0,
        mark: Mark::Accepted,
        attempt: 1,
        reason: None,
        at,
    };
    Receipt {
        low,
        lines: accepted.iter().map(line).collect(),
        ..begun()
    }
}

/// Stores an event with a plan and these receipts, as a broken notifier would; returns its id.
async fn plant(broker: &Broker, item: &str, receipts: &[Receipt]) -> String {
    let event = event(item, Level::First, "planted");
    broker.publish(&event, false).await.unwrap();
    let stored = broker.newest_event(None).await.unwrap().unwrap();
    let plan = Plan {
        event: event.id(),
        event_seq: stored.seq,
        lanes: BTreeMap::from([(Lane::parse("ios-urgent").unwrap(), 0)]),
        revision: broker.put_barrier().await.unwrap(),
        expires_at: event.expires_at,
        planned_at: now(),
    };
    broker.commit(&plan).await.unwrap();
    let task = plan.tasks().next().unwrap();
    let (mut chain, _) = broker.receipts(&task).await.unwrap();
    for receipt in receipts {
        chain.append(receipt).await.unwrap();
    }
    event.id().to_string()
}

/// A pipeline in which nobody sends: three devices, and whatever is planted.
async fn quiet() -> (Pipeline, Process, Broker) {
    let pipeline = Pipeline::start(Setup::default()).await;
    let (process, api) = pipeline.api().await;
    for (n, (_, device)) in walk().iter().enumerate() {
        api.put(device, &follows(n, &json!(["planted"]))).await;
    }
    let broker = broker(&pipeline).await;
    (pipeline, process, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_a_planted_loss_and_a_planted_suppression_and_names_the_device() {
    let (pipeline, api, broker) = quiet().await;
    let walk = walk();
    let healthy = plant(&broker, "healthy", &[begun(), receipt(&[0, 1, 2], None)]).await;
    let one = ["verify", "--event", healthy.as_str()];
    let ended = fanfare(&pipeline, &one).await;
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    assert!(ended.printed.contains("\nadds up"), "{}", ended.printed);

    let skipping = [begun(), receipt(&[0, 2], None)];
    let lost = plant(&broker, "lost", &skipping).await;
    let ended = fanfare(&pipeline, &["verify", "--event", &lost]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    let expected = format!("lost device {} (task ios-urgent 0)", walk[1].1);
    assert!(ended.printed.contains(&expected), "{}", ended.printed);

    let passing = [begun(), receipt(&[1], Some(walk[2].0)), receipt(&[2], None)];
    let suppressed = plant(&broker, "suppressed", &passing).await;
    let ended = fanfare(&pipeline, &["verify", "--event", &suppressed]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    let expected = format!("suppressed device {} (task ios-urgent 0)", walk[0].1);
    assert!(ended.printed.contains(&expected), "{}", ended.printed);

    let ended = fanfare(&pipeline, &["verify", "--since", "10m", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    let report = object(&ended);
    let totals = &report["totals"];
    for (part, n) in [("owed", 9), ("accepted", 7), ("lost", 1), ("suppressed", 1)] {
        assert_eq!(totals[part], n, "{part}: {report:#}");
    }
    let told = why(&pipeline, &lost, &walk[1].1).await;
    check_why(&told, "lost", &["no receipt says"]);
    api.drain(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_ledger_verify_finds_a_planted_repeat_and_a_push_that_never_arrived() {
    let (pipeline, api, broker) = quiet().await;
    let id = plant(&broker, "item", &[begun(), receipt(&[0, 1, 2], None)]).await;
    let path = pipeline.folder().join("planted.jsonl");
    let write = |tokens: &[usize]| {
        let mut file = std::fs::File::create(&path).unwrap();
        for (seq, n) in tokens.iter().enumerate() {
            let line = json!({
                "kind": "request", "seq": seq, "token": token(*n), "event": id,
                "verdict": "accepted", "status": 200,
            });
            writeln!(file, "{line}").unwrap();
            writeln!(
                file,
                "{}",
                json!({"kind": "answered", "of": seq, "sent": true})
            )
            .unwrap();
        }
    };
    let ledger = path.to_str().unwrap();
    let arguments = ["verify", "--event", id.as_str(), "--ledger", ledger];

    write(&[0, 1, 2]);
    let ended = fanfare(&pipeline, &arguments).await;
    assert_eq!(ended.code, Some(0), "{}", ended.printed);
    write(&[0, 1, 2, 1]);
    let ended = fanfare(&pipeline, &arguments).await;
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    assert!(
        ended.printed.contains("1 really repeated"),
        "{}",
        ended.printed
    );
    write(&[0, 2]);
    let ended = fanfare(&pipeline, &arguments).await;
    assert_eq!(ended.code, Some(1), "{}", ended.printed);
    let expected = "1 accepted by the receipts never arrived";
    assert!(ended.printed.contains(expected), "{}", ended.printed);
    api.drain(&[]).await;
}
