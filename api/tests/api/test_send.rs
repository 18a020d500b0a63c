//! Test sends to a device and to a user.

use fanfare_nats::event::SourceName;
use fanfare_nats::{Event, Level, ScreenId, Topic};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Api};
use crate::keys::{bearer, known};

async fn test(api: &Api, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Answer {
    api.send(Method::POST, path, headers, body).await
}

/// The event that an answer is about, as it is stored.
async fn stored(api: &Api, answer: &Answer) -> Event {
    let source = SourceName::api();
    let screen = ScreenId::new(&source, answer.body["id"].as_str().unwrap());
    let found = api.broker.stored_event(&source, &screen, &Level::First);
    found.await.unwrap().unwrap().1
}

#[tokio::test]
async fn a_test_is_an_event_for_exactly_this_device_or_user() {
    let api = Api::start().await;
    let phone = json!({"app": "ios", "token": "t", "user": "ada", "topics": ["news.>"]});
    api.put("/v1/devices/phone-1", &[], &phone).await;

    let sent = test(&api, "/v1/devices/phone-1/test", &[], None).await;
    assert_eq!(sent.status, 201, "{sent:?}");
    let event = stored(&api, &sent).await;
    assert_eq!(sent.body["topics"], json!(["fanfare.device.phone-1"]));
    assert_eq!(event.content.body.as_deref(), Some("This is a test."));
    let told = api.get(sent.header("location")).await;
    assert_eq!(told.body["event"], sent.body["event"], "{told:?}");
    assert_eq!(told.body["state"], "waiting");

    let said = json!({"title": "Hello\u{202e}", "body": "World"});
    let sent = test(&api, "/v1/users/ada%20l/test", &[], Some(&said)).await;
    let event = stored(&api, &sent).await;
    assert_eq!(event.topics, [Topic::of_user("ada l")]);
    assert_eq!(event.content.title, "Hello");

    let nobody = test(&api, "/v1/devices/nobody/test", &[], None).await;
    nobody.check_problem(404, "no_such_device");
    let odd = test(&api, "/v1/users/a%0Ab/test", &[], None).await;
    odd.check_problem(400, "invalid_request");
    let wrong = json!({"title": 1, "topic": "news.local"});
    let wrong = test(&api, "/v1/users/ada/test", &[], Some(&wrong)).await;
    wrong.check_problem(422, "invalid_fields");
    assert_eq!(wrong.pointers(), ["/title", "/topic"]);
    api.stop().await;
}

#[tokio::test]
async fn a_device_tests_itself_and_no_other() {
    let api = Api::start_locked().await;
    let (_, backend) = known(&api, "devices:write").await;
    let mut secrets = Vec::new();
    for id in ["one", "two"] {
        let body = json!({"app": "ios", "token": id});
        let path = format!("/v1/devices/{id}");
        let put = api.put(&path, &[("authorization", &backend)], &body).await;
        secrets.push(bearer(put.body["secret"].as_str().unwrap()));
    }
    let ask = async |path: &str, who: &str| {
        let who = [("authorization", who)];
        test(&api, path, &who, None).await.status.as_u16()
    };
    assert_eq!(ask("/v1/devices/one/test", &secrets[0]).await, 201);
    assert_eq!(ask("/v1/devices/two/test", &secrets[0]).await, 401);
    assert_eq!(ask("/v1/devices/nobody/test", &secrets[0]).await, 401);
    assert_eq!(ask("/v1/users/ada/test", &secrets[0]).await, 403);
    for (scope, status) in [("operate", 201), ("read", 403), ("events:publish:>", 403)] {
        let (_, key) = known(&api, scope).await;
        assert_eq!(ask("/v1/devices/one/test", &key).await, status, "{scope}");
        assert_eq!(ask("/v1/users/ada/test", &key).await, status, "{scope}");
    }
}
