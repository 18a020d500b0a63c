//! What browsers see: which pages may call, packed answers, and the contract as a page.

use fanfare_api::{Config, Keys};
use reqwest::{Method, Response};
use serde_json::json;

use crate::harness::Api;

const PAGE: &str = "https://app.example.org";

/// Asks as a browser does; nothing is unpacked.
async fn ask(api: &Api, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::builder()
        .no_proxy()
        .no_gzip()
        .build()
        .unwrap();
    let mut request = client.request(method, format!("http://{}{path}", api.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |it| it.to_str().unwrap())
}

#[tokio::test]
async fn only_pages_of_the_named_origins_may_call() {
    let config = Config {
        cors_origins: vec![PAGE.to_owned()],
        keys: Some(Keys::Required),
        ..Config::default()
    };
    let api = Api::start_with(config).await;
    let preflight = [("origin", PAGE), ("access-control-request-method", "PUT")];
    let allowed = ask(&api, Method::OPTIONS, "/v1/devices/a", &preflight).await;
    assert_eq!(
        allowed.status(),
        200,
        "no key is sent before the browser was told"
    );
    assert_eq!(header(&allowed, "access-control-allow-origin"), PAGE);
    assert!(header(&allowed, "access-control-allow-methods").contains("PUT"));
    assert!(header(&allowed, "access-control-allow-headers").contains("authorization"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), "");
    assert_eq!(header(&allowed, "x-request-id").len(), 32);
    let named = [preflight[0], preflight[1], ("x-request-id", "mine")];
    let named = ask(&api, Method::OPTIONS, "/v1/devices/a", &named).await;
    assert_eq!(header(&named, "x-request-id"), "mine");
    // A refusal can be read by the page, too.
    let refused = ask(&api, Method::GET, "/v1/devices/a", &[("origin", PAGE)]).await;
    let ids = refused.headers().get_all("x-request-id");
    assert_eq!(ids.iter().count(), 1);
    assert_eq!(refused.status(), 401);
    assert_eq!(header(&refused, "access-control-allow-origin"), PAGE);
    assert!(header(&refused, "access-control-expose-headers").contains("ratelimit"));
    assert!(header(&refused, "vary").contains("origin"));
    let other = [("origin", "https://app.example.org.evil.example")];
    let other = ask(&api, Method::GET, "/v1/devices/a", &other).await;
    assert_eq!(header(&other, "access-control-allow-origin"), "");
    api.stop().await;
}

#[tokio::test]
async fn without_a_word_no_page_may_call() {
    let api = Api::start().await;
    let preflight = [("origin", PAGE), ("access-control-request-method", "GET")];
    for (method, status) in [(Method::OPTIONS, 405), (Method::GET, 404)] {
        let answer = ask(&api, method, "/v1/devices/a", &preflight).await;
        assert_eq!(answer.status(), status);
        assert_eq!(header(&answer, "access-control-allow-origin"), "");
    }
    api.stop().await;
}

#[tokio::test]
async fn long_answers_are_packed_for_who_takes_them() {
    let api = Api::start().await;
    let packed = [("accept-encoding", "gzip")];
    let contract = ask(&api, Method::GET, "/openapi.json", &packed).await;
    assert_eq!(header(&contract, "content-encoding"), "gzip");
    let packed_len = contract.bytes().await.unwrap().len();
    let plain = ask(&api, Method::GET, "/openapi.json", &[]).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    let plain_len = plain.bytes().await.unwrap().len();
    assert!(packed_len * 4 < plain_len, "{packed_len} of {plain_len}");
    // Its tag names the bytes of the document.
    let topics: Vec<String> = (0..200).map(|it| format!("news.{it}")).collect();
    let device = json!({"app": "ios", "token": "t", "topics": topics});
    assert_eq!(api.put("/v1/devices/a", &[], &device).await.status, 201);
    let shown = ask(&api, Method::GET, "/v1/devices/a", &packed).await;
    assert_eq!(header(&shown, "content-encoding"), "");
    let live = ask(&api, Method::GET, "/livez", &packed).await;
    assert_eq!(header(&live, "content-encoding"), "", "it would grow");
    api.stop().await;
}

#[tokio::test]
async fn the_contract_is_a_page_that_runs_its_own_script_and_no_other() {
    let api = Api::start_locked().await;
    let docs = ask(&api, Method::GET, "/docs", &[]).await;
    assert_eq!(docs.status(), 200);
    assert_eq!(header(&docs, "content-type"), "text/html");
    let policy = header(&docs, "content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(
        policy.contains("script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    let page = docs.text().await.unwrap();
    assert!(page.contains("<title>fanfare: the API</title>"));
    let answer = api.get("/docs").await;
    assert_eq!(answer.status, 200);
    api.stop().await;
}
