//! What was given up: found, shown, and sent again once.

use fanfare_nats::dead::DeadLetter;
use fanfare_nats::receipt::Mark;
use fanfare_nats::{DeviceHash, Task};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api};
use crate::story::{line, plan, post, receipt, register};

const ALL: &str = "/v1/dead-letters";

async fn replay(api: &Api, body: &Value) -> Answer {
    let path = "/v1/dead-letters/replay";
    api.send(Method::POST, path, &[], Some(body)).await
}

/// An event whose provider refused these devices.
async fn refused(api: &Api, item: &str, devices: &[&str]) -> (String, Task) {
    for device in devices {
        register(api, device, &json!(["quakes.>"])).await;
    }
    let event = post(api, item).await;
    let task = plan(api, item, devices.len() as u64)
        .await
        .tasks()
        .next()
        .unwrap();
    let marks = devices
        .iter()
        .map(|it| line(it, Mark::Refused, Some("TopicDisallowed")));
    for device in devices {
        let (hash, at) = (DeviceHash::of(device), fanfare_nats::clock::now());
        let error = "Topic\u{202e}\nDisallowed";
        let letter = DeadLetter::refused(&task, hash, 1, error, at);
        api.broker.bury(&letter).await.unwrap();
    }
    receipt(api, &task, marks.collect(), true).await;
    (event, task)
}

fn numbers(answer: &Answer) -> Vec<u64> {
    let items = answer.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|it| it["number"].as_u64().unwrap())
        .collect()
}

/// The numbers of each page, by the links from one to the next.
async fn walk(api: &Api, mut path: String) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    loop {
        let page = api.get(&path).await;
        pages.push(numbers(&page));
        let link = page.header("link");
        let Some((next, _)) = link.trim_start_matches('<').split_once('>') else {
            break;
        };
        next.clone_into(&mut path);
    }
    pages
}

#[tokio::test]
async fn letters_are_listed_narrowed_down_and_shown_without_a_token() {
    let api = Api::start().await;
    assert_eq!(api.get(ALL).await.body, json!({"items": []}));
    let (one, _) = refused(&api, "one", &["a", "b", "c"]).await;
    refused(&api, "two", &["d"]).await;
    let all = api.get(ALL).await;
    assert_eq!(numbers(&all), [1, 2, 3, 4]);
    assert!(!all.body.to_string().contains("canary"), "{all:?}");
    let first = &all.body["items"][0];
    assert_eq!(
        (&first["now"], &first["reason"]),
        (&json!("open"), &json!("refused"))
    );
    assert_eq!(
        (&first["app"], &first["event"]),
        (&json!("ios"), &json!(one))
    );
    assert_eq!(first["error"], "Topic Disallowed");
    assert_eq!(api.get("/v1/dead-letters/1").await.body, *first);

    let pages = walk(&api, format!("{ALL}?limit=2&event={one}")).await;
    assert_eq!(pages, [vec![1, 2], vec![3]]);
    for none in ["app=android", "reason=poison", "reason=advisory"] {
        assert_eq!(
            numbers(&api.get(&format!("{ALL}?{none}")).await),
            [0; 0],
            "{none}"
        );
    }
    for wrong in ["reason=x", "app=%20", "event=1", "cursor=6162", "limit=0"] {
        let answer = api.get(&format!("{ALL}?{wrong}")).await;
        answer.check_problem(400, "invalid_request");
    }
    for none in ["5", "0", "x", "-1", "99999999999999999999"] {
        let answer = api.get(&format!("{ALL}/{none}")).await;
        answer.check_problem(404, "no_such_dead_letter");
    }
}

#[tokio::test]
async fn a_replay_sends_once_what_nobody_has_accepted_and_a_dry_run_nothing() {
    let api = Api::start().await;
    let (event, task) = refused(&api, "one", &["a", "b", "c"]).await;
    receipt(&api, &task, vec![line("b", Mark::Accepted, None)], true).await;
    let by_event = |is_dry: bool| json!({"event": event, "dry_run": is_dry});

    let dry = replay(&api, &by_event(true)).await;
    assert_eq!(dry.status, 200, "{dry:?}");
    assert_eq!(
        (&dry.body["letters"], &dry.body["open"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(dry.body["devices"], 0);
    assert_eq!(dry.body["left_alone"][0]["now"], "accepted");
    let receipts = api.broker.receipts(&task).await.unwrap().1;
    assert_eq!(
        receipts.unwrap().lines[0].mark,
        Mark::Accepted,
        "a dry run writes nothing"
    );

    let done = replay(&api, &by_event(false)).await;
    assert_eq!(
        (&done.body["open"], &done.body["devices"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(done.body["failed"], 0);
    let again = replay(&api, &by_event(false)).await;
    assert_eq!(
        (&again.body["open"], &again.body["devices"]),
        (&json!(0), &json!(0))
    );
    let letter = api.get("/v1/dead-letters/1").await.body;
    assert_eq!(letter["now"], "waiting");

    replay(&api, &json!({"letters": [9]}))
        .await
        .check_problem(404, "no_such_dead_letter");
    let nothing = replay(&api, &json!({"dry_run": true})).await;
    nothing.check_problem(422, "invalid_fields");
}

#[tokio::test]
async fn a_replay_takes_what_was_described_and_nothing_else() {
    let api = Api::start().await;
    let (one, _) = refused(&api, "one", &["a", "b"]).await;
    let (two, _) = refused(&api, "two", &["c"]).await;
    for (which, expected) in [
        (json!({"event": one}), 2),
        (json!({"event": two}), 1),
        (json!({"app": "ios"}), 3),
        (json!({"app": "android"}), 0),
        (json!({"reason": "refused"}), 3),
        (json!({"reason": "poison"}), 0),
        (json!({"app": "ios", "event": two, "reason": "refused"}), 1),
        (json!({"app": "ios", "after": 1}), 2),
        (json!({"letters": [3]}), 1),
    ] {
        let mut dry = which.clone();
        dry["dry_run"] = json!(true);
        let answer = replay(&api, &dry).await;
        assert_eq!(answer.body["letters"], expected, "{which}: {answer:?}");
    }
    let done = replay(&api, &json!({"event": two})).await;
    assert_eq!(done.body["devices"], 1, "{done:?}");
    for (number, now) in [(1, "open"), (2, "open"), (3, "waiting")] {
        let letter = api.get(&format!("{ALL}/{number}")).await;
        assert_eq!(letter.body["now"], now, "{number}");
    }
}

#[tokio::test]
async fn many_letters_come_in_pages_and_are_replayed_in_parts() {
    const LETTERS: u64 = 130;
    let api = Api::start().await;
    let (event, task) = refused(&api, "one", &["d-0"]).await;
    for n in 1..LETTERS {
        let hash = DeviceHash::of(&format!("d-{n}"));
        let at = fanfare_nats::clock::now();
        let letter = DeadLetter::refused(&task, hash, 1, "TopicDisallowed", at);
        api.broker.bury(&letter).await.unwrap();
    }
    let pages = walk(&api, format!("{ALL}?limit=200")).await;
    let sizes: Vec<_> = pages.iter().map(Vec::len).collect();
    assert_eq!(sizes, [50, 50, 30]);
    assert_eq!(pages.concat(), (1..=LETTERS).collect::<Vec<_>>());

    let first = replay(&api, &json!({"event": event, "dry_run": true})).await;
    assert_eq!(
        (&first.body["letters"], &first.body["next"]),
        (&json!(100), &json!(100))
    );
    let rest = json!({"event": event, "dry_run": true, "after": first.body["next"]});
    let rest = replay(&api, &rest).await;
    assert_eq!(
        (&rest.body["letters"], &rest.body["next"]),
        (&json!(30), &Value::Null)
    );
}

#[tokio::test]
async fn letters_are_for_processes_that_operate() {
    let api = Api::start_without_operator().await;
    api.get(ALL).await.check_problem(501, "not_configured");
    api.get("/v1/dead-letters/1")
        .await
        .check_problem(501, "not_configured");
    replay(&api, &json!({"letters": [1]}))
        .await
        .check_problem(501, "not_configured");
}
