//! Who is alive, and how the lanes are.

use std::time::Duration;

use fanfare_nats::members::Member;
use fanfare_nats::stream::Topology;
use fanfare_nats::{Lane, clock};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

fn names<'a>(answer: &'a Answer, field: &str) -> Vec<&'a str> {
    let items = answer.body["items"].as_array().unwrap();
    items.iter().map(|it| it[field].as_str().unwrap()).collect()
}

/// The address in a `Link` header.
fn next(answer: &Answer) -> String {
    let link = answer.header("link");
    let address = link.strip_suffix(">; rel=\"next\"").unwrap();
    address.strip_prefix('<').unwrap().to_owned()
}

#[tokio::test]
async fn members_are_listed_page_by_page() {
    let api = Api::start().await;
    for role in ["notifier", "fetcher"] {
        let member = Member {
            role: role.to_owned(),
            node: api.broker.node().to_owned(),
            host: "h".to_owned(),
            version: "1".to_owned(),
            weight: 1,
            started: clock::now(),
            waits_for: Some("the index".to_owned()),
        };
        api.broker.put_member(&member).await.unwrap();
    }
    // The API itself says that it lives a moment after its start.
    let all = eventually(
        async || api.get("/v1/members").await,
        |it| names(it, "role").len() == 3,
    );
    let all = all.await;
    assert_eq!(names(&all, "role"), ["api", "fetcher", "notifier"]);
    assert_eq!(all.body["items"][1]["waits_for"], "the index");
    assert_eq!(
        (all.header("link"), &all.body["next_cursor"]),
        ("", &Value::Null)
    );

    let first = api.get("/v1/members?limit=2").await;
    assert_eq!(names(&first, "role"), ["api", "fetcher"]);
    let second = api.get(&next(&first)).await;
    assert_eq!(names(&second, "role"), ["notifier"]);
    assert_eq!(second.header("link"), "");
    for wrong in [
        "limit=0",
        "limit=x",
        "cursor=%25",
        "limit=2&cursor=",
        "cursor=6",
    ] {
        let answer = api.get(&format!("/v1/members?{wrong}")).await;
        answer.check_problem(400, "invalid_request");
    }
}

#[tokio::test]
async fn lanes_are_listed_with_what_waits_and_their_pause() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/lanes").await.body, json!({"items": []}));
    let lanes = ["ios-urgent", "ios-bulk", "android-bulk"].map(|it| Lane::parse(it).unwrap());
    let topology = Topology::new(1, lanes.to_vec());
    api.broker.ensure(&topology).await.unwrap();
    let until = clock::now() + Duration::from_hours(1);
    api.broker.pause_lane(&lanes[1], until).await.unwrap();
    let all = api.get("/v1/lanes").await;
    assert_eq!(
        names(&all, "lane"),
        ["android-bulk", "ios-bulk", "ios-urgent"]
    );
    let paused = &all.body["items"][1];
    assert!(paused["paused_until"].is_string(), "{paused}");
    assert_eq!(
        (&paused["app"], &paused["waiting"]),
        (&json!("ios"), &json!(0))
    );
    assert_eq!(all.body["items"][0]["paused_until"], Value::Null);
    let first = api.get("/v1/lanes?limit=1").await;
    assert_eq!(names(&api.get(&next(&first)).await, "lane"), ["ios-bulk"]);
}
