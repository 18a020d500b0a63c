//! A source that is posted to, over real HTTP and with a real broker.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "support code of tests"
)]

mod support;

use std::net::{SocketAddr, TcpListener};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use fanfare_fetcher::metric::EventResult;
use fanfare_nats::Level;
use fanfare_nats::event::{ScreenId, SourceName};
use fanfare_nats::testing::TestServer;
use jiff::Timestamp;
use reqwest::{Client, Response};
use ring::hmac;
use serde_json::{Value, json};
use support::fetcher::{Fetcher, eventually, freeze};

const SECRET: &str = "c2VjcmV0IG9mIHR3ZW50eS1mb3VyIGJ5dGVz";

/// An address that was free a moment ago.
fn address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn config(address: SocketAddr) -> String {
    format!(
        r#"
        [[source]]
        name = "shop"
        id = "{{{{ item.id }}}}"
        title = "Order {{{{ item.id }}}}"
        topics = ["orders.{{{{ item.kind }}}}"]

        [[source.input]]
        webhook = "{address}"
        items = "$.orders[*]"
        secret = "whsec_{SECRET}"
        max_bytes = 4096
        "#
    )
}

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a sender has a clock of its own")]
    Timestamp::now().as_second()
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Posts a body as a sender that knows a secret.
async fn post(address: SocketAddr, secret: &str, body: &[u8]) -> Response {
    post_by(&client(), address, secret, body).await
}

async fn post_by(client: &Client, address: SocketAddr, secret: &str, body: &[u8]) -> Response {
    let (id, at) = ("msg_1", now());
    let key = hmac::Key::new(hmac::HMAC_SHA256, &BASE64.decode(secret).unwrap());
    let signed = [format!("{id}.{at}.").as_bytes(), body].concat();
    let signature = BASE64.encode(hmac::sign(&key, &signed));
    client
        .post(format!("http://{address}/v1/sources/shop/items"))
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", format!("v1,{signature}"))
        .body(body.to_vec())
        .send()
        .await
        .unwrap()
}

async fn opened(address: SocketAddr) {
    eventually(async || {
        let stream = tokio::net::TcpStream::connect(address).await;
        stream.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

fn orders(ids: &[&str]) -> Vec<u8> {
    let orders: Vec<Value> = ids
        .iter()
        .map(|it| json!({"id": it, "kind": "new"}))
        .collect();
    serde_json::to_vec(&json!({ "orders": orders })).unwrap()
}

#[tokio::test]
async fn what_is_posted_is_stored_once_whoever_of_two_fetchers_is_posted_to() {
    let server = TestServer::start().await;
    let broker = server.broker("asker").await;
    let (one, two) = (address(), address());
    let first = Fetcher::start(&server, "f1", &config(one)).await;
    let second = Fetcher::start(&server, "f2", &config(two)).await;
    opened(one).await;
    opened(two).await;
    let source = SourceName::parse("shop").unwrap();
    for (to, ids) in [(one, ["a", "b"]), (two, ["b", "c"]), (one, ["a", "b"])] {
        assert_eq!(post(to, SECRET, &orders(&ids)).await.status(), 202);
        // Answered means stored.
        for id in ids {
            let levels = broker
                .stored_levels(&source, &ScreenId::new(&source, id))
                .await;
            assert_eq!(levels.unwrap(), [Level::First], "{id}");
        }
    }
    assert_eq!(first.n_stored("shop") + second.n_stored("shop"), 3);
    assert_eq!(second.of("shop").n_events(EventResult::Already), 1);
    first.stop().await;
    let refused = client().get(format!("http://{one}/")).send().await;
    assert!(refused.unwrap_err().is_connect());
    second.stop().await;
}

#[tokio::test]
async fn what_is_not_proven_or_not_readable_is_refused_and_nothing_of_it_stored() {
    let server = TestServer::start().await;
    let at = address();
    let fetcher = Fetcher::start(&server, "f1", &config(at)).await;
    opened(at).await;
    let other = BASE64.encode([7; 24]);
    assert_eq!(post(at, &other, &orders(&["a"])).await.status(), 401);
    assert_eq!(post(at, SECRET, b"{").await.status(), 422);
    assert_eq!(post(at, SECRET, b"{\"news\": []}").await.status(), 422);
    assert_eq!(post(at, SECRET, &[b' '; 4097]).await.status(), 413);
    let client = client();
    let path = |path: &str| format!("http://{at}{path}");
    let bare = client
        .post(path("/v1/sources/shop/items"))
        .body(orders(&["a"]));
    assert_eq!(bare.send().await.unwrap().status(), 401);
    let elsewhere = client.post(path("/v1/sources/other/items"));
    assert_eq!(elsewhere.send().await.unwrap().status(), 404);
    let asked = client
        .get(path("/v1/sources/shop/items"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (asked.status().as_u16(), &asked.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    assert_eq!(fetcher.n_stored("shop"), 0);
    // And it goes on after all that.
    assert_eq!(post(at, SECRET, &orders(&["a"])).await.status(), 202);
    assert_eq!(fetcher.n_stored("shop"), 1);
    fetcher.stop().await;
}

#[tokio::test]
async fn nobody_is_told_that_a_document_is_stored_while_the_broker_is_away() {
    let mut server = TestServer::start().await;
    let at = address();
    let fetcher = Fetcher::start(&server, "f1", &config(at)).await;
    opened(at).await;
    assert_eq!(post(at, SECRET, &orders(&["a"])).await.status(), 202);
    let asker = server.broker("asker").await;
    freeze(&mut server, &asker).await;
    let body = orders(&["b"]);
    let waiting = post(at, SECRET, &body);
    let answered = tokio::time::timeout(std::time::Duration::from_secs(3), waiting).await;
    assert!(answered.is_err(), "{answered:?}");
    // So many wait; the others are told at once to come again, and nobody that it is stored.
    let ids: Vec<String> = (0..70).map(|n| format!("c{n}")).collect();
    let bodies: Vec<_> = ids.iter().map(|it| orders(&[it])).collect();
    // One client: to make so many takes seconds.
    let client = client();
    let posts = bodies.iter().map(async |body| {
        let waiting = post_by(&client, at, SECRET, body);
        let answered = tokio::time::timeout(std::time::Duration::from_secs(6), waiting);
        let answer = answered.await.ok()?;
        let again = answer.headers().get("retry-after").cloned();
        Some((answer.status().as_u16(), again))
    });
    let answers = futures::future::join_all(posts).await;
    let told: Vec<_> = answers.into_iter().flatten().collect();
    assert!((1..=6).contains(&told.len()), "{told:?}");
    let again = (503, Some("5".parse().unwrap()));
    assert!(told.iter().all(|it| *it == again), "{told:?}");
    server.server().thaw().unwrap();
    // The sender tries again; the first try may be stored by now, and it is one event.
    eventually(async || {
        let status = post(at, SECRET, &body).await.status();
        if status == 202 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    })
    .await;
    let source = SourceName::parse("shop").unwrap();
    for id in ["a", "b"] {
        let levels = asker
            .stored_levels(&source, &ScreenId::new(&source, id))
            .await;
        assert_eq!(levels.unwrap(), [Level::First], "{id}");
    }
    fetcher.stop().await;
}
