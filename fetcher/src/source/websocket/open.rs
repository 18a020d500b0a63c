//! Opening a socket: address admitted, handshake, subscriptions.

use std::time::Duration;

use futures::SinkExt;
use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, Request};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::Url;

use super::super::SourceError;
use super::super::address::Guard;
use super::failure_of;
use crate::config::SocketConfig;

/// The connection, plain or encrypted.
pub(super) type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long resolving, connecting and the handshake may take together.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// Everything an opening needs, checked once. It has no `Debug` of the request: its headers may
/// hold a token.
pub(super) struct Opener {
    url: Url,
    request: Request<()>,
    subscribe: Vec<String>,
    guard: Guard,
    limits: WebSocketConfig,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener")
            .field("host", &self.url.host())
            .finish_non_exhaustive()
    }
}

impl Opener {
    pub(super) fn new(input: &SocketConfig, agent: &str) -> Result<Self, SourceError> {
        let url = Url::parse(&input.websocket).map_err(|_| SourceError::Address)?;
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|_| SourceError::Address)?;
        let agent = HeaderValue::from_str(agent).map_err(|_| SourceError::Address)?;
        request.headers_mut().insert(USER_AGENT, agent);
        for (name, value) in &input.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| SourceError::Address)?;
            let value = value.text().ok_or(SourceError::Address)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| SourceError::Address)?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        let subscribe = input.subscribe.iter();
        let subscribe = subscribe.map(|it| it.text().map(str::to_owned));
        Ok(Self {
            url,
            request,
            subscribe: subscribe
                .collect::<Option<_>>()
                .ok_or(SourceError::Address)?,
            guard: Guard::new(input.allow_private),
            limits: WebSocketConfig::default()
                .max_message_size(Some(input.max_bytes))
                .max_frame_size(Some(input.max_bytes)),
        })
    }

    /// Connects, shakes hands and subscribes. Dropping the future closes what was opened.
    pub(super) async fn open(&self) -> Result<Stream, SourceError> {
        tokio::time::timeout(OPEN_TIMEOUT, self.open_unbounded())
            .await
            .map_err(|_| SourceError::TimedOut(OPEN_TIMEOUT))?
    }

    async fn open_unbounded(&self) -> Result<Stream, SourceError> {
        self.guard.admit(&self.url)?;
        let host = self.url.host_str().ok_or(SourceError::Address)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = self
            .url
            .port_or_known_default()
            .ok_or(SourceError::Address)?;
        let addresses = self.guard.resolve_name(bare, port).await?;
        let connect = |cause| SourceError::Connect {
            host: host.to_owned(),
            cause,
        };
        let socket = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(connect)?;
        socket.set_nodelay(true).map_err(connect)?;
        let request = self.request.clone();
        let (mut stream, _) =
            client_async_tls_with_config(request, socket, Some(self.limits), None)
                .await
                .map_err(failure_of)?;
        for frame in &self.subscribe {
            stream
                .feed(Message::text(frame.clone()))
                .await
                .map_err(failure_of)?;
        }
        stream.flush().await.map_err(failure_of)?;
        Ok(stream)
    }
}
