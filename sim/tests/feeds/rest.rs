//! Documents: conditional requests, pages, faults.

use std::time::Duration;

use fanfare_sim::script::RetryAfter;
use fanfare_sim::{Advance, FeedFault, FeedRule, Sim, SnapshotsConfig, UpstreamConfig};
use tempfile::TempDir;

use crate::client::{Answer, get, post};
use crate::{folder, started};

async fn snapshots(advance: Advance, pages: bool) -> (Sim, [TempDir; 2]) {
    let files = folder(&[("1.json", "[1]"), ("2.json", "[1,2]"), ("3.json", "[1]")]);
    let (sim, own) = started(UpstreamConfig {
        snapshots: vec![SnapshotsConfig {
            path: "/list".to_owned(),
            folder: files.path().to_owned(),
            advance,
            pages,
            cache_control: Some("max-age=60".to_owned()),
            ..SnapshotsConfig::default()
        }],
        ..UpstreamConfig::default()
    })
    .await;
    (sim, [files, own])
}

async fn list(sim: &Sim) -> Answer {
    get(sim, "/list", &[]).await.unwrap()
}

#[tokio::test]
async fn each_request_shows_the_next_snapshot_and_the_last_stays() {
    let (sim, _folders) = snapshots(Advance::Request, false).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(list(&sim).await.text());
    }
    assert_eq!(bodies, ["[1]", "[1,2]", "[1]", "[1]"]);
    sim.stop().await;
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let (sim, _folders) = snapshots(Advance::Control, false).await;
    let first = list(&sim).await;
    assert_eq!(first.headers["cache-control"], "max-age=60");
    let etag = first.headers["etag"].clone();
    let date = first.headers["last-modified"].clone();
    for (name, value) in [
        ("if-none-match", etag.clone()),
        ("if-none-match", format!("\"x\", W/{etag}")),
        ("if-modified-since", date.clone()),
    ] {
        let again = get(&sim, "/list", &[(name, &value)]).await.unwrap();
        assert_eq!(
            (again.status, again.body.len()),
            (304, 0),
            "{name}: {value}"
        );
        assert_eq!(again.headers["etag"], etag);
    }
    post(
        &sim,
        "/control/feed/advance",
        r#"{"path":"/list","steps":1}"#,
    )
    .await;
    let changed = get(&sim, "/list", &[("if-none-match", &etag)])
        .await
        .unwrap();
    assert_eq!((changed.status, changed.text().as_str()), (200, "[1,2]"));
    let changed = get(&sim, "/list", &[("if-modified-since", &date)])
        .await
        .unwrap();
    assert_eq!(changed.status, 200);
    assert!(sim.advance_feed("/list", 1));
    let back = get(&sim, "/list", &[("if-none-match", &etag)])
        .await
        .unwrap();
    assert_eq!(back.status, 304, "the old bytes have their old ETag");
    assert_eq!(
        (
            sim.asked()["/list"].requests,
            sim.asked()["/list"].not_modified
        ),
        (7, 4)
    );
    sim.stop().await;
}

#[tokio::test]
async fn gzip_is_for_those_who_accept_it() {
    let (sim, _folders) = snapshots(Advance::Control, false).await;
    let packed = get(&sim, "/list", &[("accept-encoding", "br, gzip")])
        .await
        .unwrap();
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.unpacked(), "[1]");
    assert!(!list(&sim).await.headers.contains_key("content-encoding"));
    sim.stop().await;
}

#[tokio::test]
async fn pages_are_linked_to_the_last() {
    let (sim, _folders) = snapshots(Advance::Request, true).await;
    let http = sim.whereabouts().http;
    let mut path = "/list".to_owned();
    let mut bodies = Vec::new();
    loop {
        let answer = get(&sim, &path, &[]).await.unwrap();
        bodies.push(answer.text());
        let link = answer.headers.get("link").cloned().unwrap_or_default();
        let next = link
            .split(", ")
            .find_map(|it| it.strip_suffix("; rel=\"next\""))
            .map(|it| {
                it.trim_matches(['<', '>'])
                    .strip_prefix(&format!("http://{http}"))
                    .unwrap()
                    .to_owned()
            });
        match next {
            Some(next) => path = next,
            None => break,
        }
    }
    assert_eq!(bodies, ["[1]", "[1,2]", "[1]"]);
    assert_eq!(get(&sim, "/list?page=4", &[]).await.unwrap().status, 404);
    sim.stop().await;
}

#[tokio::test]
async fn faults_spoil_what_they_say_and_lose_no_snapshot() {
    let (sim, _folders) = snapshots(Advance::Request, false).await;
    let once = |fault| {
        let path = "/list".to_owned();
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
    once(FeedFault::Status {
        status: 429,
        retry_after: Some(RetryAfter::Seconds(3)),
    });
    let answer = list(&sim).await;
    assert_eq!(
        (answer.status, answer.headers["retry-after"].as_str()),
        (429, "3")
    );
    once(FeedFault::Reset);
    assert!(get(&sim, "/list", &[]).await.is_err());
    once(FeedFault::Hang { ms: None });
    let wait = Duration::from_millis(200);
    assert!(
        tokio::time::timeout(wait, list(&sim)).await.is_err(),
        "it answered"
    );
    assert_eq!(list(&sim).await.text(), "[1]", "nothing was shown before");
    once(FeedFault::Cut { share: 0.5 });
    let answer = list(&sim).await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.is_whole),
        (200, "[1", false)
    );
    once(FeedFault::Truncate { share: 0.7 });
    let answer = list(&sim).await;
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.is_whole),
        (200, "[1", true)
    );
    once(FeedFault::Slow {
        piece: 1,
        pause_ms: 20,
    });
    let start = tokio::time::Instant::now();
    let answer = list(&sim).await;
    assert_eq!((answer.text().as_str(), answer.is_whole), ("[1]", true));
    assert!(
        start.elapsed() >= Duration::from_millis(60),
        "{:?}",
        start.elapsed()
    );
    sim.stop().await;
}
