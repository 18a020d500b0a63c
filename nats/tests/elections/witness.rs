//! Hears of elections from the servers themselves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_nats::Client;
use futures::StreamExt;
use tokio::task::JoinSet;

/// What the servers told, each advisory once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    told: Arc<Mutex<[HashSet<String>; 2]>>,
}

const ADVISORIES: [&str; 2] = [
    "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.>",
    "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.>",
];

impl Witness {
    /// Listens on a connection to each server: one of them is alive.
    pub(crate) async fn listen(&self, clients: &[Client], tasks: &mut JoinSet<()>) {
        for client in clients {
            for (kind, subject) in ADVISORIES.into_iter().enumerate() {
                let mut advisories = client.subscribe(subject).await.unwrap();
                let told = Arc::clone(&self.told);
                tasks.spawn(async move {
                    while let Some(advisory) = advisories.next().await {
                        let body = serde_json::from_slice::<serde_json::Value>(&advisory.payload);
                        let id = body
                            .ok()
                            .and_then(|it| it["id"].as_str().map(str::to_owned));
                        if let Some(id) = id {
                            told.lock().unwrap()[kind].insert(id);
                        }
                    }
                });
            }
            client.flush().await.unwrap();
        }
    }

    /// Elections of streams and of consumers.
    pub(crate) fn elections(&self) -> (usize, usize) {
        let told = self.told.lock().unwrap();
        (told[0].len(), told[1].len())
    }
}
