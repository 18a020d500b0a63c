//! The wire under the provider doubles: listeners that can refuse, HTTP/2 that can misbehave.

mod connection;
mod decide;
mod filter;
mod send;
mod serve;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Ledger;
use crate::provider::Double;
use crate::script::Script;
use connection::Connection;

/// A client that has not finished its TLS handshake by then is let go.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Commands wait here; a connection takes them at once unless it is dying.
const COMMANDS: usize = 16;
const BACKLOG: u32 = 1024;

/// Something done to open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Disturbance {
    /// Fall silent: sockets stay open, nothing is read or answered any more.
    SilentDrop,
    /// TCP reset.
    Reset,
    /// GOAWAY; open streams finish.
    Goaway,
    /// Allow only so many streams from now on.
    MaxStreams {
        /// The new limit.
        streams: u32,
    },
}

/// How long the doubles think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// From the arrival of a request to its answer, in microseconds.
    pub fixed_us: u64,
    /// Up to so much more, evenly spread, in microseconds.
    pub jitter_us: u64,
    /// Of this time, so many percent pass before the push is decided and recorded: the way there.
    /// What is cut off in it was never delivered.
    pub before_percent: u8,
}

impl Latency {
    /// The same time for every answer.
    pub fn fixed(time: Duration) -> Self {
        Self {
            fixed_us: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// The same time for every answer, half of it before the push is decided: a way there and a
    /// way back.
    pub fn there_and_back(time: Duration) -> Self {
        Self {
            before_percent: 50,
            ..Self::fixed(time)
        }
    }

    /// Until the decision, and until the answer.
    fn next(self) -> (Duration, Duration) {
        let jitter_us = match self.jitter_us {
            0 => 0,
            most => rand::random_range(0..=most),
        };
        let whole = Duration::from_micros(self.fixed_us.saturating_add(jitter_us));
        (whole * u32::from(self.before_percent.min(100)) / 100, whole)
    }
}

/// A connection that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedConnection {
    /// Its number in the ledger.
    pub connection: u64,
    /// When its end was seen, in microseconds since the Unix epoch.
    pub at_us: i64,
    /// Requests that it had received and not answered.
    pub in_flight: u64,
}

/// What all listeners of a sim share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) script: Script,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) n_connections: AtomicU64,
    pub(crate) n_requests: AtomicU64,
    pub(crate) ended: Mutex<Vec<EndedConnection>>,
}

/// One port of one double.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) double: Double,
    pub(crate) latency: Arc<Delay>,
    pub(crate) world: Arc<World>,
    first_streams: u32,
    max_streams: u32,
    refuses: watch::Sender<bool>,
    open: Mutex<HashMap<u64, mpsc::Sender<Disturbance>>>,
    /// Bound and not listening: keeps the port ours while connections are refused.
    _holder: TcpSocket,
}

/// A [`Latency`] that can be changed while connections read it.
#[derive(Debug, Default)]
pub(crate) struct Delay {
    fixed_us: AtomicU64,
    jitter_us: AtomicU64,
    before_percent: AtomicU8,
}

impl Delay {
    pub(crate) fn set(&self, latency: Latency) {
        self.fixed_us.store(latency.fixed_us, Ordering::Relaxed);
        self.jitter_us.store(latency.jitter_us, Ordering::Relaxed);
        self.before_percent
            .store(latency.before_percent, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Latency {
        let fixed_us = self.fixed_us.load(Ordering::Relaxed);
        Latency {
            fixed_us,
            jitter_us: self.jitter_us.load(Ordering::Relaxed),
            before_percent: self.before_percent.load(Ordering::Relaxed),
        }
    }
}

/// How a listener is to be opened.
pub(crate) struct Opening {
    pub(crate) at: SocketAddr,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) double: Double,
    pub(crate) latency: Arc<Delay>,
    pub(crate) first_streams: u32,
    pub(crate) max_streams: u32,
}

impl Listener {
    /// Binds its address and begins to accept.
    pub(crate) fn open(world: &Arc<World>, opening: Opening) -> io::Result<Arc<Self>> {
        let holder = socket()?;
        holder.bind(opening.at)?;
        let address = holder.local_addr()?;
        let accepting = listen(address)?;
        let listener = Arc::new(Self {
            address,
            double: opening.double,
            latency: opening.latency,
            world: Arc::clone(world),
            first_streams: opening.first_streams,
            max_streams: opening.max_streams,
            refuses: watch::Sender::new(false),
            open: Mutex::default(),
            _holder: holder,
        });
        world
            .tasks
            .spawn(Arc::clone(&listener).run(accepting, opening.tls));
        Ok(listener)
    }

    /// While `refuses`, new connections are refused by the kernel; open ones go on.
    pub(crate) fn set_refuses(&self, refuses: bool) {
        self.refuses.send_replace(refuses);
    }

    pub(crate) fn is_refusing(&self) -> bool {
        *self.refuses.borrow()
    }

    /// Does `what` to all open connections, or to one. Returns how many heard it.
    pub(crate) fn disturb(&self, what: Disturbance, connection: Option<u64>) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = open
            .iter()
            .filter(|(id, _)| connection.is_none_or(|it| it == **id));
        chosen
            .filter(|(_, commands)| commands.try_send(what).is_ok())
            .count()
    }

    pub(crate) fn n_open(&self) -> usize {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    async fn run(self: Arc<Self>, accepting: TcpListener, tls: Option<TlsAcceptor>) {
        let mut accepting = Some(accepting);
        let mut refuses = self.refuses.subscribe();
        loop {
            if *refuses.borrow_and_update() {
                accepting = None;
            } else if accepting.is_none() {
                match listen(self.address) {
                    Ok(again) => accepting = Some(again),
                    Err(error) => tracing::error!(%error, "double cannot listen again"),
                }
            }
            let next = async {
                match &accepting {
                    Some(accepting) => accepting.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.world.stop.cancelled() => return,
                _ = refuses.changed() => {}
                accepted = next => match accepted {
                    Ok((socket, _)) => {
                        let connection = Arc::clone(&self).connection(socket, tls.clone());
                        self.world.tasks.spawn(connection);
                    }
                    Err(error) => {
                        // Out of descriptors, mostly: pause instead of a busy loop.
                        tracing::warn!(%error, "double cannot accept");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, tls: Option<TlsAcceptor>) {
        let id = self.world.n_connections.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, commands) = mpsc::channel(COMMANDS);
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, sender);
        let listener = Arc::clone(&self);
        let ended = async {
            // Without it a client waits 40 ms for each small answer.
            socket.set_nodelay(true)?;
            match tls {
                None => {
                    Connection::new(listener, id, false)
                        .drive(socket, commands)
                        .await
                }
                Some(tls) => {
                    let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.accept(socket));
                    let socket = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
                    let has_certificate = socket.get_ref().1.peer_certificates().is_some();
                    let connection = Connection::new(listener, id, has_certificate);
                    connection.drive(socket, commands).await
                }
            }
        };
        let ended: io::Result<()> = tokio::select! {
            () = self.world.stop.cancelled() => Ok(()),
            ended = ended => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, connection = id, "connection to a double ended");
        }
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }
}

/// A second socket may be bound to the same port while only one of them listens.
fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket()?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
