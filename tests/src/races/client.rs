//! A client of one API node that tells "no" from "not known".

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Longer than an election and what follows it.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// An API process, as its clients see it.
#[derive(Clone, Debug)]
pub struct Node {
    at: SocketAddr,
    client: Client,
}

/// A final answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The revision of its entity tag.
    pub revision: Option<u64>,
    /// Its body.
    pub body: Value,
    /// Whether a request before it had no final answer, and may have been carried out.
    pub is_after_unknown: bool,
}

impl Node {
    pub(super) fn new(at: SocketAddr) -> Self {
        Self {
            at,
            client: crate::api::client(),
        }
    }

    /// Posts an event on one topic; returns its event id.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn post(&self, id: &str, topic: &str) -> String {
        let document = json!({"id": id, "topics": [topic], "title": id});
        let answer = self
            .insist(Method::POST, "/v1/events", Some(&document))
            .await;
        assert!(matches!(answer.status, 200 | 201), "{id}: {answer:?}");
        answer.body["event"].as_str().unwrap().to_owned()
    }

    /// Asks once; `None` if the answer is that it is not known, or does not come.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        guard: Option<(&str, String)>,
        body: Option<&Value>,
    ) -> Option<Answer> {
        let url = format!("http://{}{path}", self.at);
        let mut request = self.client.request(method, url);
        if let Some((name, value)) = guard {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.timeout(Duration::from_secs(20)).send().await.ok()?;
        let status = answer.status().as_u16();
        let tag = answer.headers().get("etag").and_then(|it| it.to_str().ok());
        let revision = tag.and_then(|it| it.trim_matches('"').parse().ok());
        let body = answer.bytes().await.ok()?;
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (status != 503 && status != 504).then_some(Answer {
            status,
            revision,
            body,
            is_after_unknown: false,
        })
    }

    /// Asks the same until the answer is final.
    ///
    /// # Panics
    /// If there is none in a minute.
    pub(super) async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let until = Instant::now() + PATIENCE;
        let mut is_after_unknown = false;
        loop {
            if let Some(answer) = self.ask(method.clone(), path, None, body).await {
                return Answer {
                    is_after_unknown,
                    ..answer
                };
            }
            is_after_unknown = true;
            assert!(Instant::now() < until, "{method} {path}: no final answer");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
