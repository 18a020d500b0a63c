//! The feed side: replayed sources over REST and WebSocket, with faults.
//!
//! | path | what |
//! |---|---|
//! | `/quakes/all_day.geojson` | the shipped quakes in the publisher's format, the last day of feed time |
//! | `/quakes/ws` | the same: each new or revised quake is a frame |
//! | configured | folders of snapshots, recorded sockets, tickers (the socket at their path and `/ws`) |

pub(crate) mod faults;
pub(crate) mod quakes;
mod recorded;
pub(crate) mod rest;
mod snapshots;
mod socket;
mod ticker;
mod visits;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::config::{SocketConfig, UpstreamConfig};
use crate::upstream::quakes::QuakeFeed;
use faults::{FeedFault, FeedScript};
pub(crate) use recorded::Recording;
use rest::Document;
use snapshots::SnapshotFeed;
pub(crate) use socket::{Frames, Opening, handshake, serve as serve_socket};
use ticker::TickerFeed;
pub use visits::Visit;
use visits::Visits;

/// Where the shipped quakes are.
pub(crate) const QUAKES: &str = "/quakes/all_day.geojson";
/// The same as frames.
pub(crate) const QUAKES_SOCKET: &str = "/quakes/ws";

/// A feed could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A file or folder.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A folder without files, or a recording without frames.
    #[error("{} holds nothing to replay", path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// The shipped table is damaged.
    #[error("line {line} of the table of quakes cannot be read")]
    Table {
        /// Counted from 1.
        line: usize,
    },
}

/// How often a path was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Requests or handshakes, faults included.
    pub requests: u64,
    /// Answered with 304.
    pub not_modified: u64,
    /// Answered by a fault.
    pub faults: u64,
    /// Frames sent.
    pub frames: u64,
}

/// All feeds of a sim.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) quakes: Option<Arc<QuakeFeed>>,
    pub(crate) faults: FeedScript,
    snapshots: Vec<SnapshotFeed>,
    recordings: Vec<(SocketConfig, Arc<Recording>)>,
    tickers: Vec<Arc<TickerFeed>>,
    visits: Visits,
    asked: Mutex<BTreeMap<String, Asked>>,
    /// What clients of sockets sent, newest last.
    pub(crate) received: Mutex<Vec<String>>,
    /// Counts up when all sockets shall close.
    closes: watch::Sender<u64>,
}

impl Upstream {
    pub(crate) fn open(config: &UpstreamConfig, now_ms: i64) -> Result<Self, FeedError> {
        let quakes = config
            .quakes
            .as_ref()
            .map(|it| QuakeFeed::open(it, now_ms))
            .transpose()?;
        let snapshots: Result<_, _> = config.snapshots.iter().map(SnapshotFeed::open).collect();
        let recordings: Result<_, _> = config
            .sockets
            .iter()
            .map(|it| Ok((it.clone(), Arc::new(Recording::open(it)?))))
            .collect();
        let faults = FeedScript::default();
        for rule in &config.rules {
            faults.add(rule.clone(), now_ms);
        }
        Ok(Self {
            quakes: quakes.map(Arc::new),
            faults,
            snapshots: snapshots?,
            recordings: recordings?,
            tickers: (config.tickers.iter())
                .map(|it| Arc::new(TickerFeed::open(it, now_ms)))
                .collect(),
            visits: Visits::default(),
            asked: Mutex::default(),
            received: Mutex::default(),
            closes: watch::Sender::new(0),
        })
    }

    /// The document at the request's path, as it is now.
    pub(crate) fn document(&self, head: &Parts, now_ms: i64) -> Option<Document> {
        let path = head.uri.path();
        if path == QUAKES {
            return self.quakes.as_ref().map(|it| it.document(now_ms));
        }
        if let Some(ticker) = self.tickers.iter().find(|it| it.is_at(path)) {
            return Some(ticker.document());
        }
        self.snapshots
            .iter()
            .find(|it| it.is_at(path))
            .and_then(|it| it.document(head))
    }

    /// The socket at `path`.
    pub(crate) fn frames(&self, path: &str) -> Option<Frames> {
        if path == QUAKES_SOCKET {
            return self.quakes.clone().map(|it| {
                let from = it.n_emitted();
                Frames::Quakes(it, from)
            });
        }
        if let Some(ticker) = self.tickers.iter().find(|it| it.has_socket_at(path)) {
            return Some(Frames::Ticks(Arc::clone(ticker), ticker.n_ticks() + 1));
        }
        let found = self
            .recordings
            .iter()
            .find(|(config, _)| config.path == path);
        found.map(|(config, it)| Frames::Recorded(config.clone(), Arc::clone(it)))
    }

    /// Moves the feed at `path` on by `steps`; `false` if there is none that can.
    pub(crate) fn advance(&self, path: &str, steps: usize) -> bool {
        if path == QUAKES {
            return self.quakes.as_ref().map(|it| it.step(steps)).is_some();
        }
        self.snapshots
            .iter()
            .find(|it| it.is_at(path))
            .map(|it| it.advance(steps))
            .is_some()
    }

    /// A fault for this request, if a rule has one.
    pub(crate) fn fault(&self, path: &str, is_socket: bool, now_ms: i64) -> Option<FeedFault> {
        let fault = self.faults.take(path, is_socket, now_ms);
        self.count(path, |it| {
            it.requests += 1;
            it.faults += u64::from(fault.is_some());
        });
        fault
    }

    pub(crate) fn count(&self, path: &str, change: impl FnOnce(&mut Asked)) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match asked.get_mut(path) {
            Some(it) => change(it),
            None => change(asked.entry(path.to_owned()).or_default()),
        }
    }

    pub(crate) fn asked(&self) -> BTreeMap<String, Asked> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All connections to sockets so far.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.visits.all()
    }

    /// The number of the last tick of the ticker at `path`.
    pub(crate) fn n_ticks(&self, path: &str) -> Option<usize> {
        let found = self.tickers.iter().find(|it| it.is_at(path));
        found.map(|it| it.n_ticks())
    }

    /// Closes all open sockets with a close frame; new ones are served.
    pub(crate) fn close_sockets(&self) {
        self.closes.send_modify(|it| *it += 1);
    }

    pub(crate) fn closes(&self) -> watch::Receiver<u64> {
        self.closes.subscribe()
    }
}
