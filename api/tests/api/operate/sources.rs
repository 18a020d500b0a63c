//! Sources: how far they are read, by whom, and an operator's pause.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare_nats::service::Service;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, eventually};

const USGS: &str = "/v1/sources/usgs";
const PAUSE: &str = "/v1/sources/usgs/pause";

/// What a fetcher leaves in the control bucket.
async fn begun(api: &Api, source: &str) {
    let key = format!("baseline.{source}");
    let value = || Bytes::from_static(b"{}");
    api.broker.control_create(&key, value()).await.unwrap();
    let key = format!("cursor.{source}.0");
    api.broker.control_put(&key, value()).await.unwrap();
}

#[tokio::test]
async fn sources_are_shown_with_what_their_fetchers_say() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/sources").await.body, json!({"items": []}));
    begun(&api, "usgs").await;
    begun(&api, "news").await;
    let all = api.get("/v1/sources?limit=1").await;
    assert_eq!(all.body["items"][0]["source"], "news");
    assert!(
        all.header("link").contains("/v1/sources?limit=1&cursor="),
        "{all:?}"
    );
    let usgs = api.get(USGS).await;
    assert_eq!(usgs.body["readers"], json!([]));
    assert_eq!(usgs.body["cursors"][0]["input"], 0);
    assert_eq!(usgs.body["paused_until"], Value::Null);

    let told = json!({"sources": {"usgs": {
        "last_success": "2026-03-01T12:00:00Z", "sockets_open": 1, "is_paused": false,
    }}});
    let service = Service {
        role: "fetcher",
        description: "d",
        metadata: BTreeMap::new(),
        figures: Arc::new(move || told.clone()),
    };
    let broker = api.server.broker("f1").await;
    let stop = CancellationToken::new();
    let (presence, _members) = broker.appear(service, stop.clone());
    let answer = eventually(
        async || api.get(USGS).await,
        |it| it.body["readers"][0]["node"] == "f1",
    );
    let reader = answer.await.body["readers"][0].clone();
    assert_eq!(reader["last_success"], "2026-03-01T12:00:00Z");
    assert_eq!(reader["sockets_open"], 1);
    stop.cancel();
    presence.end().await;
    api.stop().await;
}

#[tokio::test]
async fn a_source_is_paused_until_it_is_resumed() {
    let api = Api::start().await;
    begun(&api, "usgs").await;
    let paused = api.put(PAUSE, &[], &json!({"for": "1h"})).await;
    assert_eq!(paused.status, 200, "{paused:?}");
    assert!(paused.body["paused_until"].is_string(), "{paused:?}");
    assert_eq!(api.get(USGS).await.body, paused.body);
    let stored = api.broker.source_pauses().await.unwrap();
    assert_eq!(json!(stored["usgs"].until), paused.body["paused_until"]);
    for _ in 0..2 {
        let resumed = api.delete(PAUSE, &[]).await;
        assert_eq!(
            (resumed.status.as_u16(), &resumed.body["paused_until"]),
            (200, &Value::Null)
        );
    }
    assert!(api.broker.source_pauses().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_source_that_nobody_reads_is_not_paused() {
    let api = Api::start().await;
    begun(&api, "usgs").await;
    for name in ["ugss", "a.b", "%2A", "USGS", "%00"] {
        let path = format!("/v1/sources/{name}");
        api.get(&path).await.check_problem(404, "no_such_source");
        let path = format!("{path}/pause");
        let put = api.put(&path, &[], &json!({"for": "1h"})).await;
        put.check_problem(404, "no_such_source");
        api.delete(&path, &[])
            .await
            .check_problem(404, "no_such_source");
    }
    let past = api
        .put(PAUSE, &[], &json!({"until": "2020-01-01T00:00:00Z"}))
        .await;
    past.check_problem(422, "invalid_fields");
    assert!(api.broker.source_pauses().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_process_that_may_not_operate_shows_sources_and_pauses_none() {
    let api = Api::start_without_operator().await;
    begun(&api, "usgs").await;
    let usgs = api.get(USGS).await;
    assert_eq!(
        (usgs.status.as_u16(), &usgs.body["readers"]),
        (200, &Value::Null)
    );
    let put = api.put(PAUSE, &[], &json!({"for": "1h"})).await;
    put.check_problem(501, "not_configured");
    api.delete(PAUSE, &[])
        .await
        .check_problem(501, "not_configured");
}
