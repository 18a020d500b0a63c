//! For what devices can be registered.

use fanfare_api::{App, Config};
use serde_json::{Value, json};

use crate::harness::Api;

fn config() -> Config {
    let ios = App {
        provider: Some("apns".to_owned()),
        environment: Some("sandbox".to_owned()),
        bundle_id: Some("org.example.app".to_owned()),
        credentials: Some("reference".to_owned()),
        ..App::named("ios")
    };
    Config {
        apps: Some(["web", "ios"].map(str::to_owned).into()),
        known_apps: vec![ios, App::named("of-nobody")],
        ..Config::default()
    }
}

#[tokio::test]
async fn what_a_device_may_name_is_listed_with_all_that_is_known_of_it_and_no_credentials() {
    let api = Api::start_with(config()).await;
    let ios = json!({
        "name": "ios", "provider": "apns", "environment": "sandbox",
        "bundle_id": "org.example.app", "credentials": "reference",
    });
    let web = json!({
        "name": "web", "provider": null, "environment": null, "bundle_id": null, "credentials": null,
    });
    let all = api.get("/v1/apps").await;
    assert_eq!(all.body, json!({"items": [ios, web]}));
    let first = api.get("/v1/apps?limit=1").await;
    assert_eq!(first.body["items"], json!([ios]));
    let next = first
        .header("link")
        .trim_start_matches('<')
        .split_once('>')
        .unwrap()
        .0;
    assert_eq!(api.get(next).await.body["items"], json!([web]));
    assert_eq!(api.get("/v1/apps/ios").await.body, ios);
    for name in ["of-nobody", "IOS", "%00", "android"] {
        let path = format!("/v1/apps/{name}");
        api.get(&path).await.check_problem(404, "no_such_app");
    }
    // What is listed is what may be named.
    for (app, status) in [("ios", 201), ("web", 201), ("of-nobody", 422)] {
        let path = format!("/v1/devices/{app}");
        let put = api
            .put(&path, &[], &json!({"app": app, "token": app}))
            .await;
        assert_eq!(put.status, status, "{put:?}");
    }
    api.stop().await;
}

#[tokio::test]
async fn where_nobody_said_which_apps_there_are_the_list_is_empty_and_any_may_be_named() {
    let api = Api::start().await;
    assert_eq!(
        api.get("/v1/apps").await.body["items"],
        Value::Array(Vec::new())
    );
    let put = api
        .put("/v1/devices/x", &[], &json!({"app": "any", "token": "t"}))
        .await;
    assert_eq!(put.status, 201);
}
