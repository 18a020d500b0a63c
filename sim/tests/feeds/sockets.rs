//! Recorded sockets and their faults, steered from outside.

use fanfare_sim::{AtEnd, FeedFault, FeedRule, Sim, SocketConfig, UpstreamConfig};
use futures::SinkExt as _;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{get, next, post, socket};
use crate::{folder, started};

const RECORDING: &str = "wss://example <-> 1.0\nwss://example <- 1.1: {\"subscribe\":1}\n\
    2.0: {\"n\":1}\n2.1: {\"n\":2}\n2.2: b'{\"n\":3}'\n2.3: {\"n\":4}\n";

async fn recorded(change: impl FnOnce(&mut SocketConfig)) -> (Sim, [TempDir; 2]) {
    let files = folder(&[("r", RECORDING)]);
    let mut config = SocketConfig {
        path: "/r".to_owned(),
        file: files.path().join("r"),
        speed: 0.0,
        at_end: AtEnd::Close,
        ..SocketConfig::default()
    };
    change(&mut config);
    let sockets = vec![config];
    let (sim, own) = started(UpstreamConfig {
        sockets,
        ..UpstreamConfig::default()
    })
    .await;
    (sim, [files, own])
}

async fn all(sim: &Sim) -> Vec<Message> {
    let mut socket = socket(sim, "/r").await;
    let mut messages = Vec::new();
    while let Some(message) = next(&mut socket).await {
        messages.push(message);
    }
    messages
}

#[tokio::test]
async fn a_recording_is_replayed_with_its_binary_frames() {
    let (sim, _folders) = recorded(|_| {}).await;
    let messages = all(&sim).await;
    assert_eq!(
        messages[..2],
        [Message::text("{\"n\":1}"), Message::text("{\"n\":2}")]
    );
    assert_eq!(messages[2], Message::binary("{\"n\":3}".as_bytes()));
    assert!(
        messages.len() == 5 && messages[4].is_close(),
        "{messages:?}"
    );
    assert_eq!(sim.asked()["/r"].frames, 4);
    sim.stop().await;
}

#[tokio::test]
async fn chosen_frames_are_left_out_and_time_is_kept() {
    let (sim, _folders) = recorded(|it| {
        it.drop_frames = vec![2, 3];
        it.speed = 1.0;
    })
    .await;
    let start = tokio::time::Instant::now();
    let messages = all(&sim).await;
    assert_eq!(
        messages[..2],
        [Message::text("{\"n\":1}"), Message::text("{\"n\":4}")]
    );
    assert!(start.elapsed().as_millis() >= 300, "{:?}", start.elapsed());
    sim.stop().await;
}

#[tokio::test]
async fn a_subscription_can_be_waited_for_and_is_kept() {
    let (sim, _folders) = recorded(|it| it.waits_for_frame = true).await;
    let mut socket = socket(&sim, "/r").await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(100), next(&mut socket));
    assert!(early.await.is_err(), "frames came unasked");
    socket
        .send(Message::text("{\"subscribe\":2}"))
        .await
        .unwrap();
    assert_eq!(next(&mut socket).await, Some(Message::text("{\"n\":1}")));
    let received = get(&sim, "/control/feed/received", &[])
        .await
        .unwrap()
        .json();
    assert_eq!(received, serde_json::json!(["{\"subscribe\":2}"]));
    sim.stop().await;
}

#[tokio::test]
async fn sockets_close_break_fall_silent_and_are_refused() {
    let (sim, _folders) = recorded(|_| {}).await;
    let once = |fault| {
        let path = "/r".to_owned();
        let rule = FeedRule {
            path,
            skip: 0,
            count: Some(1),
            after_ms: 0,
            for_ms: None,
            fault,
        };
        sim.add_feed_rule(rule);
    };
    once(FeedFault::Close { after_frames: 1 });
    let messages = all(&sim).await;
    assert!(
        messages.len() == 2 && messages[1].is_close(),
        "{messages:?}"
    );

    once(FeedFault::Drop { after_frames: 2 });
    let mut dropped = socket(&sim, "/r").await;
    next(&mut dropped).await.unwrap();
    next(&mut dropped).await.unwrap();
    assert!(
        futures::StreamExt::next(&mut dropped)
            .await
            .unwrap()
            .is_err(),
        "closed in order"
    );

    once(FeedFault::Mute { after_frames: 1 });
    let mut mute = socket(&sim, "/r").await;
    next(&mut mute).await.unwrap();
    let silence = tokio::time::timeout(std::time::Duration::from_millis(100), next(&mut mute));
    assert!(silence.await.is_err(), "it spoke");
    mute.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(next(&mut mute).await, Some(Message::Pong("p".into())));
    post(&sim, "/control/feed/close", "").await;
    assert!(next(&mut mute).await.unwrap().is_close());

    once(FeedFault::Status {
        status: 503,
        retry_after: None,
    });
    let address = format!("ws://{}/r", sim.whereabouts().http);
    assert!(tokio_tungstenite::connect_async(&address).await.is_err());
    assert_eq!(all(&sim).await.len(), 5, "and works again");
    sim.stop().await;
}

#[tokio::test]
async fn control_says_what_it_did_not_understand() {
    let (sim, _folders) = recorded(|_| {}).await;
    let state = get(&sim, "/control/state", &[]).await.unwrap().json();
    assert_eq!(state["http"], sim.whereabouts().http.to_string());
    assert_eq!(
        post(&sim, "/control/faults", r#"{"answer":{"do":"nonsense"}}"#)
            .await
            .status,
        400
    );
    let added = post(
        &sim,
        "/control/faults",
        r#"{"count":1,"answer":{"do":"internal"}}"#,
    )
    .await;
    assert_eq!(added.json()["ids"], serde_json::json!([1]));
    assert_eq!(sim.script().rules().len(), 1);
    let to = sim.whereabouts().http;
    let gone = crate::client::ask(to, "DELETE", "/control/faults/1", &[], "")
        .await
        .unwrap();
    assert_eq!((gone.status, sim.script().rules().len()), (200, 0));
    for path in [
        "/control/latency",
        "/control/connections",
        "/control/listeners",
    ] {
        assert_eq!(post(&sim, path, "{}").await.status, 400, "{path}");
    }
    assert_eq!(get(&sim, "/elsewhere", &[]).await.unwrap().status, 404);
    sim.stop().await;
}

/// The folder of recorded feeds, where there is one.
fn recordings() -> Option<std::path::PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("FANFARE_FEEDS").unwrap_or_else(|| beside.into());
    let folder = std::path::PathBuf::from(folder);
    folder.join("websocket").is_dir().then_some(folder)
}

#[tokio::test]
async fn recorded_sockets_come_out_whole() {
    let Some(feeds) = recordings() else {
        println!("skipped: no recorded feeds");
        return;
    };
    for (file, n_frames, is_binary) in [
        ("websocket/INDEPENDENT_RESERVE.ws.1.0", 1665, false),
        ("nasty/UPBIT.ws.62.0", 0, true),
    ] {
        let (sim, _folders) = recorded(|it| it.file = feeds.join(file)).await;
        let mut messages = all(&sim).await;
        assert!(messages.pop().unwrap().is_close());
        assert!(
            messages.len() >= n_frames.max(100),
            "{file}: {}",
            messages.len()
        );
        for message in messages {
            assert_eq!(message.is_binary(), is_binary, "{file}");
            let text = message.into_data();
            serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        }
        sim.stop().await;
    }
}
