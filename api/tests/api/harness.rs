//! A broker, an API on a port of the system's choice, and a client.

use std::time::Duration;

use fanfare_api::{Config, Keys, Metrics, Operator, RunError, Server};
use fanfare_nats::connect::ConnectOptions;
use fanfare_nats::stream::Topology;
use fanfare_nats::testing::TestServer;
use fanfare_nats::{Broker, Readiness};
use prometheus_client::registry::Registry;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::contract::Contract;

/// Everything a test needs; the broker ends with it.
pub struct Api {
    pub server: TestServer,
    pub broker: Broker,
    pub readiness: Readiness,
    url: String,
    client: Client,
    contract: Contract,
    stop: CancellationToken,
    serving: JoinSet<Result<(), RunError>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    /// A header's text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }

    /// Checks that this is a complete problem document.
    #[track_caller]
    pub fn check_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        assert_eq!(self.body["status"], status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
        assert_eq!(
            self.body["type"],
            format!("urn:fanfare:problem:{code}"),
            "{self:?}"
        );
        assert_eq!(
            self.body["request_id"],
            self.header("x-request-id"),
            "{self:?}"
        );
        for member in ["title", "detail", "request_id"] {
            assert!(!self.body[member].as_str().unwrap().is_empty(), "{self:?}");
        }
        let passes = status == 503 || status == 429;
        let retry_after = self
            .header("retry-after")
            .parse::<u32>()
            .is_ok_and(|it| it > 0);
        assert_eq!(retry_after, passes, "{self:?}");
    }

    /// The pointers of `errors`.
    pub fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().unwrap();
        errors
            .iter()
            .map(|it| it["pointer"].as_str().unwrap())
            .collect()
    }
}

impl Api {
    /// Without keys, until there is one.
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// One that asks for keys from the start.
    pub async fn start_locked() -> Self {
        let keys = Some(Keys::Required);
        let config = Config::default();
        Self::start_with(Config { keys, ..config }).await
    }

    /// One whose process may not operate.
    pub async fn start_without_operator() -> Self {
        Self::start_as(Config::default(), false).await
    }

    pub async fn start_with(config: Config) -> Self {
        Self::start_as(config, true).await
    }

    async fn start_as(config: Config, is_operator: bool) -> Self {
        // Already installed by another test is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = TestServer::start().await;
        let readiness = Readiness::new();
        let options: ConnectOptions = server.options("api-1");
        let nats_metrics = fanfare_nats::Metrics::default();
        let broker = Broker::connect(options, nats_metrics, readiness.clone())
            .await
            .unwrap();
        broker.ensure(&Topology::new(1, Vec::new())).await.unwrap();
        let listen = "127.0.0.1:0".to_owned();
        let keys = config.keys.or(Some(Keys::UntilFirst));
        let config = Config {
            listen,
            keys,
            ..config
        };
        let operator = if is_operator {
            let metrics = fanfare_nats::Metrics::default();
            let options = server.options("ops-1");
            let connected = Broker::connect(options, metrics, Readiness::new()).await;
            Some(Operator::new(std::future::ready(connected.unwrap())))
        } else {
            None
        };
        let api = Server::bind(config).await.unwrap().operating(operator);
        let url = format!("http://{}", api.address());
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let metrics = Metrics::register(&mut Registry::default());
        serving.spawn(api.serve(broker.clone(), metrics, readiness.clone(), stop.clone()));
        let client = Client::builder().no_proxy().build().unwrap();
        let api = Self {
            server,
            broker,
            readiness,
            url,
            client,
            contract: Contract::read(&fanfare_api::openapi()),
            stop,
            serving,
        };
        // The keys are read: who asks is judged by them, and not put off.
        eventually(async || api.get("/readyz").await, |it| it.status == 200).await;
        api
    }

    /// Sends a request with optional headers and JSON.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(|it| ("application/json", it.to_string().into_bytes()));
        self.send_bytes(method, path, headers, body).await
    }

    /// Sends a request with optional headers and a body of some media type. Of a stream, which has
    /// no end, the head is read.
    pub async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let mut answer = Answer {
            status,
            headers,
            body: Value::Null,
        };
        if answer.header("content-type") != "text/event-stream" {
            let body = response.bytes().await.unwrap();
            answer.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        }
        self.contract.check(&method, path, &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn put(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(Method::PUT, path, headers, Some(body)).await
    }

    pub async fn delete(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::DELETE, path, headers, None).await
    }

    pub async fn post(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.send(Method::POST, "/v1/events", headers, Some(body))
            .await
    }

    /// Posts raw bytes, with a content type.
    pub async fn post_bytes(&self, kind: &str, body: Vec<u8>) -> Answer {
        self.send_bytes(Method::POST, "/v1/events", &[], Some((kind, body)))
            .await
    }

    /// What it promises.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Stops the API and waits until it has drained.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.serving.join_next().await.unwrap().unwrap().unwrap();
        assert!(!self.readiness.is_ready());
    }
}

/// Asks until the answer is right, for at most 20 s; says what was seen last.
pub async fn eventually(
    mut ask: impl AsyncFnMut() -> Answer,
    is_right: impl Fn(&Answer) -> bool,
) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask().await;
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "last seen: {answer:?}");
        sleep(Duration::from_millis(50)).await;
    }
}
