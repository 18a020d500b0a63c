//! A bare HTTP/1.1 client on a socket.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::SocketAddr;

use fanfare_sim::Sim;
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A whole answer. The body is shorter than announced if the connection broke.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    pub is_whole: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn unpacked(&self) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(self.body.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

pub async fn get(sim: &Sim, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
    ask(sim.whereabouts().http, "GET", path, headers, "").await
}

pub async fn post(sim: &Sim, path: &str, body: &str) -> Answer {
    ask(sim.whereabouts().http, "POST", path, &[], body)
        .await
        .unwrap()
}

pub async fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(to).await?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\n");
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    let length = body.len().to_string();
    request.extend([
        "connection: close\r\ncontent-length: ",
        &length,
        "\r\n\r\n",
        body,
    ]);
    socket.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await?;
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: HashMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let raw = &bytes[end + 4..];
    let (body, is_whole) = match headers.get("content-length") {
        Some(length) => (raw.to_vec(), raw.len() == length.parse::<usize>().unwrap()),
        None if headers.contains_key("transfer-encoding") => unchunked(raw),
        None => (raw.to_vec(), true),
    };
    Ok(Answer {
        status,
        headers,
        body,
        is_whole,
    })
}

fn unchunked(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(at) = raw.windows(2).position(|it| it == b"\r\n") else {
            return (body, false);
        };
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let Some(chunk) = raw.get(at + 2..at + 2 + size) else {
            return (body, false);
        };
        body.extend_from_slice(chunk);
        raw = &raw[at + 2 + size + 2..];
    }
}

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub async fn socket(sim: &Sim, path: &str) -> Socket {
    let address = format!("ws://{}{path}", sim.whereabouts().http);
    tokio_tungstenite::connect_async(address).await.unwrap().0
}

/// The next message; `None` at the end.
pub async fn next(socket: &mut Socket) -> Option<Message> {
    socket.next().await.map(Result::unwrap)
}
