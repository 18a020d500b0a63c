//! The listener and its connections.

mod patience;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use fanfare_nats::follow::{Ended, Followed};
use fanfare_nats::service::Service;
use fanfare_nats::{Broker, Readiness};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access, Ring};
use crate::audit;
use crate::config::{Config, Policy, unprotected};
use crate::device::challenge;
use crate::known::Known;
use crate::live::{self, Live};
use crate::metric::Metrics;
use crate::operate::{Operating, Operator};
use crate::quota::Peer;
use crate::router::{Beside, router};
use crate::sweep;

use self::patience::Patient;

/// The condition of readiness that belongs to this role.
const CONDITION: &str = "api";
/// The role's word in the list of members.
const ROLE: &str = "api";
/// How long a client may take to send a request's head; idle connections end by it too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in flight may take after the stop (design section 6).
const DRAIN: Duration = Duration::from_secs(10);
/// The pause after an accept that failed: out of descriptors, the next fails as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the API does not serve, or did not end well.
#[derive(Debug, Error)]
pub enum RunError {
    /// The address is not written as one.
    #[error("`api.listen` {0}")]
    Address(String),
    /// Others could reach it, and it would ask for no keys until there is one.
    #[error("{}", unprotected(*.0))]
    Unprotected(SocketAddr),
    /// The port is taken or not ours.
    #[error("the API cannot listen on {address}")]
    Listen {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The thread that follows the devices cannot be started.
    #[error("the device index cannot be followed")]
    Index(#[source] io::Error),
    /// That thread ended although nobody asked it to.
    #[error("the thread that follows the device bucket ended")]
    IndexEnded,
    /// Requests were still running when the drain time was over.
    #[error("{n_connections} connections were cut off: their requests took too long to finish")]
    CutOff {
        /// How many.
        n_connections: usize,
    },
}

/// An API that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    operator: Option<Operator>,
}

impl Server {
    /// Takes the port.
    ///
    /// Dropping the future or the server gives the port back.
    ///
    /// # Errors
    /// [`RunError::Address`], [`RunError::Unprotected`], [`RunError::Listen`].
    pub async fn bind(config: Config) -> Result<Self, RunError> {
        let address = config.address().map_err(RunError::Address)?;
        if !config.may_listen(address) {
            return Err(RunError::Unprotected(address));
        }
        let failed = |cause| RunError::Listen { address, cause };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            config,
            listener,
            address,
            operator: None,
        })
    }

    /// The same, with the connection that may pause and replay.
    #[must_use]
    pub fn operating(self, operator: Option<Operator>) -> Self {
        Self { operator, ..self }
    }

    /// Where it listens, with the port the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, then accepts no more, finishes what is in flight, and returns.
    ///
    /// Dropping the future cuts every connection off; what was acknowledged is stored.
    ///
    /// # Errors
    /// [`RunError::CutOff`] if requests took longer than 10 s after the stop.
    pub async fn serve(
        self,
        broker: Broker,
        metrics: Metrics,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        // It holds what every route may use: too large for the stacks of those who wait for it.
        Box::pin(self.keep(broker, metrics, readiness, stop)).await
    }

    async fn keep(
        self,
        broker: Broker,
        metrics: Metrics,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Result<(), RunError> {
        // Everything ends by this one, also when a part of it fails.
        let (asked, stop) = (stop.clone(), stop.child_token());
        let (presence, not_read) = broker.appear(service(metrics.clone()), stop.clone());
        drop(not_read); // Nothing is divided among these.
        let (policy, ring) = (self.config.policy(), Ring::default());
        let access = Access::new(policy, ring.clone());
        if policy != Policy::Open {
            let first = access::first(&ring, &broker, &readiness);
            let _stopped = stop.run_until_cancelled(first).await;
        }
        let followed = {
            let (broker, readiness, stop) = (broker.clone(), readiness.clone(), stop.clone());
            async move {
                if policy != Policy::Open {
                    access::follow(ring, broker, readiness, stop).await;
                }
            }
        };
        let (operating, comes) = Operating::of(self.operator, stop.clone());
        let live = Live::new(
            &self.config,
            broker.clone(),
            access.clone(),
            metrics.clone(),
            stop.clone(),
        );
        let told = live::follow(live.clone());
        let (known, ended) = know(self.config.index, &broker, &stop)?;
        let watched = watch(ended, &asked, &stop);
        let swept = sweep::keep(self.config.expiry(), broker.clone(), &metrics, &stop);
        let (audit, kept) = audit::keep(self.config.audit, &broker, &metrics, &stop);
        let noticed = challenge::keep(&known, &broker, &metrics, &stop);
        let router = router(
            &self.config,
            broker,
            metrics,
            readiness.clone(),
            access,
            Beside {
                operating,
                live,
                known,
                audit,
                stop: stop.clone(),
            },
        );
        readiness.met(CONDITION);
        let stopping = || readiness.unmet(CONDITION, "stopping");
        let (most, standstill) = (self.config.max_connections, self.config.standstill());
        let ended = accept(self.listener, most, standstill, router, &stop, stopping);
        let (ended, watched, (), (), (), (), (), ()) =
            tokio::join!(ended, watched, followed, comes, told, swept, noticed, kept);
        presence.end().await;
        watched.and(ended)
    }
}

/// Follows the devices, if that is wanted.
fn know(
    is_wanted: bool,
    broker: &Broker,
    stop: &CancellationToken,
) -> Result<(Known, Option<Ended>), RunError> {
    if !is_wanted {
        return Ok((Known::new(None), None));
    }
    // Conditions of its own: whoever registers a device does not wait for it.
    let apart = Readiness::new();
    let started = Followed::start(broker.clone(), apart, stop.clone());
    let (followed, ended) = started.map_err(RunError::Index)?;
    Ok((Known::new(Some(followed)), Some(ended)))
}

/// Ends the role when the thread that follows the devices ends by itself.
async fn watch(
    ended: Option<Ended>,
    stop: &CancellationToken,
    halt: &CancellationToken,
) -> Result<(), RunError> {
    let Some(ended) = ended else {
        return Ok(());
    };
    // Its sender is dropped with the thread; it never says anything.
    let _dropped = ended.await;
    if stop.is_cancelled() {
        return Ok(());
    }
    halt.cancel();
    Err(RunError::IndexEnded)
}

/// The role as operators find it.
fn service(metrics: Metrics) -> Service {
    Service {
        role: ROLE,
        description: "takes registrations and events over HTTP",
        metadata: BTreeMap::new(),
        figures: Arc::new(move || metrics.figures()),
    }
}

/// The role: binds, says where, and serves until `stop`. With an `operator` it can pause and replay.
///
/// Dropping the future cuts every connection off; what was acknowledged is stored.
///
/// # Errors
/// [`RunError`].
pub async fn run(
    config: Config,
    broker: Broker,
    operator: Option<Operator>,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), RunError> {
    readiness.unmet(CONDITION, "not listening yet");
    let server = Server::bind(config).await?.operating(operator);
    let address = server.address();
    tracing::info!(%address, "the API listens");
    match server.config.policy() {
        Policy::Required => {}
        Policy::UntilFirst => tracing::info!(
            %address,
            "without a key in the bucket the API asks for none: whoever reaches it may do everything"
        ),
        Policy::Open => {
            tracing::warn!(%address, "the API asks for no keys: whoever reaches it may do everything");
        }
    }
    server.serve(broker, metrics, readiness, stop).await
}

/// Accepts until `stop`, then drains.
pub(crate) async fn accept(
    listener: TcpListener,
    max_connections: usize,
    standstill: Duration,
    router: Router,
    stop: &CancellationToken,
    on_stop: impl FnOnce(),
) -> Result<(), RunError> {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        // The semaphore is never closed; were it, the loop would end like a stop.
        let Some(Ok(place)) = stop
            .run_until_cancelled(places.clone().acquire_owned())
            .await
        else {
            break;
        };
        let (stream, peer) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection ended before it began");
        }
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            let stream = Patient::new(stream, standstill);
            converse(stream, Peer(peer), router, stop).await;
            drop(place);
        });
    }
    on_stop();
    drop(listener);
    let drained = timeout(DRAIN, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_ok() {
        return Ok(());
    }
    let n_connections = connections.len();
    connections.shutdown().await;
    Err(RunError::CutOff { n_connections })
}

/// One connection, until its client is done or the request in flight at the stop is answered.
async fn converse(stream: Patient<TcpStream>, peer: Peer, router: Router, stop: CancellationToken) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
