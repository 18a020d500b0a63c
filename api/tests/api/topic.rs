//! Following a pattern and following it no more, one at a time.

use fanfare_nats::DeviceId;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api};

const PHONE: &str = "/v1/devices/phone-1";
const QUAKES: &str = "/v1/devices/phone-1/topics/quakes.%3E";

async fn registered(api: &Api, topics: &Value) -> Answer {
    let body = json!({"app": "ios", "token": "canary-token", "topics": topics});
    let answer = api.put(PHONE, &[], &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

async fn follow(api: &Api, path: &str, headers: &[(&str, &str)]) -> Answer {
    api.send(Method::PUT, path, headers, None).await
}

#[tokio::test]
async fn a_pattern_is_followed_and_followed_no_more() {
    let api = Api::start().await;
    let before = registered(&api, &json!(["all"])).await;
    let followed = follow(&api, QUAKES, &[]).await;
    assert_eq!(followed.status, 201, "{followed:?}");
    let expected = json!([{"pattern": "all"}, {"pattern": "quakes.>"}]);
    assert_eq!(followed.body["topics"], expected);
    assert_eq!(followed.body["registered_at"], before.body["registered_at"]);
    let shown = api.get(PHONE).await;
    assert_eq!(
        (shown.header("etag"), &shown.body),
        (followed.header("etag"), &followed.body)
    );

    let again = follow(&api, QUAKES, &[]).await;
    assert_eq!(
        (again.status.as_u16(), again.header("etag")),
        (200, followed.header("etag"))
    );
    let filters = json!({"filters": [{"field": "mag", "min": 5.0}]});
    let filtered = api.put(QUAKES, &[], &filters).await;
    assert_eq!(filtered.status, 200, "{filtered:?}");
    assert_eq!(filtered.body["topics"][1]["filters"], filters["filters"]);
    assert_ne!(filtered.header("etag"), followed.header("etag"));

    for _ in 0..2 {
        let ended = api.delete(QUAKES, &[]).await;
        assert_eq!(ended.status, 204, "{ended:?}");
        let shown = api.get(PHONE).await;
        assert_eq!(shown.header("etag"), ended.header("etag"));
        assert_eq!(shown.body["topics"], json!([{"pattern": "all"}]));
    }
    let phone = DeviceId::parse("phone-1").unwrap();
    let stored = api.broker.device(&phone).await.unwrap().unwrap();
    assert_eq!(stored.device.token.reveal(), "canary-token");
    api.stop().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused() {
    let api = Api::start().await;
    follow(&api, QUAKES, &[])
        .await
        .check_problem(404, "no_such_device");
    api.delete(QUAKES, &[])
        .await
        .check_problem(404, "no_such_device");
    let guarded = follow(&api, QUAKES, &[("if-match", "*")]).await;
    guarded.check_problem(412, "precondition_failed");

    let many: Vec<String> = (0..256).map(|n| format!("t.{n}")).collect();
    let old = registered(&api, &json!(many)).await;
    follow(&api, QUAKES, &[])
        .await
        .check_problem(422, "invalid_fields");
    assert_eq!(
        follow(&api, &format!("{PHONE}/topics/t.7"), &[])
            .await
            .status,
        200
    );
    assert_eq!(
        api.delete(&format!("{PHONE}/topics/t.7"), &[]).await.status,
        204
    );
    let guard = [("if-match", old.header("etag"))];
    follow(&api, QUAKES, &guard)
        .await
        .check_problem(412, "precondition_failed");
    api.delete(&format!("{PHONE}/topics/t.8"), &guard)
        .await
        .check_problem(412, "precondition_failed");
    assert_eq!(follow(&api, QUAKES, &[]).await.status, 201);

    for pattern in ["a..b", "fanfare.%3E", "%3E.a", "a%20b", "%FF"] {
        let answer = follow(&api, &format!("{PHONE}/topics/{pattern}"), &[]).await;
        answer.check_problem(400, "invalid_request");
    }
    let wrong = json!({"filters": [{"field": "mag"}, {"field": "mag", "min": 1}], "more": 1});
    let answer = api.put(QUAKES, &[], &wrong).await;
    answer.check_problem(422, "invalid_fields");
    assert_eq!(answer.pointers(), ["/filters/0", "/more"]);
}

#[tokio::test]
async fn whoever_follows_at_the_same_time_loses_nothing() {
    let api = Api::start().await;
    registered(&api, &json!(["all"])).await;
    let paths: Vec<String> = (0..6).map(|n| format!("{PHONE}/topics/t.{n}")).collect();
    let [one, two, three, four, five, six] = paths.as_slice() else {
        panic!("six");
    };
    let token = json!({"app": "ios", "token": "another", "topics": ["all", "t.0"]});
    let answers: [_; 6] = tokio::join!(
        follow(&api, one, &[]),
        follow(&api, two, &[]),
        follow(&api, three, &[]),
        follow(&api, four, &[]),
        follow(&api, five, &[]),
        follow(&api, six, &[]),
    )
    .into();
    assert!(answers.iter().all(|it| it.status == 201), "{answers:?}");
    let shown = api.get(PHONE).await;
    assert_eq!(
        shown.body["topics"].as_array().unwrap().len(),
        7,
        "{shown:?}"
    );
    // Beside a writer of the whole document: afterwards it is as one order of both leaves it.
    let (put, followed) = tokio::join!(api.put(PHONE, &[], &token), follow(&api, two, &[]));
    assert_eq!(put.status, 200);
    let is_after = followed.status == 201;
    let shown = api.get(PHONE).await;
    let n_topics = shown.body["topics"].as_array().unwrap().len();
    assert_eq!(n_topics, if is_after { 3 } else { 2 }, "{shown:?}");
}
