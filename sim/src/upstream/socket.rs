//! Feeds as WebSocket frames.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};

use super::faults::FeedFault;
use super::quakes::QuakeFeed;
use super::ticker::TickerFeed;
use super::visits::OpenVisit;
use super::{Recording, Upstream};
use crate::config::{AtEnd, SocketConfig};
use crate::http::{Body, full};

/// Frames of clients kept for a look from outside.
const KEPT_FRAMES: usize = 100;

/// Where frames come from.
#[derive(Debug, Clone)]
pub(crate) enum Frames {
    /// From this emission on: what was shown before the handshake is for REST to fetch.
    Quakes(Arc<QuakeFeed>, usize),
    Recorded(SocketConfig, Arc<Recording>),
    /// From this tick on.
    Ticks(Arc<TickerFeed>, usize),
}

impl Frames {
    /// How often the client is pinged.
    fn ping_every(&self) -> Option<Duration> {
        match self {
            Self::Quakes(..) | Self::Recorded(..) => None,
            Self::Ticks(feed, _) => feed.ping_every(),
        }
    }
}

/// A socket that was asked for.
pub(crate) struct Opening {
    pub(crate) path: String,
    /// What the client calls itself.
    pub(crate) agent: String,
    pub(crate) frames: Frames,
    pub(crate) fault: Option<FeedFault>,
    pub(crate) upgrade: OnUpgrade,
}

impl Opening {
    pub(crate) fn new(
        head: &Parts,
        frames: Frames,
        fault: Option<FeedFault>,
        upgrade: OnUpgrade,
    ) -> Self {
        let agent = head.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|it| it.to_str().ok()).unwrap_or_default();
        Self {
            path: head.uri.path().to_owned(),
            agent: agent.to_owned(),
            frames,
            fault,
            upgrade,
        }
    }
}

/// The answer to a handshake; `None` if the request is none.
pub(crate) fn handshake(head: &Parts) -> Option<Response<Body>> {
    let wants = head.headers.get(header::UPGRADE)?.to_str().ok()?;
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY)?;
    if !wants.eq_ignore_ascii_case("websocket") {
        return None;
    }
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(response)
}

/// Sends frames until the client leaves, a fault ends it, or the sim stops (then this future is
/// dropped).
pub(crate) async fn serve(upstream: Arc<Upstream>, opening: Opening) {
    let Opening {
        path,
        agent,
        frames,
        fault,
        upgrade,
    } = opening;
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => {
            tracing::debug!(%error, "no socket came of a handshake");
            return;
        }
    };
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, None).await;
    let session = Session {
        visit: upstream.visits.open(&path, &agent),
        upstream,
        path,
        fault,
        socket,
        n_sent: 0,
    };
    if let Err(error) = session.run(frames).await {
        tracing::debug!(%error, "socket of a feed ended");
    }
}

struct Session<S> {
    visit: OpenVisit,
    upstream: Arc<Upstream>,
    path: String,
    fault: Option<FeedFault>,
    socket: WebSocketStream<S>,
    n_sent: u64,
}

/// How far a socket is in its frames.
struct Position {
    frames: Frames,
    at: usize,
    /// When the first frame is due; `None` while a subscription is awaited.
    start: Option<Instant>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Session<S> {
    async fn run(mut self, frames: Frames) -> Result<(), tungstenite::Error> {
        let mut closes = self.upstream.closes();
        let ping_every = frames.ping_every();
        let mut ping_at = Instant::now();
        let mut position = Position::new(frames);
        loop {
            match self.fault {
                Some(FeedFault::Close { after_frames }) if after_frames <= self.n_sent => {
                    return self.close().await;
                }
                Some(FeedFault::Drop { after_frames }) if after_frames <= self.n_sent => {
                    return Ok(());
                }
                _ => {}
            }
            let is_mute = matches!(self.fault, Some(FeedFault::Mute { after_frames })
                if after_frames <= self.n_sent);
            tokio::select! {
                _ = closes.changed() => return self.close().await,
                () = sleep_until(ping_at), if ping_every.is_some() => {
                    ping_at = Instant::now() + ping_every.unwrap_or_default();
                    self.socket.send(Message::Ping(Bytes::new())).await?;
                }
                received = self.socket.next() => match received.transpose()? {
                    None => return Ok(()),
                    Some(Message::Text(text)) => {
                        self.visit.heard();
                        self.keep(text.as_str());
                        position.start.get_or_insert_with(Instant::now);
                    }
                    // The library answers pings and closes as we read and write.
                    Some(_) => {
                        self.visit.heard();
                        self.socket.flush().await?;
                    }
                },
                frame = position.next(), if !is_mute => match frame {
                    Some(frame) => {
                        self.socket.send(frame).await?;
                        self.n_sent += 1;
                        self.upstream.count(&self.path, |it| it.frames += 1);
                    }
                    None => return self.close().await,
                },
            }
        }
    }

    async fn close(mut self) -> Result<(), tungstenite::Error> {
        self.socket.close(None).await?;
        // The peer's close frame ends it in order.
        while let Some(received) = self.socket.next().await {
            if let Err(error) = received {
                return if is_end(&error) { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }

    fn keep(&self, text: &str) {
        let mut kept = self
            .upstream
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_FRAMES {
            kept.remove(0);
        }
        kept.push(text.to_owned());
    }
}

/// Peers end a closed connection in more than one way.
fn is_end(error: &tungstenite::Error) -> bool {
    use io::ErrorKind::{ConnectionReset, UnexpectedEof};
    if let tungstenite::Error::Io(it) = error {
        return matches!(it.kind(), ConnectionReset | UnexpectedEof);
    }
    matches!(error, tungstenite::Error::ConnectionClosed)
}

impl Position {
    fn new(frames: Frames) -> Self {
        let (at, waits) = match &frames {
            Frames::Quakes(_, from) | Frames::Ticks(_, from) => (*from, false),
            Frames::Recorded(config, _) => (0, config.waits_for_frame),
        };
        Self {
            frames,
            at,
            start: (!waits).then(Instant::now),
        }
    }

    /// The next frame when it is due; `None` if the socket shall close. Cancel-safe.
    async fn next(&mut self) -> Option<Message> {
        let frame = match &self.frames {
            Frames::Quakes(feed, _) => Message::text(feed.frame(self.at).await),
            Frames::Ticks(feed, _) => Message::text(feed.frame(self.at).await),
            Frames::Recorded(config, recording) => {
                let Some(start) = self.start else {
                    return std::future::pending().await;
                };
                let Some(timed) = recording.frames.get(self.at) else {
                    return match config.at_end {
                        AtEnd::Close => None,
                        AtEnd::Hold => std::future::pending().await,
                    };
                };
                if config.speed > 0.0 {
                    sleep_until(start + timed.after.div_f64(config.speed)).await;
                }
                timed.frame.clone()
            }
        };
        self.at += 1;
        Some(frame)
    }
}
