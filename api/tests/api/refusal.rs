//! Every error is a problem document, the framework's own included.

use std::time::Duration;

use fanfare_api::Config;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::Api;

/// A header, or none by an empty name.
type Case<'a> = (&'a str, &'a str, (&'a str, &'a str), u16, &'a str);

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let api = Api::start().await;
    let long = format!("/v1/devices/{}", "x".repeat(65));
    let json = ("content-type", "application/json");
    let rebound = ("host", "rebound.example.org");
    let cases: [Case; 13] = [
        ("GET", "/", ("", ""), 404, "no_such_route"),
        ("GET", "/v1/nothing", ("", ""), 404, "no_such_route"),
        ("PUT", "/v1/devices/", json, 404, "no_such_route"),
        ("GET", "/v1/devices/a/b", ("", ""), 404, "no_such_route"),
        ("GET", "/v1/devices/a", ("", ""), 404, "no_such_device"),
        ("GET", "/v1/devices/a%20b", ("", ""), 400, "invalid_request"),
        ("GET", "/v1/devices/%FF", ("", ""), 400, "invalid_request"),
        ("GET", &long, ("", ""), 400, "invalid_request"),
        (
            "GET",
            "/v1/devices/a",
            ("if-none-match", "x"),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/events",
            ("idempotency-key", "\"x"),
            400,
            "invalid_request",
        ),
        (
            "POST",
            "/v1/events",
            ("", ""),
            415,
            "unsupported_media_type",
        ),
        ("POST", "/v1/events", json, 400, "invalid_json"),
        ("POST", "/v1/events", rebound, 421, "misdirected"),
    ];
    let document = json!({"topics": ["all"], "title": "One"});
    for (method, path, header, status, code) in cases {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let headers: Vec<_> = Some(header)
            .into_iter()
            .filter(|it| !it.0.is_empty())
            .collect();
        let body = Some(&document).filter(|_| header.0 == "idempotency-key");
        api.send(method, path, &headers, body)
            .await
            .check_problem(status, code);
    }
    api.post(&[], &Value::Null)
        .await
        .check_problem(422, "invalid_fields");
    let probe = api.send(Method::GET, "/livez", &[rebound], None).await;
    assert_eq!(probe.status, 200, "probes are asked by whatever name");
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_told_which_do() {
    let api = Api::start().await;
    for (method, path, allowed) in [
        ("POST", "/v1/devices/phone-1", "DELETE,GET,HEAD,PUT"),
        ("PUT", "/v1/events", "GET,HEAD,POST"),
        ("DELETE", "/livez", "GET,HEAD"),
        ("OPTIONS", "/v1/events", "GET,HEAD,POST"),
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
    // What is left of it is not read, so that nothing else can be asked on this connection.
    assert_eq!(answer.header("connection"), "close", "{answer:?}");
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

/// What is answered on a connection on which the client would go on, until the server ends it.
async fn answered_for_good(api: &Api, length: usize, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    // Reset or closed: it has ended.
    assert!(read.is_ok(), "it goes on: {answer}");
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let says_so = head.lines().any(|it| it == "connection: close");
    assert!(says_so, "{answer}");
    answer
}

#[tokio::test]
async fn a_refusal_that_leaves_a_body_unread_ends_its_connection() {
    let api = Api::start().await;
    let part = vec![b' '; 64 * 1024 + 1];
    let too_large = answered_for_good(&api, 1 << 20, &part).await;
    assert!(too_large.starts_with("HTTP/1.1 413 "), "{too_large}");
    let late = answered_for_good(&api, 10, b"{").await;
    assert!(late.starts_with("HTTP/1.1 408 "), "{late}");
    assert!(late.contains("application/problem+json"), "{late}");
    assert!(late.contains(r#""code":"request_timeout""#), "{late}");
    // Whose body was read may go on.
    let refused = api.post_bytes("application/json", b"{".to_vec()).await;
    refused.check_problem(400, "invalid_json");
    assert_eq!(refused.header("connection"), "", "{refused:?}");
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
