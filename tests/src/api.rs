//! A client of the HTTP API that shares nothing with the server.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Requests at once when there are many to make.
const AT_ONCE: usize = 32;
/// Longer than an election and what follows it.
const PATIENCE: Duration = Duration::from_mins(1);
/// Before the same is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// The API of a running process. What it puts off (503) is asked for again, as it says: a broker that
/// elects, or is slow, is no failure.
#[derive(Clone, Debug)]
pub struct Api {
    at: SocketAddr,
    client: Client,
}

/// An HTTP client that uses no proxy and knows no authority: to read the machine's takes 20 ms, and whoever
/// waits for a state makes many.
///
/// # Panics
/// If the TLS provider is missing, which it is not.
pub fn client() -> Client {
    // Installed by another test before is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder().no_proxy().tls_certs_only([]);
    builder.build().unwrap()
}

impl Api {
    /// The API that listens there.
    pub fn new(at: SocketAddr) -> Self {
        Self {
            at,
            client: client(),
        }
    }

    /// The first answer that is not 503, and whether there was one before: then it may be done already.
    async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> (Response, bool) {
        let until = Instant::now() + PATIENCE;
        let mut was_open = false;
        loop {
            let url = format!("http://{}{path}", self.at);
            let mut request = self.client.request(method.clone(), url);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.unwrap();
            if answer.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() >= until {
                return (answer, was_open);
            }
            was_open = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        self.insist(method, path, body).await.0
    }

    /// Registers a device or changes it.
    ///
    /// # Panics
    /// If the answer is neither 200 nor 201.
    pub async fn put(&self, device: &str, document: &Value) {
        let answer = self
            .send(
                Method::PUT,
                &format!("/v1/devices/{device}"),
                Some(document),
            )
            .await;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(
            matches!(status.as_u16(), 200 | 201),
            "{device}: {status}: {text}"
        );
    }

    /// Asks for a token that is somebody else's.
    ///
    /// # Panics
    /// If the answer is not 202.
    pub async fn ask_for(&self, device: &str, document: &Value) {
        let path = format!("/v1/devices/{device}");
        let answer = self.send(Method::PUT, &path, Some(document)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert_eq!(status, StatusCode::ACCEPTED, "{device}: {text}");
    }

    /// Answers a challenge, as an app does that got its push.
    ///
    /// # Panics
    /// If the answer is not 200.
    pub async fn confirm(&self, device: &str, nonce: &str) {
        let path = format!("/v1/devices/{device}/confirm");
        let body = json!({"nonce": nonce});
        let answer = self.send(Method::POST, &path, Some(&body)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert_eq!(status, StatusCode::OK, "{device}: {text}");
    }

    /// Registers many.
    pub async fn put_all(&self, devices: &[(String, Value)]) {
        stream::iter(devices)
            .for_each_concurrent(AT_ONCE, |(device, document)| self.put(device, document))
            .await;
    }

    /// Whether there is such a device.
    ///
    /// # Panics
    /// If the answer says neither yes nor no.
    pub async fn has(&self, device: &str) -> bool {
        let answer = self
            .send(Method::GET, &format!("/v1/devices/{device}"), None)
            .await;
        match answer.status() {
            StatusCode::OK => true,
            StatusCode::NOT_FOUND => false,
            other => panic!("{device}: {other}"),
        }
    }

    /// What it answers to a question.
    ///
    /// # Panics
    /// If the answer is not 200, or no JSON.
    pub async fn ask(&self, path: &str) -> Value {
        let answer = self.send(Method::GET, path, None).await;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Removes a device; returns when the answer came, in Unix microseconds.
    ///
    /// # Panics
    /// If the answer is not 204.
    pub async fn delete(&self, device: &str) -> i64 {
        let answer = self
            .send(Method::DELETE, &format!("/v1/devices/{device}"), None)
            .await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{device}");
        crate::now_us()
    }

    /// Removes many; returns when each was answered.
    ///
    /// # Panics
    /// If an answer is not 204.
    pub async fn delete_all(&self, devices: &[String]) -> Vec<(String, i64)> {
        let deleted = stream::iter(devices).map(async |device| {
            let at_us = self.delete(device).await;
            Ok::<_, std::convert::Infallible>((device.clone(), at_us))
        });
        deleted
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .unwrap()
    }

    /// Posts an event that is new; returns its event id.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn post(&self, id: &str, topics: &[&str]) -> String {
        self.post_as(id, topics, &[StatusCode::CREATED]).await
    }

    /// Posts an event whose first post was not answered; returns its event id.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn post_again(&self, id: &str, topics: &[&str]) -> String {
        self.post_as(id, topics, &[StatusCode::CREATED, StatusCode::OK])
            .await
    }

    /// Posts an event as it is written; returns its event id.
    ///
    /// # Panics
    /// If it is not stored.
    pub async fn post_document(&self, document: &Value) -> String {
        self.post_event(document, &[StatusCode::CREATED]).await
    }

    async fn post_as(&self, id: &str, topics: &[&str], good: &[StatusCode]) -> String {
        let document = json!({"id": id, "topics": topics, "title": id, "body": "a test"});
        self.post_event(&document, good).await
    }

    async fn post_event(&self, document: &Value, good: &[StatusCode]) -> String {
        let posted = self.insist(Method::POST, "/v1/events", Some(document));
        let (answer, was_open) = posted.await;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        let is_good = good.contains(&status) || (was_open && status == StatusCode::OK);
        assert!(is_good, "{status} ({was_open}): {body}");
        body["event"].as_str().unwrap().to_owned()
    }
}
