//! Registrations that are not renewed are warned of, and end.

use fanfare_api::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, eventually};

const WARNINGS: &str = "/v1/events?topic=fanfare.registration.expiring";

fn device(token: &str) -> Value {
    json!({"app": "ios", "token": token, "user": "ada"})
}

#[tokio::test]
async fn a_registration_that_is_not_renewed_is_warned_of_once_and_ends() {
    let api = Api::start_with(Config {
        registration_expires_after: "6s".to_owned(),
        registration_warning: "4s".to_owned(),
        ..Config::default()
    })
    .await;
    for id in ["forgotten", "kept"] {
        api.put(&format!("/v1/devices/{id}"), &[], &device(id))
            .await;
    }
    let renew = async || {
        api.put("/v1/devices/kept", &[], &device("kept")).await;
        api.get("/v1/devices/forgotten").await
    };
    eventually(renew, |it| it.status == 404).await;
    assert_eq!(api.get("/v1/devices/kept").await.status, 200);
    let told = api.get(WARNINGS).await;
    let items = told.body["items"].as_array().unwrap();
    let of_it: Vec<_> = items
        .iter()
        .filter(|it| it["data"]["device"] == "forgotten")
        .collect();
    assert_eq!(of_it.len(), 1, "{told:?}");
    assert_eq!(of_it[0]["data"]["user"], "ada");
    assert!(of_it[0]["data"]["expires_at"].is_string());
    assert!(!told.body.to_string().contains("token"));
    // No device can follow what is told of others.
    let path = "/v1/devices/kept/topics/fanfare.registration.expiring";
    let refused = api.send(Method::PUT, path, &[], None).await;
    refused.check_problem(400, "invalid_request");
    api.stop().await;
}
