//! `fanfare dead-letters` as operators and their scripts meet it.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use fanfare_nats::dead::DeadLetter;
use fanfare_nats::event::{Content, Guarantee, SourceName};
use fanfare_nats::plan::{HashRange, Lane};
use fanfare_nats::receipt::{Claim, Line, Mark, Receipt};
use fanfare_nats::stream::Topology;
use fanfare_nats::{
    Broker, ConnectOptions, DeviceHash, Event, Level, Metrics, Readiness, Task, Topic, Urgency,
};
use fanfare_nats_server::{Download, Environment, Options, Server, obtain};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the tests' one clock")]
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap()
}

async fn binary() -> PathBuf {
    let environment = Environment::of_process();
    let obtained = obtain(None, &environment, Download::Allowed, &|_| ()).await;
    obtained.unwrap().path
}

/// A server with streams and one lane, and how the command is told of it.
struct World {
    broker: Broker,
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let binary = binary().await;
        let server = Server::start(&binary, Options::ephemeral());
        let server = server.await.unwrap();
        let options = ConnectOptions {
            servers: vec![server.url()],
            node: "n1".to_owned(),
            replicas: 1,
            ..ConnectOptions::default()
        };
        let broker = Broker::connect(options, Metrics::default(), Readiness::new());
        let broker = broker.await.unwrap();
        let lane = Lane::parse("ios-urgent").unwrap();
        broker.ensure(&Topology::new(1, vec![lane])).await.unwrap();
        Self {
            broker,
            server,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn ran(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        ran(&self.server.url(), &self.folder, arguments).await
    }

    /// An event that is stored, with its task.
    async fn task(&self) -> Task {
        let event = Event {
            source: SourceName::api(),
            item: "us1".to_owned(),
            level: Level::First,
            topics: vec![Topic::parse("quakes").unwrap()],
            kind: "fanfare.event".to_owned(),
            occurred_at: None,
            expires_at: now() + 1.hours(),
            urgency: Urgency::Urgent,
            guarantee: Guarantee::AtLeastOnce,
            retry: fanfare_nats::policy::Retry::DEFAULT,
            digest: None,
            traceparent: None,
            content: Content::default(),
        };
        self.broker.publish(&event, false).await.unwrap();
        Task {
            event: event.id(),
            event_seq: 1,
            lane: Lane::parse("ios-urgent").unwrap(),
            range: HashRange::new(0, 0).unwrap(),
            revision: 1,
            expires_at: event.expires_at,
        }
    }
}

async fn ran(
    server: &str,
    folder: &tempfile::TempDir,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .arg("dead-letters")
        .args(arguments)
        .args(["--server", server])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_mins(1), command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, error) = (text(stdout), text(stderr));
    assert!(!error.contains("panicked"), "{error}");
    (status.code(), out, error)
}

fn walked(lines: &[(&str, Mark)]) -> Receipt {
    let claim = Claim {
        epoch: 1,
        pass: 1,
        message: 0,
        delivered: 1,
        nonce: 7,
    };
    let line = |(device, mark): &(&str, Mark)| Line {
        device: DeviceHash::of(device),
        mark: *mark,
        attempt: 1,
        reason: None,
        at: now(),
    };
    Receipt {
        low: None,
        lines: lines.iter().map(line).collect(),
        claims_without_mark: 0,
        ..Receipt::first(claim, "n1", now())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_show_and_nothing_to_reach_are_told_apart() {
    let world = World::start().await;
    let (code, out, _) = world.ran(&["list"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "no dead letter matches\n"));
    let (code, out, _) = world.ran(&["list", "--json"]).await;
    assert_eq!((code, out.as_str()), (Some(0), ""));
    let (code, out, _) = world.ran(&["replay", "--since", "1h"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "no dead letter matches\n"));
    for arguments in [&["show", "7"][..], &["replay", "--seq", "7"]] {
        let (code, _, error) = world.ran(arguments).await;
        assert_eq!(code, Some(1));
        assert!(error.contains("there is no dead letter 7"), "{error}");
    }
    for (arguments, told) in [
        (
            &["list", "--reason", "poisn"][..],
            "refused, invalid, poison or advisory",
        ),
        (&["list", "--since", "yesterday"], "1h or 7d"),
        (&["replay"], "--seq"),
        (&["replay", "--seq", "1", "--app", "ios"], "no filter"),
        (&["replay", "--seq", "1", "--expires-in", "2d"], "1m to 24h"),
    ] {
        let (code, _, error) = world.ran(arguments).await;
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(told), "{error}");
    }
    let (code, _, error) = ran("nats://127.0.0.1:1", &world.folder, &["list"]).await;
    assert_eq!(code, Some(69));
    assert!(
        error.starts_with("fanfare: nats://127.0.0.1:1: no connection to NATS: "),
        "{error}"
    );
    assert_eq!(error.matches("refused").count(), 1, "{error}");
    assert!(error.contains("is a server there?"), "{error}");
}

/// Three letters, of which one was accepted since.
async fn three_letters(world: &World) -> Task {
    let task = world.task().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for device in ["a", "b", "c"] {
        let device = DeviceHash::of(device);
        let letter = DeadLetter::refused(&task, device, 2, "PayloadEmpty", now());
        let letter = letter.by("n1", Some(trace));
        world.broker.bury(&letter).await.unwrap();
    }
    let (mut chain, _) = world.broker.receipts(&task).await.unwrap();
    let refused = [
        ("a", Mark::Refused),
        ("b", Mark::Refused),
        ("c", Mark::Refused),
    ];
    for receipt in [walked(&refused), walked(&[("b", Mark::Accepted)])] {
        chain.append(&receipt).await.unwrap();
    }
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_and_shown_with_what_became_of_them() {
    let world = World::start().await;
    let task = three_letters(&world).await;
    let (code, out, error) = world.ran(&["list", "--app", "ios"]).await;
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("number  stored"), "{out}");
    assert!(lines[1].contains("  open      PayloadEmpty"), "{out}");
    assert!(lines[2].contains("  accepted  PayloadEmpty"), "{out}");
    let (_, out, _) = world.ran(&["list", "--json"]).await;
    let objects: Vec<Value> = out
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(objects[1]["now"], "accepted");
    assert_eq!(objects[1]["letter"]["event"], task.event.as_str());

    let (code, out, _) = world.ran(&["show", "1"]).await;
    assert_eq!(code, Some(0));
    for told in [
        "0af7651916cd43dd8448eb211c80319c",
        "ios-urgent",
        "PayloadEmpty",
        "open: ",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_looked_at_first_and_leaves_out_whoever_accepted() {
    let world = World::start().await;
    let task = three_letters(&world).await;
    let by_reason = ["replay", "--reason", "refused"];
    let (code, out, _) = world.ran(&[&by_reason[..], &["--dry-run"]].concat()).await;
    assert_eq!(code, Some(0));
    let counts = "refused  ios  3        2          1               0";
    assert!(out.contains(counts), "{out}");
    assert!(out.ends_with("nothing was sent: --dry-run\n"), "{out}");
    let (code, _, error) = world.ran(&by_reason).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("--yes"), "{error}");
    let (_, last) = world.broker.receipts(&task).await.unwrap();
    assert!(last.unwrap().is_finished(), "nothing was sent so far");

    let (code, out, error) = world.ran(&[&by_reason[..], &["--yes"]].concat()).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("replayed 2 devices one by one"), "{out}");
    let (_, last) = world.broker.receipts(&task).await.unwrap();
    let mut waiting: Vec<_> = last.unwrap().later.into_keys().collect();
    let mut expected = ["a", "c"].map(DeviceHash::of);
    waiting.sort();
    expected.sort();
    assert_eq!(waiting, expected);
    let (code, out, _) = world.ran(&[&by_reason[..], &["--yes"]].concat()).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("there is nothing to replay"), "{out}");
    assert!(out.contains("2 waiting"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_letter_that_is_left_alone_says_why() {
    let world = World::start().await;
    let task = three_letters(&world).await;
    // While a worker has the task, a single letter says why it is left alone.
    let (mut chain, _) = world.broker.receipts(&task).await.unwrap();
    let claim = Claim {
        epoch: 1,
        pass: 9,
        message: 0,
        delivered: 1,
        nonce: 1,
    };
    let taken = Receipt {
        claim,
        low: Some(DeviceHash(1)),
        ..walked(&[])
    };
    chain.append(&taken).await.unwrap();
    let (code, _, error) = world.ran(&["replay", "--seq", "1", "--yes"]).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("still being sent"), "{error}");
}
