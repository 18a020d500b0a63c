//! How an import ends that does not come to its end by itself.

use std::convert::Infallible;
use std::time::Duration;

use fanfare_api::Config;
use futures::channel::mpsc::{self, UnboundedSender};
use reqwest::{Body, Client, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{export, lines};
use crate::harness::{Api, eventually};

/// An import of which the test sends piece by piece.
struct Sending {
    pieces: UnboundedSender<Result<String, Infallible>>,
    answer: Response,
    told: String,
}

impl Sending {
    async fn begin(api: &Api) -> Self {
        let (pieces, body) = mpsc::unbounded();
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("http://{}/v1/bulk/devices", api.address()));
        let request = request.header("content-type", "application/x-ndjson");
        // The answer begins before the body has come.
        let answer = request.body(Body::wrap_stream(body)).send().await.unwrap();
        let told = String::new();
        Self {
            pieces,
            answer,
            told,
        }
    }

    fn send(&self, devices: std::ops::Range<u32>) {
        for n in devices {
            let line = json!({"id": format!("d{n}"), "app": "ios", "token": format!("token-{n}")});
            self.pieces.unbounded_send(Ok(format!("{line}\n"))).unwrap();
        }
    }

    /// Waits until the import has told of its progress.
    async fn progressed(&mut self) {
        while !self.told.contains("progress") {
            let chunk = self.answer.chunk().await.unwrap().unwrap();
            self.told.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The body is not ended: what ended it is the API's.
    async fn summary(mut self) -> Value {
        let summary = async {
            while let Ok(Some(chunk)) = self.answer.chunk().await {
                self.told.push_str(std::str::from_utf8(&chunk).unwrap());
            }
            lines(&self.told).pop().unwrap()["summary"].take()
        };
        timeout(Duration::from_secs(30), summary).await.unwrap()
    }
}

#[track_caller]
fn check(summary: &Value, ended: &str, created: u64) {
    assert_eq!(summary["ended"], ended, "{summary}");
    assert_eq!(summary["is_complete"], ended == "end", "{summary}");
    assert_eq!(summary["created"], created, "{summary}");
}

async fn registered(api: &Api, n: usize) {
    eventually(async || api.get("/v1/topics").await, |it| it.status == 200).await;
    assert_eq!(export(api, "").await.len(), n);
}

#[tokio::test]
async fn an_import_of_which_nothing_more_arrives_ends_with_what_it_has() {
    let import_stall_s = 1;
    let api = Api::start_with(Config {
        import_stall_s,
        ..Config::default()
    })
    .await;
    let import = Sending::begin(&api).await;
    import.send(0..3);
    check(&import.summary().await, "stalled", 3);
}

#[tokio::test]
async fn an_import_that_is_larger_than_allowed_ends_there_and_is_refused_if_it_says_so_before() {
    let max_import_bytes = 2048;
    let api = Api::start_with(Config {
        max_import_bytes,
        ..Config::default()
    })
    .await;
    let import = Sending::begin(&api).await;
    import.send(0..200);
    let summary = import.summary().await;
    let created = summary["created"].as_u64().unwrap();
    assert!((1..60).contains(&created), "{summary}");
    check(&summary, "too_large", created);
    let told = Some(("application/x-ndjson", vec![b' '; 2049]));
    let said = api
        .send_bytes(reqwest::Method::POST, "/v1/bulk/devices", &[], told)
        .await;
    said.check_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_line_that_is_too_long_fails_and_those_around_it_do_not() {
    let max_body_bytes = 1024;
    let api = Api::start_with(Config {
        max_body_bytes,
        ..Config::default()
    })
    .await;
    let import = Sending::begin(&api).await;
    import.send(0..1);
    for _ in 0..100 {
        let piece = "x".repeat(1000);
        import.pieces.unbounded_send(Ok(piece)).unwrap();
    }
    import.pieces.unbounded_send(Ok("\n".to_owned())).unwrap();
    import.send(1..2);
    import.pieces.close_channel();
    let summary = import.summary().await;
    check(&summary, "end", 2);
    assert_eq!(
        (&summary["failed"], &summary["lines"]),
        (&json!(1), &json!(3))
    );
}

#[tokio::test]
async fn an_import_ends_when_the_api_is_stopped_and_says_so() {
    let api = Api::start().await;
    let mut import = Sending::begin(&api).await;
    import.send(0..1000);
    import.progressed().await;
    let (summary, ()) = tokio::join!(import.summary(), api.stop());
    check(&summary, "stopping", 1000);
}

#[tokio::test]
async fn an_import_that_is_cut_off_keeps_what_was_written_and_gives_its_place_back() {
    let api = Api::start().await;
    let mut held = Vec::new();
    for n in 0..4 {
        let mut import = Sending::begin(&api).await;
        import.send(n * 1000..(n + 1) * 1000);
        import.progressed().await;
        held.push(import);
    }
    let again = async || {
        let body = Some(("application/x-ndjson", Vec::new()));
        let path = "/v1/bulk/devices";
        api.send_bytes(reqwest::Method::POST, path, &[], body).await
    };
    again().await.check_problem(503, "overloaded");
    drop(held);
    eventually(again, |it| it.status == 200).await;
    registered(&api, 4000).await;
}

#[tokio::test]
async fn an_import_sits_out_a_broker_that_is_killed_and_comes_back() {
    let mut api = Api::start().await;
    let mut import = Sending::begin(&api).await;
    import.send(0..1000);
    import.progressed().await;
    api.server.server().kill9().await.unwrap();
    import.send(1000..2000);
    import.pieces.close_channel();
    eventually(async || api.get("/readyz").await, |it| it.status == 503).await;
    api.server.server().restart().await.unwrap();
    let summary = import.summary().await;
    assert_eq!(summary["ended"], "end", "{summary}");
    assert_eq!(summary["failed"], 0, "{summary}");
    // A write whose answer was lost is found written when it is repeated.
    let written = summary["created"]
        .as_u64()
        .zip(summary["replaced"].as_u64());
    assert_eq!(written.map(|(a, b)| a + b), Some(2000), "{summary}");
    registered(&api, 2000).await;
}
