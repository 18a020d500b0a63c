//! One connection, from name to HTTP/2 handshake.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Proxy, Way};

/// What a stream may have unread. Answers are small; this only keeps many of them from waiting for
/// one another.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Answers' headers are read up to here.
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// A proxy's answer to CONNECT is read up to here.
const MAX_PROXY_ANSWER: usize = 8 * 1024;

/// Why no connection came about. No address of a person and no secret is in it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("name not resolved")]
    Name(#[source] io::Error),
    #[error("connection refused or unreachable")]
    Tcp(#[source] io::Error),
    #[error("proxy failed")]
    Proxy(#[source] io::Error),
    #[error("proxy answered {0}")]
    ProxyAnswer(String),
    #[error("TLS failed: {0}")]
    Tls(#[source] io::Error),
    #[error("endpoint does not speak HTTP/2")]
    NoHttp2,
    #[error("HTTP/2 handshake failed")]
    Handshake(#[source] h2::Error),
}

impl ConnectError {
    /// The reason an outcome carries.
    pub(super) fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Name(_) => Cow::Borrowed("name not resolved"),
            Self::Tcp(_) => Cow::Borrowed("connection refused or unreachable"),
            Self::Proxy(_) | Self::ProxyAnswer(_) => Cow::Borrowed("proxy failed"),
            Self::Tls(_) => Cow::Borrowed("TLS failed"),
            Self::NoHttp2 => Cow::Borrowed("endpoint does not speak HTTP/2"),
            Self::Handshake(_) => Cow::Borrowed("HTTP/2 handshake failed"),
        }
    }
}

/// Connects once: name, TCP with `TCP_NODELAY`, proxy, TLS, HTTP/2. Whoever calls sets the limit
/// in time. Dropping this future closes the socket.
///
/// Names are resolved anew for every connection, as Apple asks; `slot` makes the connections of a
/// pool start at different addresses.
pub(super) async fn connect(
    way: &Way,
    slot: usize,
) -> Result<(SendRequest<Bytes>, Connection<Wire, Bytes>), ConnectError> {
    let wire = wire(way, slot).await?;
    if matches!(wire, Wire::Tls(_)) && !wire.is_http2() {
        return Err(ConnectError::NoHttp2);
    }
    handshake(wire).await
}

/// The part below HTTP.
pub(super) async fn wire(way: &Way, slot: usize) -> Result<Wire, ConnectError> {
    let socket = match &way.proxy {
        None => tcp(way.endpoint.host(), way.endpoint.port(), slot).await?,
        Some(proxy) => through(proxy, way.endpoint.host(), way.endpoint.port()).await?,
    };
    let Some(config) = &way.tls else {
        return Ok(Wire::Clear(socket));
    };
    let name = ServerName::try_from(way.endpoint.host().to_owned())
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let connector = TlsConnector::from(config.clone());
    let stream = connector
        .connect(name, socket)
        .await
        .map_err(ConnectError::Tls)?;
    Ok(Wire::Tls(Box::new(stream)))
}

/// The HTTP/2 part; the peer's SETTINGS are not waited for.
pub(super) async fn handshake(
    wire: Wire,
) -> Result<(SendRequest<Bytes>, Connection<Wire, Bytes>), ConnectError> {
    Builder::new()
        // Raw h2 assumes no limit before the peer's SETTINGS; APNs allows one stream until it has
        // seen a valid token. So one push goes alone, and the limit follows the peer from there.
        .initial_max_send_streams(1)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .enable_push(false)
        .handshake(wire)
        .await
        .map_err(ConnectError::Handshake)
}

async fn tcp(host: &str, port: u16, slot: usize) -> Result<TcpStream, ConnectError> {
    let found = tokio::net::lookup_host((host, port))
        .await
        .map_err(ConnectError::Name)?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    let n_first = slot.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(n_first);
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Nagle's algorithm costs a factor of up to 100 with small frames.
                socket.set_nodelay(true).map_err(ConnectError::Tcp)?;
                return Ok(socket);
            }
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Tcp(last))
}

/// Asks a proxy for a tunnel; the proxy resolves the name.
async fn through(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let mut socket = tcp(&proxy.host, proxy.port, 0).await?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
    if let Some(value) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(value);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    socket
        .write_all(request.as_bytes())
        .await
        .map_err(ConnectError::Proxy)?;
    let head = read_head(&mut socket).await.map_err(ConnectError::Proxy)?;
    let status = head.split(|it| *it == b' ').nth(1).unwrap_or_default();
    if status == b"200" {
        return Ok(socket);
    }
    let status = String::from_utf8_lossy(status).chars().take(3).collect();
    Err(ConnectError::ProxyAnswer(status))
}

/// Reads up to the empty line, byte by byte: what follows belongs to the tunnel.
async fn read_head(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_PROXY_ANSWER {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        head.push(socket.read_u8().await?);
    }
    Ok(head)
}

/// A socket, with TLS or without.
pub(super) enum Wire {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// True when TLS agreed on HTTP/2; clear text agrees on nothing.
    pub(super) fn is_http2(&self) -> bool {
        match self {
            Self::Clear(_) => false,
            Self::Tls(it) => it.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(it) => Pin::new(it).poll_read(cx, buffer),
            Self::Tls(it) => Pin::new(it).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(it) => Pin::new(it).poll_write(cx, bytes),
            Self::Tls(it) => Pin::new(it).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(it) => Pin::new(it).poll_write_vectored(cx, bytes),
            Self::Tls(it) => Pin::new(it).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(it) => it.is_write_vectored(),
            Self::Tls(it) => it.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(it) => Pin::new(it).poll_flush(cx),
            Self::Tls(it) => Pin::new(it).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(it) => Pin::new(it).poll_shutdown(cx),
            Self::Tls(it) => Pin::new(it).poll_shutdown(cx),
        }
    }
}
