//! Events by topic and time, page by page.

use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Answer, Api};
use crate::story::stored;

async fn post(api: &Api, id: &str, topic: &str) {
    let body = json!({"id": id, "topics": [topic], "title": id, "data": {"n": 1}});
    assert_eq!(api.post(&[], &body).await.status, 201);
}

fn ids(answer: &Answer) -> Vec<String> {
    let items = answer.body["items"].as_array().unwrap();
    items
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect()
}

/// All pages, by their links.
async fn walk(api: &Api, query: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), format!("/v1/events{query}"));
    loop {
        let answer = api.get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        pages.push(ids(&answer));
        let Some(link) = answer.header("link").strip_prefix('<') else {
            assert_eq!(answer.body.get("next_cursor"), None);
            return pages;
        };
        link.split('>').next().unwrap().clone_into(&mut path);
    }
}

#[tokio::test]
async fn events_are_listed_the_newest_first_by_topic_and_time() {
    let api = Api::start().await;
    assert_eq!(walk(&api, "").await, [Vec::<String>::new()]);
    for n in 0..7 {
        post(&api, &format!("q{n}"), "quakes.us").await;
        post(&api, &format!("w{n}"), "weather").await;
    }
    let pages = walk(&api, "?topic=quakes.%3E&limit=3").await;
    assert_eq!(
        pages,
        [vec!["q6", "q5", "q4"], vec!["q3", "q2", "q1"], vec!["q0"]]
    );
    assert_eq!(
        walk(&api, "?topic=weather&topic=quakes.*")
            .await
            .concat()
            .len(),
        14
    );
    let all = api.get("/v1/events").await;
    let first = &all.body["items"][0];
    assert_eq!(
        (&first["title"], &first["data"]),
        (&json!("w6"), &json!({"n": 1}))
    );
    assert_eq!(
        (&first["priority"], &first["delivery"]),
        (&json!("urgent"), &json!("at_least_once"))
    );
    let at = |id: &str| -> Value {
        let items = all.body["items"].as_array().unwrap();
        let item = items.iter().find(|it| it["id"] == id).unwrap();
        item["stored_at"].clone()
    };
    let (since, until) = (at("q2"), at("q4"));
    let query = format!(
        "?since={}&until={}&limit=2",
        since.as_str().unwrap(),
        until.as_str().unwrap()
    );
    let pages = walk(&api, &query).await;
    assert_eq!(pages.concat(), ["w3", "q3", "w2", "q2"]);
    for wrong in [
        "?since=today",
        "?until=1",
        "?topic=a..b",
        "?cursor=zz",
        "?cursor=7a",
        "?limit=0",
    ] {
        api.get(&format!("/v1/events{wrong}"))
            .await
            .check_problem(400, "invalid_request");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_page_looks_through_a_bounded_part_and_says_where_to_go_on() {
    let api = Api::start().await;
    post(&api, "wanted", "rare").await;
    post(&api, "other", "all").await;
    let (_, other) = stored(&api, "other").await;
    let publishing = futures::stream::iter(0..2100).map(|n| {
        let mut event = other.clone();
        event.item = format!("o{n}");
        let broker = &api.broker;
        async move { broker.publish(&event, false).await.unwrap() }
    });
    let n = publishing.buffer_unordered(64).count().await;
    assert_eq!(n, 2100);
    // A slow machine ends a page by time before its part is looked through: then there are more.
    let pages = walk(&api, "?topic=rare").await;
    assert!(pages.len() >= 2 && pages[0].is_empty(), "{pages:?}");
    assert_eq!(pages.concat(), ["wanted"]);
    api.stop().await;
}
