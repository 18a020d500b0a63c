//! An input that is posted to: a third party sends documents when it has news.
//!
//! A document is answered 202 when everything of it is known to be stored, and not before: whoever
//! hears anything else, or nothing, sends it again, and what was stored is recognised.

mod door;
mod proof;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fanfare_nats::fail;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{Batch, Payload, Settled, Source, SourceError};
use crate::config::WebhookConfig;
use crate::cursor::Cursor;
use door::Door;

pub(crate) use proof::Proof;

/// Documents that wait for their turn; more are told to come again.
const WAITING: usize = 64;

/// A document that was posted, and who waits for its fate.
#[derive(Debug)]
struct Posted {
    document: Bytes,
    fate: oneshot::Sender<Fate>,
}

/// What became of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Everything of it is stored.
    Stored,
    /// It is none that the source's mapping can read.
    Unreadable,
}

/// A listener, and what it was given.
#[derive(Debug)]
pub struct Webhook {
    posted: mpsc::Receiver<Posted>,
    in_hand: Option<oneshot::Sender<Fate>>,
    address: SocketAddr,
    /// Ends with the source.
    _serving: JoinSet<()>,
}

impl Webhook {
    /// Listens for documents of a source.
    ///
    /// Dropping it cuts off who waits for an answer.
    ///
    /// # Errors
    /// [`SourceError::Listen`], [`SourceError::Address`] where the configuration was not checked.
    pub async fn open(source: &str, config: &WebhookConfig) -> Result<Self, SourceError> {
        let address: SocketAddr = config.webhook.parse().map_err(|_| SourceError::Address)?;
        let proof = Proof::of(config).map_err(|_| SourceError::Address)?;
        let failed = |cause| SourceError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (send, posted) = mpsc::channel(WAITING);
        let door = Door::new(source, proof, config.max_bytes, send);
        let mut serving = JoinSet::new();
        serving.spawn(door.serve(listener));
        tracing::info!(source.name = source, %address, "listening for what is posted");
        Ok(Self {
            posted,
            in_hand: None,
            address,
            _serving: serving,
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Source for Webhook {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        let Some(Posted { document, fate }) = self.posted.recv().await else {
            // The door is closed only by a bug; let nobody turn in circles.
            tokio::time::sleep(Duration::from_secs(1)).await;
            return Err(SourceError::Closed);
        };
        self.in_hand = Some(fate);
        Ok(Batch {
            payload: Payload::Documents(vec![document]),
            is_reopened: false,
            took: Duration::ZERO,
        })
    }

    fn settle(&mut self, settled: Settled) -> Option<Cursor> {
        let fate = match settled {
            Settled::Stored { .. } => {
                fail::point("posted.stored");
                Fate::Stored
            }
            Settled::Failed => Fate::Unreadable,
        };
        if let Some(waiting) = self.in_hand.take() {
            // Whoever asked may be gone; what is stored is stored.
            let _gone = waiting.send(fate);
        }
        None
    }
}
