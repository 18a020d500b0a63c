//! A client of the broker that hears every message, and keeps all but the payload.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use tokio::task::JoinSet;

/// What it hears until it ends.
pub(super) struct Heard {
    client: async_nats::Client,
    lines: Arc<Mutex<Vec<String>>>,
    listening: JoinSet<()>,
}

impl Heard {
    pub(super) async fn start(url: &str) -> Self {
        let client = async_nats::connect(url).await.unwrap();
        let mut messages = client.subscribe(">").await.unwrap();
        client.flush().await.unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let record = Arc::clone(&lines);
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            while let Some(message) = messages.next().await {
                let mut lines = record.lock().unwrap();
                lines.push(message.subject.to_string());
                lines.extend(message.reply.map(|it| it.to_string()));
                for (name, values) in message.headers.iter().flat_map(|it| it.iter()) {
                    let values = values.iter().map(|it| format!("{name}: {it}"));
                    lines.extend(values);
                }
            }
        });
        Self {
            client,
            lines,
            listening,
        }
    }

    /// Everything so far.
    pub(super) async fn lines(&self) -> Vec<String> {
        self.client.flush().await.unwrap();
        self.lines.lock().unwrap().clone()
    }

    pub(super) async fn end(mut self) {
        self.client.drain().await.unwrap();
        self.listening.join_next().await;
    }
}
