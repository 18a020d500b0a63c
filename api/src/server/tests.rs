//! The listener and the layers over real HTTP, with routes made for the purpose.

use std::future::pending;

use axum::routing::{get, post};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::oneshot;

use super::*;
use crate::body::Json;
use crate::router::{admitted, limited, observed};

struct Fixture {
    url: String,
    registry: Registry,
    stop: CancellationToken,
    serving: JoinSet<Result<(), RunError>>,
    client: reqwest::Client,
}

async fn fixture(paths: Router, config: Config) -> Fixture {
    let mut registry = Registry::with_prefix("fanfare");
    let metrics = Metrics::register(&mut registry);
    let router = observed(limited(paths, &config), metrics);
    let server = Server::bind(Config {
        listen: "127.0.0.1:0".into(),
        ..config
    })
    .await
    .unwrap();
    let url = format!("http://{}", server.address());
    let stop = CancellationToken::new();
    let (mut serving, stopped) = (JoinSet::new(), stop.clone());
    serving.spawn(async move {
        let standstill = std::time::Duration::from_secs(8);
        accept(server.listener, 16, standstill, router, &stopped, || {}).await
    });
    // Already installed by another test is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Fixture {
        url,
        registry,
        stop,
        serving,
        client,
    }
}

impl Fixture {
    async fn get(&self, path: &str) -> reqwest::Response {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
    }
}

async fn check_problem(response: reqwest::Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(
        response.headers()["content-type"],
        "application/problem+json"
    );
    let id = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem: Value = response.json().await.unwrap();
    assert_eq!(
        (&problem["code"], &problem["request_id"]),
        (&code.into(), &id.into())
    );
    problem
}

#[tokio::test]
async fn a_panic_is_a_problem_and_the_server_goes_on() {
    let panics = get(async || -> &'static str { panic!("canary") });
    let fixture = fixture(Router::new().route("/panic", panics), Config::default()).await;
    for _ in 0..2 {
        let problem = check_problem(fixture.get("/panic").await, 500, "internal").await;
        assert!(!problem.to_string().contains("canary"));
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_a_problem() {
    let hangs = get(async || pending::<&'static str>().await);
    let config = Config {
        timeout_s: 0,
        ..Config::default()
    };
    let fixture = fixture(Router::new().route("/hang", hangs), config).await;
    check_problem(fixture.get("/hang").await, 504, "timeout").await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_told_to_come_again() {
    let (entered, mut has_entered) = tokio::sync::mpsc::channel(1);
    let hangs = get(async move || {
        entered.send(()).await.unwrap();
        pending::<&'static str>().await
    });
    let config = Config {
        max_in_flight: 1,
        ..Config::default()
    };
    let fixture = fixture(Router::new().route("/hang", hangs), config).await;
    let mut first = JoinSet::new();
    first.spawn(fixture.client.get(format!("{}/hang", fixture.url)).send());
    has_entered.recv().await.unwrap();
    let second = fixture.get("/hang").await;
    assert!(
        second.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u32>()
            .unwrap()
            > 0
    );
    check_problem(second, 503, "overloaded").await;
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_flight_and_accepts_no_more() {
    let (entered, has_entered) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(Some((entered, released))));
    let waits = get(move || async move {
        let (entered, released) = gate.lock().unwrap().take().unwrap();
        entered.send(()).unwrap();
        released.await.unwrap();
        "done"
    });
    let mut fixture = fixture(Router::new().route("/wait", waits), Config::default()).await;
    let mut first = JoinSet::new();
    first.spawn(fixture.client.get(format!("{}/wait", fixture.url)).send());
    has_entered.await.unwrap();
    fixture.stop.cancel();
    release.send(()).unwrap();
    let answer = first.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "done");
    fixture.serving.join_next().await.unwrap().unwrap().unwrap();
    assert!(
        fixture
            .client
            .get(&fixture.url)
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test]
async fn bodies_are_judged_before_they_are_read_as_documents() {
    let echo = post(async |Json(body): Json| axum::Json(body));
    let config = Config {
        max_body_bytes: 1024,
        ..Config::default()
    };
    let fixture = fixture(Router::new().route("/echo", echo), config).await;
    let send = async |kind: &str, body: String| {
        let request = fixture.client.post(format!("{}/echo", fixture.url));
        request
            .header("content-type", kind)
            .body(body)
            .send()
            .await
            .unwrap()
    };
    let good = send("application/merge-patch+json; charset=utf-8", "{}".into()).await;
    assert_eq!(good.status(), 200);
    check_problem(
        send("text/plain", "{}".into()).await,
        415,
        "unsupported_media_type",
    )
    .await;
    check_problem(
        send("application/json", String::new()).await,
        400,
        "invalid_json",
    )
    .await;
    let deep = "[".repeat(1000);
    check_problem(send("application/json", deep).await, 400, "invalid_json").await;
    let quoted = send("application/json", "{\"token\": \"canary\"".into()).await;
    let problem = check_problem(quoted, 400, "invalid_json").await;
    assert!(!problem.to_string().contains("canary"));
    check_problem(
        send("application/json", "1".repeat(1025)).await,
        413,
        "body_too_large",
    )
    .await;
}

#[tokio::test]
async fn a_route_that_the_table_does_not_name_is_served_to_nobody() {
    let forgotten = || get(async || "canary");
    let routes = Router::new().route("/v1/forgotten", forgotten());
    let routes = routes.route("/v1/devices/{id}/test", forgotten());
    // Where nobody is asked for a key, too.
    let access = Access::new(Policy::Open, Ring::default());
    let fixture = fixture(admitted(routes, access), Config::default()).await;
    for (path, allowed) in [("/v1/forgotten", ""), ("/v1/devices/x/test", "POST")] {
        let answer = fixture.get(path).await;
        assert_eq!(answer.headers()["allow"], allowed);
        check_problem(answer, 405, "method_not_allowed").await;
    }
}

#[tokio::test]
async fn requests_are_counted_by_closed_labels() {
    let fixture = fixture(Router::new(), Config::default()).await;
    let odd = reqwest::Method::from_bytes(b"BREW").unwrap();
    let request = fixture
        .client
        .request(odd, format!("{}/{}", fixture.url, "x".repeat(99)));
    check_problem(request.send().await.unwrap(), 404, "no_such_route").await;
    let mut text = String::new();
    encode(&mut text, &fixture.registry).unwrap();
    let counted = r#"fanfare_api_requests_total{route="none",method="other",status="404"} 1"#;
    assert!(text.contains(counted), "{text}");
    let zero = r#"fanfare_api_requests_total{route="/v1/events",method="POST",status="201"} 0"#;
    assert!(text.contains(zero), "{text}");
    assert!(
        text.contains("fanfare_api_request_seconds_count 1"),
        "{text}"
    );
}

#[tokio::test]
async fn an_address_that_others_can_reach_is_not_bound_to_serve_without_keys() {
    let config = Config {
        listen: "0.0.0.0:0".into(),
        keys: Some(crate::Keys::UntilFirst),
        ..Config::default()
    };
    let refused = Server::bind(config).await.unwrap_err();
    assert!(refused.to_string().contains("required"), "{refused}");
}
