//! An operator's pause of a lane.

use fanfare_nats::Lane;
use fanfare_nats::stream::Topology;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, eventually};

const BULK: &str = "/v1/lanes/ios-bulk";
const PAUSE: &str = "/v1/lanes/ios-bulk/pause";

async fn with_lanes(api: &Api) {
    let lanes = ["ios-urgent", "ios-bulk"].map(|it| Lane::parse(it).unwrap());
    let topology = Topology::new(1, lanes.to_vec());
    api.broker.ensure(&topology).await.unwrap();
}

/// The connection of operators comes by itself, after the API listens.
async fn until_it_operates(ask: impl AsyncFnMut() -> Answer) -> Answer {
    eventually(ask, |it| it.status != 503).await
}

#[tokio::test]
async fn a_lane_is_paused_until_it_is_resumed() {
    let api = Api::start().await;
    with_lanes(&api).await;
    let hour = json!({"for": "1h"});
    let paused = until_it_operates(async || api.put(PAUSE, &[], &hour).await).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(paused.body["lane"], "ios-bulk");
    assert!(paused.body["paused_until"].is_string(), "{paused:?}");
    assert_eq!(api.get(BULK).await.body, paused.body);
    let other = api.get("/v1/lanes/ios-urgent").await.body;
    assert_eq!(other["paused_until"], Value::Null);

    let until = fanfare_nats::clock::now() + jiff::SignedDuration::from_hours(2);
    let later = api
        .put(PAUSE, &[], &json!({"until": until.to_string()}))
        .await;
    assert_eq!(later.body["paused_until"], json!(until));

    for _ in 0..2 {
        let resumed = api.delete(PAUSE, &[]).await;
        assert_eq!(resumed.status, 200, "{resumed:?}");
        assert_eq!(resumed.body["paused_until"], Value::Null);
    }
    assert_eq!(api.get(BULK).await.body["paused_until"], Value::Null);
    api.stop().await;
}

#[tokio::test]
async fn a_lane_that_there_is_not_is_not_paused() {
    let api = Api::start().await;
    with_lanes(&api).await;
    let hour = json!({"for": "1h"});
    for lane in ["web-bulk", "ios", "IOS-bulk", "%00", "ios-bulk%2F.."] {
        let path = format!("/v1/lanes/{lane}");
        api.get(&path).await.check_problem(404, "no_such_lane");
        let path = format!("{path}/pause");
        let put = until_it_operates(async || api.put(&path, &[], &hour).await).await;
        put.check_problem(404, "no_such_lane");
        api.delete(&path, &[])
            .await
            .check_problem(404, "no_such_lane");
    }
    let endless = api.put(PAUSE, &[], &json!({"for": "400d"})).await;
    endless.check_problem(422, "invalid_fields");
    assert_eq!(endless.pointers(), ["/for"]);
    let body = b"{\"for\":\"1h\"}".to_vec();
    let text = api
        .send_bytes(Method::PUT, PAUSE, &[], Some(("text/plain", body)))
        .await;
    text.check_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_process_that_may_not_operate_says_so() {
    let api = Api::start_without_operator().await;
    with_lanes(&api).await;
    let put = api.put(PAUSE, &[], &json!({"for": "1h"})).await;
    put.check_problem(501, "not_configured");
    assert!(
        put.body["detail"]
            .as_str()
            .unwrap()
            .contains("[api.operate]"),
        "{put:?}"
    );
    api.delete(PAUSE, &[])
        .await
        .check_problem(501, "not_configured");
    assert_eq!(api.get(BULK).await.status, 200, "to look is no operating");
}
