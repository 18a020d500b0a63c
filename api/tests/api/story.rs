//! What became of an event, and why a device got it or did not.

use std::collections::BTreeMap;

use fanfare_nats::batch::Way;
use fanfare_nats::event::{ScreenId, SourceName};
use fanfare_nats::plan::cut;
use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::{DeviceHash, Event, Lane, Level, Plan, Task, clock};
use serde_json::{Value, json};

use crate::harness::{Answer, Api};

const REVISION: u64 = 1000;

pub(crate) async fn register(api: &Api, id: &str, topics: &Value) {
    let body = json!({"app": "ios", "token": format!("canary-{id}"), "topics": topics});
    let answer = api.put(&format!("/v1/devices/{id}"), &[], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Posts an event and gives its id among all.
pub async fn post(api: &Api, id: &str) -> String {
    let body = json!({"id": id, "topics": ["quakes.us"], "title": "One", "data": {"mag": 4}});
    let answer = api.post(&[], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["event"].as_str().unwrap().to_owned()
}

pub async fn stored(api: &Api, id: &str) -> (u64, Event) {
    let source = SourceName::api();
    let screen = ScreenId::new(&source, id);
    let found = api.broker.stored_event(&source, &screen, &Level::First);
    found.await.unwrap().unwrap()
}

/// Plans a posted event for so many devices of one lane.
pub async fn plan(api: &Api, id: &str, n_devices: u64) -> Plan {
    let (event_seq, event) = stored(api, id).await;
    let lane = Lane::parse("ios-urgent").unwrap();
    let plan = Plan {
        event: event.id(),
        event_seq,
        lanes: cut(&BTreeMap::from([(lane, n_devices)])),
        revision: REVISION,
        expires_at: event.expires_at,
        planned_at: clock::now(),
    };
    api.broker.store_plan(&plan, Way::PlanFirst).await.unwrap();
    plan
}

pub fn line(device: &str, mark: Mark, reason: Option<&str>) -> Line {
    Line {
        device: DeviceHash::of(device),
        mark,
        attempt: 1,
        reason: reason.map(str::to_owned),
        at: clock::now(),
    }
}

/// Appends a receipt of a task; the walk is over with the last one.
pub async fn receipt(api: &Api, task: &Task, lines: Vec<Line>, is_last: bool) {
    let (mut chain, before) = api.broker.receipts(task).await.unwrap();
    let claim = Claim {
        epoch: 1,
        pass: 1,
        message: 0,
        delivered: 1,
        nonce: 7,
    };
    let first = before.unwrap_or_else(|| Receipt::first(claim, "n1", clock::now()));
    let receipt = Receipt {
        low: first.low.filter(|_| !is_last),
        lines,
        at: clock::now(),
        ..first
    };
    chain.append(&receipt).await.unwrap();
}

/// The two problems are the same but for the ids of their requests.
fn check_same(one: Answer, mut other: Answer) {
    other.body["request_id"] = one.body["request_id"].clone();
    assert_eq!((one.status, &one.body), (other.status, &other.body));
}

#[tokio::test]
async fn an_event_that_nobody_has_planned_waits() {
    let api = Api::start().await;
    let event = post(&api, "order/7").await;
    let by_id = api.get(&format!("/v1/events/{event}")).await;
    assert_eq!(by_id.status, 200, "{by_id:?}");
    let by_own = api.get("/v1/events/order%2F7").await;
    assert_eq!(by_own.body, by_id.body);
    let body = by_id.body;
    assert_eq!(
        (&body["state"], &body["id"]),
        (&json!("waiting"), &json!("order/7"))
    );
    assert_eq!(
        (&body["event"], &body["source"]),
        (&json!(event), &json!("api"))
    );
    assert_eq!(body["topics"], json!(["quakes.us"]));
    assert_eq!(body["counts"]["owed"], Value::Null);
    let what: Vec<_> = moments(&body);
    assert_eq!(what, ["stored", "expires"]);
    api.stop().await;
}

fn moments(body: &Value) -> Vec<&str> {
    let timeline = body["timeline"].as_array().unwrap();
    timeline
        .iter()
        .map(|it| it["what"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_event_is_counted_by_its_receipts() {
    let api = Api::start().await;
    let event = post(&api, "quake-1").await;
    let path = format!("/v1/events/{event}");
    let plan = plan(&api, "quake-1", 600).await;
    let tasks: Vec<Task> = plan.tasks().collect();
    assert_eq!(tasks.len(), 2);
    let planned = api.get(&path).await.body;
    assert_eq!(
        (&planned["state"], &planned["tasks"]["begun"]),
        (&json!("sending"), &json!(0))
    );

    receipt(&api, &tasks[0], vec![], false).await;
    let lines = vec![
        line("a", Mark::Accepted, None),
        line("b", Mark::Later, Some("500")),
        line("c", Mark::Dropped, Some("unsubscribed")),
    ];
    receipt(&api, &tasks[0], lines, false).await;
    let sending = api.get(&path).await.body;
    let counts = &sending["counts"];
    assert_eq!(
        (&counts["accepted"], &counts["pending"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&counts["dropped"], &counts["owed"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(sending["state"], "sending");

    let lines = vec![line("b", Mark::Refused, Some("PayloadTooLarge"))];
    receipt(&api, &tasks[0], lines, true).await;
    receipt(
        &api,
        &tasks[1],
        vec![line("d", Mark::Unregistered, Some("410"))],
        true,
    )
    .await;
    let done = api.get(&path).await.body;
    assert_eq!(done["state"], "done");
    let expected = json!({
        "owed": 4, "accepted": 1, "pending": 0, "expired": 0, "superseded": 0, "dropped": 1,
        "unregistered": 1, "refused": 1, "unclear": 0, "poison": 0, "dead": 1, "repeated": 0,
        "reasons": [
            {"outcome": "dropped", "reason": "unsubscribed", "devices": 1},
            {"outcome": "refused", "reason": "PayloadTooLarge", "devices": 1},
            {"outcome": "unregistered", "reason": "410", "devices": 1},
        ],
        "is_complete": true,
    });
    assert_eq!(done["counts"], expected);
    let steps = [
        "stored",
        "planned",
        "begun",
        "first_accepted",
        "last_accepted",
        "finished",
    ];
    assert_eq!(moments(&done)[..6], steps);
}

/// Between two looks at the streams an event goes from those that wait to those that are planned.
#[tokio::test]
async fn an_event_is_found_by_its_id_whenever_it_is_planned() {
    let api = Api::start().await;
    let broker = api.broker.clone();
    let mut planners = tokio::task::JoinSet::new();
    planners.spawn(async move {
        let claims = broker.event_claims().await.unwrap();
        loop {
            let Some(message) = claims.next().await.unwrap() else {
                continue;
            };
            let event = message.event(broker.names()).unwrap();
            let plan = Plan {
                event: event.id(),
                event_seq: message.seq(),
                lanes: BTreeMap::new(),
                revision: REVISION,
                expires_at: event.expires_at,
                planned_at: clock::now(),
            };
            broker.store_plan(&plan, Way::PlanFirst).await.unwrap();
            message.ack().await.unwrap();
        }
    });
    for n in 0..200 {
        let event = post(&api, &format!("item-{n}")).await;
        let found = api.get(&format!("/v1/events/{event}")).await;
        assert_eq!(found.status, 200, "event {n}: {found:?}");
    }
    planners.shutdown().await;
}

#[tokio::test]
async fn of_many_that_wait_the_newest_are_found_by_their_ids_and_all_by_their_own() {
    let api = Api::start().await;
    let mut events = Vec::new();
    for n in 0..513 {
        events.push(post(&api, &format!("item-{n}")).await);
    }
    for (n, status) in [(0, 404), (1, 200), (512, 200)] {
        let by_id = api.get(&format!("/v1/events/{}", events[n])).await;
        assert_eq!(by_id.status, status, "event {n}: {by_id:?}");
        let by_own = api.get(&format!("/v1/events/item-{n}")).await;
        assert_eq!(by_own.body["event"], events[n], "{by_own:?}");
    }
}

#[tokio::test]
async fn an_event_that_nobody_follows_is_owed_to_nobody() {
    let api = Api::start().await;
    post(&api, "quiet").await;
    plan(&api, "quiet", 0).await;
    let body = api.get("/v1/events/quiet").await.body;
    assert_eq!(
        (&body["state"], &body["counts"]["owed"]),
        (&json!("nobody"), &json!(0))
    );
}

#[tokio::test]
async fn a_device_learns_why() {
    let api = Api::start().await;
    register(&api, "got-it", &json!(["quakes.>"])).await;
    register(&api, "other", &json!(["news"])).await;
    let filters = json!([{"field": "mag", "min": 5}]);
    let strong = json!([{"pattern": "quakes.*", "filters": filters}]);
    register(&api, "strong", &strong).await;
    let event = post(&api, "quake-1").await;
    let path = |device: &str| format!("/v1/events/{event}/deliveries/{device}");
    assert_eq!(
        api.get(&path("got-it")).await.body["ending"],
        "not_planned_yet"
    );

    let plan = plan(&api, "quake-1", 1).await;
    assert_eq!(api.get(&path("got-it")).await.body["ending"], "to_come");
    let task = plan.tasks().next().unwrap();
    receipt(
        &api,
        &task,
        vec![line("got-it", Mark::Accepted, None)],
        true,
    )
    .await;
    let got = api.get(&path("got-it")).await;
    assert_eq!(
        (got.status.as_u16(), &got.body["ending"]),
        (200, &json!("delivered"))
    );
    assert!(
        got.body["sentence"]
            .as_str()
            .unwrap()
            .starts_with("Delivered: "),
        "{got:?}"
    );
    assert_eq!(got.body["attempts"][0]["mark"], "accepted");
    assert_eq!(got.body["event"]["event"], json!(event));
    assert_eq!(got.body["task"]["lane"], "ios-urgent");
    assert_eq!(got.body["token"], "as_it_was");
    assert!(!got.body.to_string().contains("canary"), "{got:?}");
    let by_own = api.get("/v1/events/quake-1/deliveries/got-it").await;
    assert_eq!(by_own.body, got.body);

    assert_eq!(
        api.get(&path("other")).await.body["ending"],
        "not_subscribed"
    );
    let strong = api.get(&path("strong")).await.body;
    assert_eq!(strong["ending"], "filtered_out");
    let condition = &strong["subscriptions"][0]["conditions"][0];
    assert_eq!(condition["holds"], false, "{condition}");
}

#[tokio::test]
async fn what_does_not_exist_is_answered_alike() {
    let api = Api::start().await;
    register(&api, "phone-1", &json!(["quakes.>"])).await;
    let event = post(&api, "quake-1").await;
    let digits = "0".repeat(32);
    let unknown = api.get(&format!("/v1/events/{digits}")).await;
    unknown.check_problem(404, "no_such_event");
    for other in [
        "x",
        "a%2Fb",
        "..%2F..",
        &"x".repeat(300),
        &digits.to_uppercase(),
        "%00",
    ] {
        check_same(
            unknown.clone(),
            api.get(&format!("/v1/events/{other}")).await,
        );
    }
    let unknown = api
        .get(&format!("/v1/events/{digits}/deliveries/phone-1"))
        .await;
    unknown.check_problem(404, "no_such_delivery");
    let of_nobody = api
        .get(&format!("/v1/events/{event}/deliveries/nobody"))
        .await;
    check_same(unknown, of_nobody);
    let odd = api
        .get(&format!("/v1/events/{event}/deliveries/a%20b"))
        .await;
    odd.check_problem(400, "invalid_request");
    let odd = api.get("/v1/events/%FF").await;
    odd.check_problem(400, "invalid_request");
}
