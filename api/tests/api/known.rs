//! What is asked of all devices together.

use fanfare_api::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

async fn register(api: &Api, id: &str, document: Value) {
    let mut document = document;
    document["token"] = json!(format!("token-of-{id}"));
    let path = format!("/v1/devices/{id}");
    let put = api.put(&path, &[], &document).await;
    assert!(put.status.is_success(), "{put:?}");
}

/// An API that has loaded its index.
async fn loaded(config: Config) -> Api {
    let api = Api::start_with(config).await;
    eventually(async || api.get("/v1/topics").await, |it| it.status != 503).await;
    api
}

async fn ask(api: &Api, query: &str, body: &Value) -> Answer {
    let path = format!("/v1/topics/audience{query}");
    api.send(Method::POST, &path, &[], Some(body)).await
}

#[tokio::test]
async fn patterns_are_listed_with_those_who_follow_them_and_who_registered_a_moment_ago_counts() {
    let api = loaded(Config::default()).await;
    let (big, bigger) = (
        json!([{"field": "mag", "min": 5}]),
        json!([{"field": "mag", "min": 7}]),
    );
    let twice = json!([
        {"pattern": "quakes.>", "filters": big}, {"pattern": "quakes.>", "filters": bigger},
    ]);
    register(
        &api,
        "a",
        json!({"app": "ios", "topics": ["news.*", "quakes.>"]}),
    )
    .await;
    register(&api, "b", json!({"app": "ios", "topics": twice})).await;
    let expected =
        json!([{"pattern": "news.*", "devices": 1}, {"pattern": "quakes.>", "devices": 2}]);
    // Each answer holds what was acknowledged before its question.
    for n in 0..20 {
        let pattern = format!("turn.n{n}");
        register(&api, "c", json!({"app": "ios", "topics": [pattern]})).await;
        let all = api.get("/v1/topics").await.body["items"].clone();
        assert_eq!(all[2], json!({"pattern": pattern, "devices": 1}), "{all}");
        assert_eq!(json!([all[0], all[1]]), expected);
    }
    let first = api.get("/v1/topics?limit=1").await;
    assert_eq!(first.body["items"][0], expected[0]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = api
        .get(&format!("/v1/topics?limit=1&cursor={cursor}"))
        .await;
    assert_eq!(second.body["items"][0], expected[1]);
    assert!(
        second
            .header("link")
            .starts_with("</v1/topics?limit=1&cursor="),
        "{second:?}"
    );
    api.delete("/v1/devices/b", &[]).await;
    assert_eq!(api.get("/v1/topics").await.body["items"][1]["devices"], 1);
}

/// Four devices of one user.
async fn with_four() -> Api {
    let api = loaded(Config::default()).await;
    let strong = json!([{"pattern": "quakes.*", "filters": [{"field": "mag", "min": 5}]}]);
    for (id, app, topics) in [
        ("a", "ios", json!(["quakes.>"])),
        ("b", "ios", strong.clone()),
        ("c", "android", strong),
        ("d", "android", json!(["news.it"])),
    ] {
        register(
            &api,
            id,
            json!({"app": app, "user": "ada", "topics": topics}),
        )
        .await;
    }
    api
}

#[tokio::test]
async fn who_would_get_an_event_is_counted_by_lane_and_told_page_by_page() {
    let api = with_four().await;
    let question = json!({"topics": ["quakes.us"], "data": {"mag": 5.5}, "priority": "bulk"});
    let mut ids = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let answer = ask(&api, &query, &question).await;
        let body = &answer.body;
        assert_eq!(
            (&body["devices"], &body["n_patterns"]),
            (&json!(3), &json!(2)),
            "{body}"
        );
        assert_eq!(body["patterns"], json!(["quakes.*", "quakes.>"]));
        assert_eq!(
            body["lanes"],
            json!([
                {"lane": "android-bulk", "app": "android", "urgency": "bulk", "devices": 1},
                {"lane": "ios-bulk", "app": "ios", "urgency": "bulk", "devices": 2},
            ])
        );
        let items = body["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        ids.extend(items.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = body["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=2&cursor={cursor}");
    }
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b", "c"]);
    let cursor = ask(&api, "?cursor=6161", &question).await;
    cursor.check_problem(400, "invalid_request");
}

#[tokio::test]
async fn an_audience_is_asked_for_like_an_event() {
    let api = with_four().await;
    let weak = ask(
        &api,
        "",
        &json!({"topics": ["quakes.us"], "data": {"mag": 4}}),
    )
    .await;
    assert_eq!(weak.body["lanes"][0]["lane"], "ios-urgent", "{weak:?}");
    let ada = ask(&api, "", &json!({"user": "ada"})).await;
    assert_eq!(
        (&ada.body["devices"], &ada.body["patterns"]),
        (&json!(4), &json!([]))
    );
    let one = ask(&api, "", &json!({"device": "d"})).await;
    assert_eq!(one.body["items"], json!([{"id": "d", "app": "android"}]));
    let nobody = ask(&api, "", &json!({"topics": ["weather"]})).await;
    assert_eq!(
        (&nobody.body["devices"], &nobody.body["lanes"]),
        (&json!(0), &json!([]))
    );

    let wrong = ask(
        &api,
        "",
        &json!({"topics": ["a..b"], "x": 1, "priority": "soon"}),
    )
    .await;
    wrong.check_problem(422, "invalid_fields");
    assert_eq!(wrong.pointers(), ["/topics/0", "/priority", "/x"]);
}

#[tokio::test]
async fn without_the_index_everything_else_works_and_what_needs_it_says_so() {
    let config = Config {
        index: false,
        ..Config::default()
    };
    let api = loaded(config).await;
    register(&api, "a", json!({"app": "ios", "topics": ["news.*"]})).await;
    api.get("/v1/topics").await.check_problem(501, "index_off");
    let asked = ask(&api, "", &json!({"topics": ["news.it"]})).await;
    asked.check_problem(501, "index_off");
    assert_eq!(api.get("/v1/devices/a").await.status, 200);
    api.stop().await;
}

#[tokio::test]
async fn an_index_that_cannot_be_current_answers_nothing_old() {
    let mut api = loaded(Config::default()).await;
    register(&api, "a", json!({"app": "ios", "topics": ["news.*"]})).await;
    api.server.server().kill9().await.unwrap();
    let away = eventually(async || api.get("/v1/topics").await, |it| it.status == 503).await;
    away.check_problem(503, "broker_unavailable");
    api.server.server().restart().await.unwrap();
    let back = eventually(async || api.get("/v1/topics").await, |it| it.status == 200).await;
    assert_eq!(
        back.body["items"],
        json!([{"pattern": "news.*", "devices": 1}])
    );
    register(&api, "b", json!({"app": "ios", "topics": ["news.*"]})).await;
    assert_eq!(api.get("/v1/topics").await.body["items"][0]["devices"], 2);
}
