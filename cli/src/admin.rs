//! The admin port: probes and metrics, on loopback unless configured otherwise.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use fanfare_nats::Readiness;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::AdminConfig;

/// The port without configuration; a second process on this machine takes any other.
const USUAL_PORT: u16 = 9464;

/// What the admin port tells about.
pub(crate) struct Told {
    registry: Registry,
    readiness: Readiness,
    has_been_ready: AtomicBool,
}

/// The admin port, listening.
pub(crate) struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Takes the port.
    ///
    /// # Errors
    /// If the configured address cannot be listened on.
    pub(crate) async fn bind(config: &AdminConfig) -> std::io::Result<Self> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = match config.listen {
            Some(address) => TcpListener::bind(address).await?,
            None => match TcpListener::bind(loopback(USUAL_PORT)).await {
                Ok(listener) => listener,
                Err(_) => TcpListener::bind(loopback(0)).await?,
            },
        };
        Ok(Self { listener })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`. It stops last, so that probes see the drain.
    pub(crate) async fn serve(
        self,
        registry: Registry,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let told = Told {
            registry,
            readiness,
            has_been_ready: AtomicBool::new(false),
        };
        let router = router(Arc::new(told));
        axum::serve(self.listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
    }
}

fn router(told: Arc<Told>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .with_state(told)
}

/// Alive is who answers. Never NATS: a broker that is away would have everyone restarted.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let mut text = String::new();
    for (name, state) in told.readiness.conditions() {
        // Writing to a String cannot fail.
        let _ok = match state {
            Ok(()) => writeln!(text, "[+] {name} ok"),
            Err(why) => writeln!(text, "[-] {name}: {why}"),
        };
    }
    (status(is_ready(&told)), text)
}

async fn startupz(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let is_started = is_ready(&told) || told.has_been_ready.load(Ordering::Relaxed);
    (
        status(is_started),
        if is_started {
            "started\n"
        } else {
            "starting\n"
        },
    )
}

async fn metrics(State(told): State<Arc<Told>>) -> impl IntoResponse {
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &told.registry);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let status = if encoded.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    (status, [(header::CONTENT_TYPE, kind)], text)
}

fn is_ready(told: &Told) -> bool {
    let is_ready = told.readiness.is_ready();
    if is_ready {
        told.has_been_ready.store(true, Ordering::Relaxed);
    }
    is_ready
}

fn status(is_good: bool) -> StatusCode {
    if is_good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

#[cfg(test)]
mod tests;
