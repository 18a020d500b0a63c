//! Register, read, update, remove.

use fanfare_nats::DeviceId;
use serde_json::{Value, json};

use crate::harness::Api;

const PHONE: &str = "/v1/devices/phone-1";

fn document(token: &str) -> Value {
    json!({
        "app": "ios", "token": token, "user": "ada", "locale": "de-DE",
        "time_zone": "Europe/Berlin",
        "topics": ["all", {"pattern": "quakes.>", "filters": [{"field": "mag", "min": 5}]}],
    })
}

#[tokio::test]
async fn a_device_is_registered_read_updated_and_removed() {
    let api = Api::start().await;
    api.get(PHONE).await.check_problem(404, "no_such_device");

    let token = "ab".repeat(32);
    let mut created = api.put(PHONE, &[], &document(&token)).await;
    assert_eq!(created.status, 201, "{created:?}");
    let secret = created.body.as_object_mut().unwrap().remove("secret");
    assert!(secret.is_some(), "told once: {created:?}");
    let shown = api.get(PHONE).await;
    assert_eq!((shown.status.as_u16(), &shown.body), (200, &created.body));
    assert_eq!(shown.header("etag"), created.header("etag"));
    assert_eq!(shown.body["token_hint"], "abab");
    assert_eq!(shown.body["topics"][0], json!({"pattern": "all"}));
    assert_eq!(
        shown.body["topics"][1]["filters"],
        json!([{"field": "mag", "min": 5.0}])
    );
    assert!(!shown.body.to_string().contains(&token), "{shown:?}");

    let mut again = api.put(PHONE, &[], &document(&token)).await;
    let seen = again.body.as_object_mut().unwrap().remove("last_seen");
    let before = created.body.as_object_mut().unwrap().remove("last_seen");
    assert!(
        seen.as_ref().unwrap().as_str() > before.as_ref().unwrap().as_str(),
        "{seen:?} {before:?}"
    );
    assert_eq!((again.status.as_u16(), &again.body), (200, &created.body));
    assert_ne!(again.header("etag"), created.header("etag"));
    let stored = api
        .broker
        .device(&DeviceId::parse("phone-1").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.header("etag"), format!("\"{}\"", stored.revision));
    assert_eq!(stored.device.token.reveal(), token);

    let renewed = api.put(PHONE, &[], &document(&"cd".repeat(32))).await;
    assert!(renewed.body["registered_at"].as_str() > created.body["registered_at"].as_str());

    for _ in 0..2 {
        assert_eq!(api.delete(PHONE, &[]).await.status, 204);
        api.get(PHONE).await.check_problem(404, "no_such_device");
    }
    assert_eq!(api.put(PHONE, &[], &document(&token)).await.status, 201);
    api.stop().await;
}

#[tokio::test]
async fn preconditions_guard_reads_writes_and_removals() {
    let api = Api::start().await;
    let body = document("token");
    let missing = api.put(PHONE, &[("if-match", "*")], &body).await;
    missing.check_problem(412, "precondition_failed");
    let created = api.put(PHONE, &[("if-none-match", "*")], &body).await;
    assert_eq!(created.status, 201);
    let exists = api.put(PHONE, &[("if-none-match", "*")], &body).await;
    exists.check_problem(412, "precondition_failed");

    let old = created.header("etag");
    let unchanged = api
        .send(reqwest::Method::GET, PHONE, &[("if-none-match", old)], None)
        .await;
    assert_eq!(
        (unchanged.status.as_u16(), unchanged.header("etag")),
        (304, old)
    );
    let updated = api.put(PHONE, &[("if-match", old)], &body).await;
    assert_eq!(updated.status, 200);
    let late = api.put(PHONE, &[("if-match", old)], &body).await;
    late.check_problem(412, "precondition_failed");
    let changed = api
        .send(reqwest::Method::GET, PHONE, &[("if-none-match", old)], None)
        .await;
    assert_eq!(changed.status, 200);

    api.delete(PHONE, &[("if-match", old)])
        .await
        .check_problem(412, "precondition_failed");
    api.put(PHONE, &[("if-match", "7")], &body)
        .await
        .check_problem(400, "invalid_request");
    assert_eq!(
        api.delete(PHONE, &[("if-match", updated.header("etag"))])
            .await
            .status,
        204
    );
    api.delete(PHONE, &[("if-match", "*")])
        .await
        .check_problem(412, "precondition_failed");
}

#[tokio::test]
async fn of_two_writers_with_the_same_tag_exactly_one_wins() {
    let api = Api::start().await;
    let mut tag = api
        .put(PHONE, &[], &document("t"))
        .await
        .header("etag")
        .to_owned();
    for round in 0..20 {
        let (left, right) = (
            document(&format!("left-{round}")),
            document(&format!("right-{round}")),
        );
        let guard = [("if-match", tag.as_str())];
        let answers: [_; 2] = tokio::join!(
            api.put(PHONE, &guard, &left),
            api.put(PHONE, &guard, &right)
        )
        .into();
        let mut statuses = answers.each_ref().map(|it| it.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{answers:?}");
        let winner = answers.iter().find(|it| it.status == 200).unwrap();
        assert_eq!(api.get(PHONE).await.header("etag"), winner.header("etag"));
        tag = winner.header("etag").to_owned();
    }
}

#[tokio::test]
async fn of_many_first_registrations_exactly_one_is_a_creation() {
    let api = Api::start().await;
    for round in 0..5 {
        let path = format!("/v1/devices/phone-{round}");
        let [one, two, three, four] = ["one", "two", "three", "four"].map(document);
        let answers: [_; 4] = tokio::join!(
            api.put(&path, &[], &one),
            api.put(&path, &[], &two),
            api.put(&path, &[], &three),
            api.put(&path, &[], &four),
        )
        .into();
        let mut statuses = answers.each_ref().map(|it| it.status.as_u16());
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 201], "{answers:?}");
        let mut tags = answers.each_ref().map(|it| it.header("etag").to_owned());
        tags.sort_unstable();
        assert!(tags.windows(2).all(|it| it[0] != it[1]), "{tags:?}");
    }
}
