//! One HTTP/2 connection to a double: the task that drives it and what its requests share.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use h2::server::SendResponse;
use tokio::sync::mpsc;

use super::filter::{Filter, Frames, Goaway, Socket};
use super::serve::serve;
use super::{Disturbance, EndedConnection, Listener};
use crate::clock;
use crate::provider::apns;
use crate::provider::auth::Line;

/// Sent unchanged in each later SETTINGS: only its place in the frame is wanted.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The library sends no SETTINGS before the last were acknowledged: ask again after so long.
const SETTINGS_RETRY: Duration = Duration::from_millis(2);
/// A sender whose requests time out resets them by the thousand; that is no attack here.
const MAX_RESETS: usize = 100_000;

/// What the requests of one connection share. They all run in the connection's task, one at a
/// time, so the atomics order nothing.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) listener: Arc<Listener>,
    pub(super) line: Line,
    pub(super) n_active: AtomicU64,
    /// Streams above this one are not processed any more.
    pub(super) last_stream: AtomicU32,
    /// The highest stream with a recorded decision.
    pub(super) last_decided: AtomicU32,
    is_trusted: AtomicBool,
    owes_settings: AtomicBool,
    frames: Arc<Frames>,
}

/// What a request leaves to the task that drives its connection.
pub(super) enum After {
    /// Nothing.
    Nothing,
    /// Do this to the connection.
    Disturb(Disturbance),
    /// GOAWAY with the connection's `last_stream`; the request stays unanswered till the end.
    GoawayBelow(Option<SendResponse<Bytes>>),
}

/// Notes the end of a connection.
struct End(Arc<Connection>);

impl Drop for End {
    fn drop(&mut self) {
        let ended = EndedConnection {
            connection: self.0.id,
            at_us: clock::now().as_microsecond(),
            in_flight: self.0.n_active.load(Ordering::Relaxed),
        };
        let all = &self.0.listener.world.ended;
        all.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(ended);
    }
}

impl Connection {
    pub(super) fn new(listener: Arc<Listener>, id: u64, has_certificate: bool) -> Self {
        let first = if has_certificate {
            listener.max_streams
        } else {
            listener.first_streams
        };
        let is_trusted = has_certificate || listener.first_streams >= listener.max_streams;
        Self {
            id,
            line: Line::new(has_certificate),
            n_active: AtomicU64::new(0),
            last_stream: AtomicU32::new(u32::MAX),
            last_decided: AtomicU32::new(0),
            is_trusted: AtomicBool::new(is_trusted),
            owes_settings: AtomicBool::new(false),
            frames: Frames::new(first),
            listener,
        }
    }

    /// The stream limit that holds before the first valid token.
    pub(super) fn refuses_more(&self) -> bool {
        !self.is_trusted.load(Ordering::Relaxed)
            && u64::from(self.listener.first_streams) < self.n_active.load(Ordering::Relaxed)
    }

    /// The first valid token lifts the stream limit.
    pub(super) fn trust(&self) {
        if !self.is_trusted.swap(true, Ordering::Relaxed) {
            self.announce_streams(self.listener.max_streams);
        }
    }

    fn announce_streams(&self, streams: u32) {
        self.frames.max_streams.store(streams, Ordering::Release);
        self.owes_settings.store(true, Ordering::Relaxed);
    }

    /// Serves until the peer leaves, a fault ends it, or the sim stops (then this future is dropped).
    pub(super) async fn drive<S: Socket>(
        self,
        socket: S,
        mut commands: mpsc::Receiver<Disturbance>,
    ) -> io::Result<()> {
        let shared = Arc::new(self);
        let filter = Filter::new(socket, Arc::clone(&shared.frames));
        let mut connection = h2::server::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // The limit that the library enforces; the announced one is the filter's.
            .max_concurrent_streams(shared.listener.max_streams)
            .max_concurrent_reset_streams(MAX_RESETS)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(None)
            .handshake::<_, Bytes>(filter)
            .await
            .map_err(io::Error::other)?;
        let mut requests = FuturesUnordered::new();
        // Declared after the requests, so that it is dropped before them and counts them.
        let _end = End(Arc::clone(&shared));
        let mut held = Vec::new();
        loop {
            let owes_settings = shared.owes_settings.load(Ordering::Relaxed)
                && connection.set_initial_window_size(STREAM_WINDOW).is_err();
            shared.owes_settings.store(owes_settings, Ordering::Relaxed);
            let after = tokio::select! {
                biased;
                Some(command) = commands.recv() => After::Disturb(command),
                Some(after) = requests.next(), if !requests.is_empty() => after,
                accepted = poll_fn(|cx| connection.poll_accept(cx)) => match accepted {
                    None => return Ok(()),
                    Some(accepted) => {
                        let (request, respond) = accepted.map_err(io::Error::other)?;
                        requests.push(serve(Arc::clone(&shared), request, respond));
                        continue;
                    }
                },
                () = tokio::time::sleep(SETTINGS_RETRY), if owes_settings => continue,
            };
            match after {
                After::Nothing => {}
                After::Disturb(Disturbance::MaxStreams { streams }) => {
                    shared.announce_streams(streams);
                }
                After::Disturb(Disturbance::Goaway) => {
                    shared.announce_end(None);
                    connection.graceful_shutdown();
                }
                After::Disturb(Disturbance::Reset) => {
                    shared.frames.resets.store(true, Ordering::Release);
                    return Ok(());
                }
                After::Disturb(Disturbance::SilentDrop) => {
                    // The answers of the requests in flight are lost; the sim's stop ends this.
                    requests.clear();
                    std::future::pending::<()>().await;
                }
                After::GoawayBelow(respond) => {
                    // Dropped, it would reset its stream and say something about it after all.
                    held.extend(respond);
                    shared.announce_end(Some(shared.last_stream.load(Ordering::Relaxed)));
                    connection.graceful_shutdown();
                }
            }
        }
    }

    fn announce_end(&self, last_stream: Option<u32>) {
        let debug = apns::goaway_debug("Shutdown", clock::now().as_millisecond());
        let mut goaway = self
            .frames
            .goaway
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *goaway = Some(Goaway { last_stream, debug });
    }
}
