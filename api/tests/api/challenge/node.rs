//! Another API of the same installation.

use fanfare_api::{Config, Keys, Metrics, RunError, Server};
use fanfare_nats::{Broker, Readiness};
use prometheus_client::registry::Registry;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::{Answer, Api};

pub struct Node {
    url: String,
    client: Client,
    stop: CancellationToken,
    serving: JoinSet<Result<(), RunError>>,
}

impl Node {
    pub async fn beside(api: &Api, config: Config) -> Self {
        let options = api.server.options("api-2");
        let readiness = Readiness::new();
        let metrics = fanfare_nats::Metrics::default();
        let broker = Broker::connect(options, metrics, readiness.clone());
        let broker = broker.await.unwrap();
        let config = Config {
            listen: "127.0.0.1:0".to_owned(),
            keys: Some(Keys::UntilFirst),
            ..config
        };
        // Ready is who answers; who knows of every device is ready for these tests.
        let well = if config.index {
            "/v1/topics"
        } else {
            "/readyz"
        };
        let server = Server::bind(config).await.unwrap();
        let url = format!("http://{}", server.address());
        let stop = CancellationToken::new();
        let mut serving = JoinSet::new();
        let metrics = Metrics::register(&mut Registry::default());
        serving.spawn(server.serve(broker, metrics, readiness, stop.clone()));
        let node = Self {
            url,
            client: Client::builder().no_proxy().build().unwrap(),
            stop,
            serving,
        };
        let ask = async || node.ask(api, Method::GET, well, None).await;
        crate::harness::eventually(ask, |it| it.status == 200).await;
        node
    }

    pub async fn put(&self, api: &Api, path: &str, body: &Value) -> Answer {
        self.ask(api, Method::PUT, path, Some(body)).await
    }

    async fn ask(&self, api: &Api, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method.clone(), url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap();
        let answer = Answer {
            status,
            headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        api.contract().check(&method, path, &answer);
        answer
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        self.serving.join_next().await.unwrap().unwrap().unwrap();
    }
}
