//! A listened-to input, against a small server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests"
)]

mod support;

use std::time::Duration;

use bytes::Bytes;
use fanfare_fetcher::SourceConfig;
use fanfare_fetcher::config::InputConfig;
use fanfare_fetcher::source::{Payload, Settled, Source, SourceError, WebSocket};
use support::fetcher::{equal, eventually};
use support::socket::Socket;
use support::{install_tls, source};
use tokio_tungstenite::tungstenite::Message;

fn config(url: &str, more: &str) -> SourceConfig {
    source(&format!(
        "[[source]]\nname = \"s\"\nid = \"x\"\ntopics = [\"t\"]\ntitle = \"t\"\n[[source.input]]\nwebsocket = \"{url}\"\nallow_private = true\n{more}"
    ))
}

fn socket(url: &str, more: &str) -> WebSocket {
    install_tls();
    let config = config(url, more);
    let InputConfig::WebSocket(input) = &config.input[0] else {
        panic!("not a socket")
    };
    WebSocket::new(input, "fanfare/0").unwrap()
}

/// The next `n` frames, settled as they come.
async fn frames(socket: &mut WebSocket, n: usize) -> Vec<Bytes> {
    let mut all = Vec::new();
    while all.len() < n {
        if let Payload::Frames(more) = socket.next().await.unwrap().payload {
            all.extend(more);
        }
        socket.settle(Settled::Stored {
            ttl: None,
            is_lasting: true,
        });
    }
    all
}

#[tokio::test]
async fn it_subscribes_after_every_opening_and_says_when_it_was_reopened() {
    let server = Socket::start().await;
    let mut socket = socket(&server.url, "subscribe = ['{\"a\":1}', '{\"b\":2}']");
    assert!(!socket.next().await.unwrap().is_reopened);
    let subscribed = [Message::text("{\"a\":1}"), Message::text("{\"b\":2}")];
    eventually(async || equal("heard", server.heard(), subscribed.to_vec())).await;
    server.cut();
    assert!(socket.next().await.is_err());
    assert!(socket.next().await.unwrap().is_reopened);
    eventually(async || equal("heard", server.heard().len(), 4)).await;
}

#[tokio::test]
async fn text_and_binary_frames_arrive_in_order() {
    let server = Socket::start().await;
    let mut socket = socket(&server.url, "");
    socket.next().await.unwrap();
    eventually(async || equal("open", server.n_open(), 1)).await;
    let big = "x".repeat(700_000);
    server.send(Message::text("one"));
    server.send(Message::binary(b"\x00two".as_slice()));
    server.send(Message::text(big.clone()));
    for n in 0..650 {
        server.send(Message::text(n.to_string()));
    }
    let all = frames(&mut socket, 653).await;
    assert_eq!(all[0], "one");
    assert_eq!(all[1], b"\x00two".as_slice());
    assert_eq!(all[2].len(), big.len());
    let numbers: Vec<String> = (0..650).map(|n| n.to_string()).collect();
    assert!(
        all[3..]
            .iter()
            .zip(&numbers)
            .all(|(frame, n)| frame == n.as_bytes())
    );
}

#[tokio::test]
async fn a_frame_beyond_the_limit_breaks_the_socket() {
    let server = Socket::start().await;
    let mut socket = socket(&server.url, "max_bytes = 1000");
    socket.next().await.unwrap();
    eventually(async || equal("open", server.n_open(), 1)).await;
    server.send(Message::text("x".repeat(1001)));
    assert!(matches!(socket.next().await, Err(SourceError::Socket(_))));
}

#[tokio::test]
async fn a_feed_that_goes_stale_is_given_up_although_the_server_answers_pings() {
    let server = Socket::start().await;
    // Longer than the 5 s after which a held-up socket counts as heard.
    let mut socket = socket(
        &server.url,
        "stale_after = \"5500ms\"\nping_every = \"200ms\"\nping = \"hello\"",
    );
    socket.next().await.unwrap();
    let began_at = tokio::time::Instant::now();
    assert!(matches!(socket.next().await, Err(SourceError::Silent(_))));
    assert!(began_at.elapsed() >= Duration::from_secs(5));
    let pings = server.heard();
    assert!(pings.contains(&Message::text("hello")));
    assert!(pings.iter().filter(|it| it.is_ping()).count() > 10);
}

#[tokio::test]
async fn openings_that_fail_pause_longer_and_longer() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let mut socket = socket(&url, "");
    let began_at = tokio::time::Instant::now();
    for _ in 0..3 {
        assert!(matches!(
            socket.next().await,
            Err(SourceError::Connect { .. })
        ));
    }
    // Two pauses lie between: at least a quarter and a half of a second.
    assert!(
        began_at.elapsed() >= Duration::from_millis(700),
        "{:?}",
        began_at.elapsed()
    );
}

#[tokio::test]
async fn an_address_of_this_machine_is_refused_unless_it_is_meant() {
    let server = Socket::start().await;
    let InputConfig::WebSocket(mut input) = config(&server.url, "").input.remove(0) else {
        panic!("not a socket")
    };
    input.allow_private = false;
    let mut socket = WebSocket::new(&input, "fanfare/0").unwrap();
    assert!(matches!(
        socket.next().await,
        Err(SourceError::Private { .. })
    ));
}
