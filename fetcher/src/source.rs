//! Where documents and frames come from. Transport only: nothing here knows what an item is.

mod address;
mod http;
mod webhook;
mod websocket;

use std::future::Future;
use std::time::Duration;

use ::http::StatusCode;
use bytes::Bytes;
use thiserror::Error;

pub use self::address::{is_private, is_this_machine};
pub use self::http::{CatchUp, Http};
pub(crate) use self::webhook::Proof;
pub use self::webhook::Webhook;
pub use self::websocket::WebSocket;

use crate::cursor::Cursor;

/// An input of a source.
pub trait Source: Send {
    /// Waits for what comes next: a poll that is due, or frames that arrive.
    ///
    /// Nothing more is taken from the network until the batch is settled, so a broker that is away
    /// holds up the publisher and not our memory. Dropping the future gives up a poll in progress;
    /// a socket keeps its frames.
    ///
    /// # Errors
    /// [`SourceError`]; the source has already decided when it tries again, so just call again.
    fn next(&mut self) -> impl Future<Output = Result<Batch, SourceError>> + Send;

    /// Says what became of the batch that [`Source::next`] gave last. Returns the cursor to store,
    /// if it advanced.
    fn settle(&mut self, settled: Settled) -> Option<Cursor>;
}

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The bytes.
    pub payload: Payload,
    /// The socket was opened again: what happened meanwhile has to be asked for.
    pub is_reopened: bool,
    /// How long it took to get.
    pub took: Duration,
}

/// The bytes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The pages of one poll that changed.
    Documents(Vec<Bytes>),
    /// A poll that brought nothing new.
    NotModified,
    /// Frames, in order.
    Frames(Vec<Bytes>),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Everything of it is known to be stored.
    Stored {
        /// The document's own lower bound between polls.
        ttl: Option<Duration>,
        /// The same document would be judged the same later. An item that lies ahead is not yet
        /// news, so its document has to be read again although it does not change.
        is_lasting: bool,
    },
    /// Its document cannot be read: nothing of it was used.
    Failed,
}

/// Why a source gave nothing. No variant shows an address's query or a header.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The publisher asks to wait.
    #[error("the publisher asks to wait (status {status})")]
    Throttled {
        /// 429 or 503.
        status: StatusCode,
    },
    /// An answer that is neither a document nor "not modified".
    #[error("the publisher answers with status {0}")]
    Status(StatusCode),
    /// 410: it is asked again after a day.
    #[error("the publisher has taken the feed away for good (status 410)")]
    Gone,
    /// More than five redirects, or one without a usable target.
    #[error("the publisher redirects in circles or to nowhere")]
    Redirect,
    /// An address that a source must not reach.
    #[error(
        "`{host}` is an address of this machine or of a private network: write `allow_private = true` if that is meant"
    )]
    Private {
        /// The host.
        host: String,
    },
    /// A body or frame beyond the limit.
    #[error("the document has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// No complete answer in time.
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
    /// The request failed, or the answer was cut off.
    #[error("the request failed")]
    Http(#[source] reqwest::Error),
    /// The address or a header is not usable.
    #[error("the address or a header is not usable")]
    Address,
    /// No connection could be made.
    #[error("no connection to `{host}`")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The port is taken or not ours.
    #[error("nothing can be listened for on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The socket could not be opened, or broke.
    #[error("the socket failed")]
    Socket(#[source] Box<tokio_tungstenite::tungstenite::Error>),
    /// The other side closed the socket.
    #[error("the publisher closed the socket")]
    Closed,
    /// Nothing came for too long.
    #[error("the socket was silent for {0:?}")]
    Silent(Duration),
}
