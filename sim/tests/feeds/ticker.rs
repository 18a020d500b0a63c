//! A feed that counts, and the record of who was connected to it.

use fanfare_sim::{TickerConfig, UpstreamConfig};
use futures::StreamExt as _;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{get, socket};
use crate::started;

#[tokio::test]
async fn ticks_are_the_same_as_frames_and_in_the_document_and_connections_are_recorded() {
    let ticker = TickerConfig {
        path: "/t".to_owned(),
        every_ms: 20,
        ping_ms: 10,
    };
    let (sim, _folder) = started(UpstreamConfig {
        tickers: vec![ticker],
        ..UpstreamConfig::default()
    })
    .await;
    let mut first = socket(&sim, "/t/ws").await;
    let mut ticks = Vec::new();
    let mut n_pings = 0;
    while ticks.len() < 3 {
        match first.next().await.unwrap().unwrap() {
            Message::Text(text) => {
                let frame: Value = serde_json::from_str(&text).unwrap();
                ticks.push(frame["ticks"][0].clone());
            }
            Message::Ping(_) => n_pings += 1,
            Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                panic!("a ticker sends texts and pings")
            }
        }
    }
    assert!(n_pings > 0);
    let numbers: Vec<_> = ticks.iter().map(|it| it["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [numbers[0], numbers[0] + 1, numbers[0] + 2]);
    let document = get(&sim, "/t", &[]).await.unwrap().json();
    let shown = document["ticks"].as_array().unwrap();
    assert!(ticks.iter().all(|it| shown.contains(it)));
    assert!(sim.n_ticks("/t").unwrap() >= shown.len());

    let second = socket(&sim, "/t/ws").await;
    drop(first);
    while sim
        .visits()
        .iter()
        .filter(|it| it.closed_us.is_some())
        .count()
        < 1
    {
        tokio::task::yield_now().await;
    }
    let visits = sim.visits();
    assert_eq!((visits.len(), visits[1].closed_us), (2, None));
    let closed = visits[0].closed_us.unwrap();
    assert!(visits[0].opened_us <= visits[0].heard_us && visits[0].heard_us <= closed);
    assert!(visits[1].opened_us <= closed, "both were open for a moment");
    drop(second);
    sim.stop().await;
}
