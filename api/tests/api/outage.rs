//! The broker is away: nothing is accepted, and all is well once it is back.

use std::time::Duration;

use fanfare_nats::DeviceId;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::harness::{Api, eventually};

const PHONE: &str = "/v1/devices/phone-1";

#[tokio::test]
async fn a_killed_broker_means_503_at_once_and_normal_answers_after_its_restart() {
    let mut api = Api::start().await;
    let device = json!({"app": "ios", "token": "t", "topics": ["all"]});
    let event = json!({"id": "n-1", "topics": ["all"], "title": "One"});
    assert_eq!(api.put(PHONE, &[], &device).await.status, 201);
    assert_eq!(api.get("/readyz").await.status, 200);

    api.server.server().kill9().await.unwrap();
    let away = eventually(async || api.get("/readyz").await, |it| it.status == 503).await;
    away.check_problem(503, "not_ready");
    assert_ne!(away.body["conditions"]["nats"], "met");
    assert_eq!(away.body["conditions"]["api"], "met");
    assert_eq!(api.get("/livez").await.status, 200);
    let began = Instant::now();
    api.get(PHONE)
        .await
        .check_problem(503, "broker_unavailable");
    api.put(PHONE, &[], &device)
        .await
        .check_problem(503, "broker_unavailable");
    api.delete(PHONE, &[])
        .await
        .check_problem(503, "broker_unavailable");
    api.post(&[], &event)
        .await
        .check_problem(503, "broker_unavailable");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );

    api.server.server().restart().await.unwrap();
    eventually(async || api.get("/readyz").await, |it| it.status == 200).await;
    // Refused while away means not stored; of what is answered later, only a 503 leaves it open.
    let mut was_open = false;
    let post = async || {
        let posted = api.post(&[], &event).await;
        was_open |= posted.status == 503;
        posted
    };
    let posted = eventually(post, |it| it.status != 503).await;
    let is_new = posted.status == 201;
    assert!(is_new || (was_open && posted.status == 200), "{posted:?}");
    let put = eventually(
        async || api.put(PHONE, &[], &device).await,
        |it| it.status != 503,
    )
    .await;
    assert_eq!(put.status, 200, "{put:?}");
    api.stop().await;
}

#[tokio::test]
async fn a_silent_broker_means_503_in_time_and_the_same_request_settles_it() {
    let mut api = Api::start().await;
    api.server.server().freeze().unwrap();
    // The signal is sent, but each thread of the server stops when it comes to it.
    let phone = DeviceId::parse("phone-1").unwrap();
    while timeout(Duration::from_millis(300), api.broker.device(&phone))
        .await
        .is_ok()
    {}
    let began = Instant::now();
    let unnamed = json!({"topics": ["all"], "title": "One"});
    let device = json!({"app": "ios", "token": "t"});
    let (unknown, put) = tokio::join!(api.post(&[], &unnamed), api.put(PHONE, &[], &device));
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    unknown.check_problem(503, "broker_unavailable");
    put.check_problem(503, "broker_unavailable");
    api.server.server().thaw().unwrap();

    let id = unknown.body["id"].as_str().unwrap();
    let named = json!({"id": id, "topics": ["all"], "title": "One"});
    let settled = eventually(async || api.post(&[], &named).await, |it| it.status != 503).await;
    assert!([200, 201].contains(&settled.status.as_u16()), "{settled:?}");
    assert_eq!(api.post(&[], &named).await.status, 200);
    let put = eventually(
        async || api.put(PHONE, &[], &device).await,
        |it| it.status != 503,
    )
    .await;
    assert!([200, 201].contains(&put.status.as_u16()), "{put:?}");
}
