//! Every error is a problem document, the framework's own included.

use fanfare_api::Config;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::Api;

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let api = Api::start().await;
    let event = json!({"topics": ["all"], "title": "One"});
    let long = format!("/v1/devices/{}", "x".repeat(65));
    let json = ("content-type", "application/json");
    let cases: [(&str, &str, &[(&str, &str)], Option<&Value>, u16, &str); 14] = [
        ("GET", "/", &[], None, 404, "no_such_route"),
        ("GET", "/v1/nothing", &[], None, 404, "no_such_route"),
        (
            "PUT",
            "/v1/devices/",
            &[],
            Some(&event),
            404,
            "no_such_route",
        ),
        ("GET", "/v1/devices/a/b", &[], None, 404, "no_such_route"),
        (
            "GET",
            "/v1/devices/phone-1",
            &[],
            None,
            404,
            "no_such_device",
        ),
        (
            "GET",
            "/v1/devices/a%20b",
            &[],
            None,
            400,
            "invalid_request",
        ),
        ("GET", "/v1/devices/%FF", &[], None, 400, "invalid_request"),
        ("GET", &long, &[], None, 400, "invalid_request"),
        (
            "GET",
            "/v1/devices/a",
            &[("if-none-match", "x")],
            None,
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/events",
            &[("idempotency-key", "\"x")],
            Some(&event),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/events",
            &[],
            None,
            415,
            "unsupported_media_type",
        ),
        ("POST", "/v1/events", &[json], None, 400, "invalid_json"),
        (
            "POST",
            "/v1/events",
            &[],
            Some(&Value::Null),
            422,
            "invalid_fields",
        ),
        (
            "GET",
            "/livez",
            &[("host", "rebound.example.org")],
            None,
            200,
            "",
        ),
    ];
    for (method, path, headers, body, status, code) in cases {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = api.send(method.clone(), path, headers, body).await;
        if status < 400 {
            assert_eq!(answer.status, status, "{method} {path}");
        } else {
            answer.check_problem(status, code);
        }
    }
    let foreign = [("host", "rebound.example.org")];
    let answer = api
        .send(Method::POST, "/v1/events", &foreign, Some(&event))
        .await;
    answer.check_problem(421, "misdirected");
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_told_which_do() {
    let api = Api::start().await;
    for (method, path, allowed) in [
        ("POST", "/v1/devices/phone-1", "DELETE,GET,HEAD,PUT"),
        ("GET", "/v1/events", "POST"),
        ("DELETE", "/livez", "GET,HEAD"),
        ("OPTIONS", "/v1/events", "POST"),
        ("BREW", "/readyz", "GET,HEAD"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = api.send(method, path, &[], None).await;
        answer.check_problem(405, "method_not_allowed");
        let mut allow: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_documents_are_problems_and_are_never_quoted() {
    let api = Api::start().await;
    for body in [
        "",
        "{",
        "{\"title\": \"canary\"",
        "canary",
        "{\"a\": 1e999}",
        "\u{0}",
    ] {
        let answer = api.post_bytes("application/json", body.into()).await;
        answer.check_problem(400, "invalid_json");
        assert!(!answer.body.to_string().contains("canary"), "{answer:?}");
    }
    let answer = api.post_bytes("application/json", vec![0xff, 0xfe]).await;
    answer.check_problem(400, "invalid_json");
    let answer = api
        .post_bytes("application/json", vec![b' '; 64 * 1024 + 1])
        .await;
    answer.check_problem(413, "body_too_large");
    let answer = api
        .post_bytes("application/x-www-form-urlencoded", b"a=b".to_vec())
        .await;
    answer.check_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn all_invalid_fields_are_named_at_once_and_none_is_quoted() {
    let apps = Some(vec!["ios".to_owned()]);
    let api = Api::start_with(Config {
        apps,
        ..Config::default()
    })
    .await;
    let secret = "canary0123456789canary0123456789canary";
    let body = json!({
        "app": "android", "token": format!("{secret} {secret}"), "user": format!("{secret}\n"),
        "topics": ["ok.>", format!("{secret} x"), {"pattern": "a", "filters": [{"near": secret}]}],
        secret: 1,
    });
    let answer = api.put("/v1/devices/phone-1", &[], &body).await;
    answer.check_problem(422, "invalid_fields");
    let pointers = [
        "/app",
        "/token",
        "/user",
        "/topics/1",
        "/topics/2/filters/0",
        "",
    ];
    assert_eq!(answer.pointers(), pointers);
    assert!(!answer.body.to_string().contains("canary"), "{answer:?}");
    api.get("/v1/devices/phone-1")
        .await
        .check_problem(404, "no_such_device");
}

#[tokio::test]
async fn a_sane_request_id_is_echoed() {
    let api = Api::start().await;
    let answer = api
        .send(Method::GET, "/livez", &[("x-request-id", "abc-1")], None)
        .await;
    assert_eq!(answer.header("x-request-id"), "abc-1");
    let answer = api
        .send(Method::GET, "/nothing", &[("x-request-id", "a b")], None)
        .await;
    answer.check_problem(404, "no_such_route");
    assert_eq!(answer.header("x-request-id").len(), 32);
}
