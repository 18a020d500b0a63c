//! FCM: access tokens, messages, typed errors.

use bytes::Bytes;
use fanfare_sim::script::{Answer as Fault, RetryAfter, Rule, Scope};
use fanfare_sim::{FcmConfig, Sim};
use http::Request;
use serde_json::{Value, json};

use crate::client::*;
use crate::started;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

async fn fcm(sim: &Sim) -> Client {
    Client::tls(sim.whereabouts().fcm.unwrap(), sim.whereabouts()).await
}

async fn grant(client: &Client, form: String) -> Answer {
    let request = Request::post("https://oauth2.googleapis.com/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Bytes::from(form))
        .unwrap();
    client.ask(request).await.unwrap()
}

async fn access_token(client: &Client, sim: &Sim) -> String {
    let answer = grant(client, token_request(sim.whereabouts(), SCOPE, now_s())).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["details"][0]["errorCode"].clone()
}

#[tokio::test]
async fn a_message_with_a_granted_token_is_accepted() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let token = access_token(&client, &sim).await;
    let body = json!({ "token": "abc:def", "data": { "fanfare_event": "e1" },
        "notification": { "title": "t" }, "android": { "ttl": "60s", "priority": "high" } });
    let answer = client.ask(message(&token, &body)).await.unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
    let name = answer.json()["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("projects/sim-project/messages/"), "{name}");
    assert_eq!((sim.counts().accepted, sim.n_access_tokens()), (1, 1));
    sim.stop().await;
}

#[tokio::test]
async fn bad_assertions_get_no_token() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let at = sim.whereabouts();
    for (form, error) in [
        (token_request(at, "email", now_s()), "invalid_scope"),
        (token_request(at, SCOPE, now_s() - 4000), "invalid_grant"),
        (
            token_request(at, SCOPE, now_s()).replace("==", "A"),
            "invalid_grant",
        ),
        ("grant_type=password".to_owned(), "unsupported_grant_type"),
    ] {
        let answer = grant(&client, form).await;
        assert_eq!(
            (answer.status(), &answer.json()["error"]),
            (400, &json!(error))
        );
    }
    sim.stop().await;
}

#[tokio::test]
async fn unknown_and_expired_tokens_are_unauthenticated() {
    let (sim, _folder) = started(|it| {
        it.fcm = Some(FcmConfig {
            token_lifetime_s: 0,
            ..FcmConfig::default()
        });
    })
    .await;
    let client = fcm(&sim).await;
    let expired = access_token(&client, &sim).await;
    for token in ["ya29.unknown", &expired] {
        let answer = client
            .ask(message(token, &json!({ "token": "a" })))
            .await
            .unwrap();
        let status = answer.json()["error"]["status"].clone();
        assert_eq!((answer.status(), status), (401, json!("UNAUTHENTICATED")));
    }
    sim.stop().await;
}

#[tokio::test]
async fn violations_name_their_field() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let token = access_token(&client, &sim).await;
    let check = async |body: Value, field: &str| {
        let answer = client.ask(message(&token, &body)).await.unwrap();
        assert_eq!(
            (answer.status(), code(&answer)),
            (400, json!("INVALID_ARGUMENT"))
        );
        let violation = &answer.json()["error"]["details"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field);
    };
    check(json!({ "token": "a b" }), "message.token").await;
    check(
        json!({ "token": "a", "data": { "n": 1 } }),
        "message.data[0].value",
    )
    .await;
    check(json!({ "token": "a", "nonsense": true }), "message").await;
    check(json!({ "token": "a", "android": { "ttl": 60 } }), "message").await;
    sim.stop().await;
}

#[tokio::test]
async fn another_project_is_denied_without_blaming_a_token() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let token = access_token(&client, &sim).await;
    let mut request = message(&token, &json!({ "token": "a" }));
    *request.uri_mut() = "https://fcm.googleapis.com/v1/projects/other/messages:send"
        .parse()
        .unwrap();
    let answer = client.ask(request).await.unwrap();
    assert_eq!((answer.status(), code(&answer)), (403, Value::Null));
    sim.stop().await;
}

#[tokio::test]
async fn scripted_faults_speak_as_fcm_does() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let token = access_token(&client, &sim).await;
    let check = async |fault: Fault, status: u16, expected: &str| {
        let id = sim.add_rule(Rule::new(fault));
        let answer = client
            .ask(message(&token, &json!({ "token": "dev" })))
            .await
            .unwrap();
        sim.script().remove(id);
        assert_eq!((answer.status(), code(&answer)), (status, json!(expected)));
        answer
    };
    check(
        Fault::Unregistered {
            ago_ms: 0,
            no_timestamp: false,
        },
        404,
        "UNREGISTERED",
    )
    .await;
    check(Fault::WrongSender, 403, "SENDER_ID_MISMATCH").await;
    check(Fault::Internal, 500, "INTERNAL").await;
    let wait = Some(RetryAfter::Seconds(7));
    let answer = check(Fault::Unavailable { retry_after: wait }, 503, "UNAVAILABLE").await;
    assert_eq!(answer.header("retry-after"), "7");
    let fault = Fault::TooMany {
        scope: Scope::Device,
        retry_after: None,
    };
    let answer = check(fault, 429, "QUOTA_EXCEEDED").await;
    let subject = &answer.json()["error"]["details"][1]["violations"][0]["subject"];
    assert_eq!(subject, "device:dev");
    let third = Fault::Reason {
        status: 401,
        reason: "THIRD_PARTY_AUTH_ERROR".to_owned(),
        retry_after: None,
    };
    check(third, 401, "THIRD_PARTY_AUTH_ERROR").await;
    sim.stop().await;
}

#[tokio::test]
async fn a_renewed_access_token_gets_through() {
    let (sim, _folder) = started(|_| {}).await;
    let client = fcm(&sim).await;
    let old = access_token(&client, &sim).await;
    sim.add_rule(Rule::new(Fault::Credentials { n_credentials: 1 }));
    let body = json!({ "token": "a" });
    assert_eq!(
        client.ask(message(&old, &body)).await.unwrap().status(),
        401
    );
    assert_eq!(
        client.ask(message(&old, &body)).await.unwrap().status(),
        401
    );
    let new = access_token(&client, &sim).await;
    assert_eq!(
        client.ask(message(&new, &body)).await.unwrap().status(),
        200
    );
    sim.stop().await;
}
