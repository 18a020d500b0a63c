//! The client of NATS: how it connects, and what it tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client;
use rand::Rng;
use tokio::sync::watch;

use crate::connect::{ConnectError, ConnectOptions};
use crate::metric::Metrics;
use crate::readiness::Readiness;
use crate::request;

/// How long a permissions violation keeps the process from being ready.
const VIOLATION_SHADOW: Duration = Duration::from_mins(1);

pub(crate) async fn connect_client(
    options: &ConnectOptions,
    listener: impl Fn(async_nats::Event) -> std::future::Ready<()> + Send + Sync + 'static,
) -> Result<Client, ConnectError> {
    let mut nats = async_nats::ConnectOptions::new()
        .name(&options.name)
        .max_reconnects(None)
        .connection_timeout(Duration::from_secs(2))
        // A frozen server is noticed after three missed pings (measured): 9 s.
        .ping_interval(Duration::from_secs(3))
        .request_timeout(Some(request::ANSWER_TIMEOUT))
        .subscription_capacity(262_144)
        .reconnect_delay_callback(|attempt| {
            let longest = if attempt < 2 { 50 } else { 1000 };
            Duration::from_millis(rand::rng().random_range(10..=longest))
        })
        .event_callback(listener);
    if !options.inbox_prefix.is_empty() {
        nats = nats.custom_inbox_prefix(&options.inbox_prefix);
    }
    if options.pinned {
        nats = nats.ignore_discovered_servers().retain_servers_order();
    }
    if let Some((user, password)) = &options.user {
        nats = nats.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &options.token {
        nats = nats.token(token.clone());
    }
    if let Some(seed) = &options.nkey {
        nats = nats.nkey(seed.trim().to_owned());
    }
    if let Some(creds) = &options.creds {
        nats = nats.credentials(creds).map_err(ConnectError::Credentials)?;
    }
    if let Some((cert, key)) = &options.tls_cert {
        nats = nats.add_client_certificate(cert.clone(), key.clone());
    }
    if let Some(ca) = &options.tls_ca {
        nats = nats.add_root_certificates(ca.clone());
    }
    if options.tls_first {
        nats = nats.tls_first();
    }
    nats.connect(options.servers.as_slice())
        .await
        .map_err(ConnectError::Connect)
}

/// What the client tells: logged, counted, and part of readiness.
pub(super) fn listener(
    metrics: Metrics,
    readiness: Readiness,
    connected_again: watch::Sender<u64>,
) -> impl Fn(async_nats::Event) -> std::future::Ready<()> + Send + Sync + 'static {
    let was_connected = AtomicBool::new(false);
    move |event| {
        let is_again = was_connected.load(Ordering::Relaxed);
        hear(&event, &metrics, &readiness, &was_connected);
        if is_again && matches!(event, async_nats::Event::Connected) {
            connected_again.send_modify(|it| *it += 1);
        }
        std::future::ready(())
    }
}

fn hear(
    event: &async_nats::Event,
    metrics: &Metrics,
    readiness: &Readiness,
    was_connected: &AtomicBool,
) {
    match event {
        async_nats::Event::Connected => {
            if was_connected.swap(true, Ordering::Relaxed) {
                metrics.reconnects.inc();
                tracing::info!("connected to NATS again");
            }
            metrics.connected.set(1);
            readiness.met("nats");
        }
        async_nats::Event::Disconnected => {
            metrics.connected.set(0);
            readiness.unmet("nats", "connection lost, connecting again");
            tracing::warn!("connection to NATS lost, connecting again");
        }
        async_nats::Event::ServerError(error) if is_violation(&error.to_string()) => {
            metrics.violations.inc();
            readiness.unmet_for("permissions", VIOLATION_SHADOW, error.to_string());
            tracing::error!(%error, "NATS denied a permission: compare this user's list");
        }
        async_nats::Event::Draining | async_nats::Event::Closed => {
            tracing::debug!(%event, "NATS connection");
        }
        async_nats::Event::LameDuckMode
        | async_nats::Event::SlowConsumer(_)
        | async_nats::Event::ServerError(_)
        | async_nats::Event::ClientError(_) => {
            tracing::warn!(%event, "NATS connection");
        }
    }
}

fn is_violation(text: &str) -> bool {
    text.to_lowercase().contains("permissions violation")
}
