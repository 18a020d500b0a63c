//! When a server is ready: its ports file, then its own word on its monitoring port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::options::Options;
use super::{StartError, store};
use crate::process::Child;

/// How often a server that starts is looked at (the ports file comes after some 20 ms).
const PAUSE: Duration = Duration::from_millis(10);

/// Longest wait for one answer of the monitoring port.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// More than any health answer.
const ANSWER_BYTES: u64 = 64 << 10;

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) monitoring: SocketAddr,
}

/// What is asked of `/healthz`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    /// Is JetStream of this server running and caught up?
    JetStream,
    /// Is JetStream of this server enabled? Does not wait for other servers.
    Server,
    /// Is JetStream running, caught up, and in touch with the cluster's leader?
    Everything,
}

/// Waits for the ports file.
pub(super) async fn listening(
    child: &Child,
    store: &store::Folder,
    options: &Options,
) -> Result<Addresses, StartError> {
    let look = async || {
        let file = store
            .ports_file(child.pid())
            .ok_or("there is no ports file")?;
        let text = std::fs::read(&file).map_err(|error| format!("its ports file: {error}"))?;
        parse(&text).ok_or_else(|| "its ports file is not complete".to_owned())
    };
    until(child, store, options, look).await
}

/// Waits until `/healthz` says yes to the question.
pub(super) async fn healthy(
    child: &Child,
    store: &store::Folder,
    options: &Options,
    addresses: Addresses,
    question: Question,
) -> Result<(), StartError> {
    let path = match question {
        Question::JetStream => "/healthz?js-server-only=true",
        Question::Server => "/healthz?js-enabled-only=true",
        Question::Everything => "/healthz",
    };
    until(child, store, options, async || {
        ask(addresses.monitoring, path).await
    })
    .await
}

/// Repeats `look` until it succeeds, the child ends, or time is up.
async fn until<T>(
    child: &Child,
    store: &store::Folder,
    options: &Options,
    look: impl AsyncFn() -> Result<T, String>,
) -> Result<T, StartError> {
    let limit = options.ready_within;
    let deadline = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(found) => return Ok(found),
            Err(seen) => seen,
        };
        if let Some(status) = child.status() {
            return Err(StartError::Ended {
                status,
                said: store.last_lines(child),
            });
        }
        if Instant::now() >= deadline {
            return Err(StartError::NotReady {
                limit,
                seen,
                said: store.last_lines(child),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks the monitoring port for `path`; anything but 200 is an error with the answer's text.
pub(super) async fn ask(monitoring: SocketAddr, path: &str) -> Result<(), String> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, get(monitoring, path)).await;
    let answer = answer.map_err(|_| format!("no answer from {path}"))?;
    let answer = answer.map_err(|error| format!("{path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split_whitespace().nth(1) == Some("200") {
        return Ok(());
    }
    Err(format!(
        "{path}: {} {body}",
        head.lines().next().unwrap_or_default()
    ))
}

/// The smallest HTTP request there is: the server closes the connection after its answer.
async fn get(monitoring: SocketAddr, path: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(monitoring).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {monitoring}\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// `{"nats":["nats://127.0.0.1:4222"],"monitoring":["http://127.0.0.1:8222"]}`, perhaps half
/// written.
fn parse(text: &[u8]) -> Option<Addresses> {
    #[derive(serde::Deserialize)]
    struct Ports {
        nats: Vec<String>,
        monitoring: Vec<String>,
    }
    let ports: Ports = serde_json::from_slice(text).ok()?;
    let address = |urls: Vec<String>| {
        let (_scheme, address) = urls.first()?.split_once("://")?;
        address.parse().ok()
    };
    Some(Addresses {
        client: address(ports.nats)?,
        monitoring: address(ports.monitoring)?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_half_written_ports_file_is_not_believed() {
        let whole = br#"{"nats":["nats://127.0.0.1:4222"],"monitoring":["http://127.0.0.1:8222"]}"#;
        let addresses = parse(whole).unwrap();
        assert_eq!(
            (addresses.client.port(), addresses.monitoring.port()),
            (4222, 8222)
        );
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none());
        }
        assert!(parse(br#"{"nats":[],"monitoring":[]}"#).is_none());
    }
}
