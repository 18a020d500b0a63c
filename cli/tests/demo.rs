//! The demo as people meet it: its verdict, its exit codes, and what is left of its processes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "support functions of tests"
)]

use std::path::Path;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};
use serde_json::Value;
use tokio::sync::Mutex;

/// Longer than an unoptimized demo takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);
/// One at a time: each is seven processes, and their timing is part of what they show.
static TURN: Mutex<()> = Mutex::const_new(());

struct Demo {
    child: Child,
    told: Arc<StdMutex<Vec<String>>>,
    report: Arc<StdMutex<String>>,
    folder: tempfile::TempDir,
}

impl Demo {
    /// A demo whose temporary files are in a folder of its own.
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::<StdMutex<Vec<String>>>::default();
        let report = Arc::<StdMutex<String>>::default();
        let (tell, write) = (Arc::clone(&told), Arc::clone(&report));
        let listen = move |line: &Line| match line {
            Line::Out(text) => write.lock().unwrap().extend([text.as_str(), "\n"]),
            Line::Err(text) => tell.lock().unwrap().push(text.clone()),
        };
        let child = Launch::new(env!("CARGO_BIN_EXE_fanfare"))
            .args(["demo", "--json"])
            .args(arguments)
            .env("TMPDIR", folder.path())
            .output(Output::Lines(Arc::new(listen)))
            .start()
            .unwrap();
        Self {
            child,
            told,
            report,
            folder,
        }
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Waits for its end: the exit code and the report.
    async fn ended(&self) -> (Option<i32>, Value) {
        let Some(status) = self.child.wait(PATIENCE).await else {
            panic!("it still runs: {:#?}", self.told());
        };
        let report = self.report.lock().unwrap().clone();
        let report = serde_json::from_str(&report).unwrap_or_default();
        (status.code(), report)
    }

    /// Waits until it has told this.
    async fn tells(&self, what: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.told().iter().any(|it| it.contains(what)) {
            assert_eq!(self.child.status(), None, "{:#?}", self.told());
            assert!(tokio::time::Instant::now() < deadline, "{:#?}", self.told());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Processes whose command line or working folder names the folder: children of a demo all do.
fn living(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let of = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        // A zombie has neither.
        let line = of("cmdline").replace('\0', " ");
        let at = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if line.contains(folder) || at.to_string_lossy().contains(folder) {
            found.push(line);
        }
    }
    found
}

async fn nobody_is_left(folder: &Path) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        let left = living(folder);
        if left.is_empty() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{left:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_demo_keeps_the_promise_through_its_kills_and_leaves_nothing_behind() {
    let _turn = TURN.lock().await;
    let demo = Demo::start(&["--seconds", "10"]);
    let (code, report) = demo.ended().await;
    let told = demo.told();
    assert_eq!(code, Some(0), "{report:#}\n{told:#?}");
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((number("lost"), number("surplus")), (0, 0), "{report:#}");
    assert!(
        number("repeated") <= number("repeated_at_most"),
        "{report:#}"
    );
    assert!(
        number("tasks_redelivered") > 0 && number("cut_off").max(number("repeated")) >= 20,
        "{report:#}"
    );
    let accounted = number("delivered") + number("superseded");
    assert_eq!(number("owed"), accounted, "{report:#}");
    assert_eq!(report["warnings"], serde_json::json!([]));
    nobody_is_left(demo.folder.path()).await;
    // Without a HOME the fetched nats-server is kept here; nothing else may be left.
    let left: Vec<_> = std::fs::read_dir(demo.folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|it| {
            let of_user = it.strip_prefix("fanfare-");
            !of_user.is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
        })
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn of_three_brokers_the_leader_is_killed_too_and_nothing_is_lost() {
    let _turn = TURN.lock().await;
    let demo = Demo::start(&["--cluster", "--seconds", "12", "--devices", "3000"]);
    let (code, report) = demo.ended().await;
    let told = demo.told();
    // 3: the kill of the notifier, which is the other test's, found too little in flight.
    assert!(matches!(code, Some(0 | 3)), "{report:#}\n{told:#?}");
    assert!(
        report["repeated"].as_u64() <= report["repeated_at_most"].as_u64(),
        "{report:#}"
    );
    assert_eq!(report["lost"], 0, "{report:#}");
    assert!(report["broker_killed"].is_string(), "{report:#}");
    // The kill bit: there was no leader, and something was left to send.
    assert!(
        report["broker_pause_s"].as_f64().unwrap() > 0.5,
        "{report:#}"
    );
    assert!(
        report["pushes_after_broker_kill"].as_u64().unwrap() > 0,
        "{report:#}"
    );
    nobody_is_left(demo.folder.path()).await;
}

#[tokio::test]
async fn a_task_acknowledged_before_it_is_sent_is_noticed() {
    let _turn = TURN.lock().await;
    let demo = Demo::start(&["--seconds", "10", "--sabotage", "ack-early"]);
    let (code, report) = demo.ended().await;
    assert_eq!(code, Some(1), "{:#?}", demo.told());
    assert!(report["lost"].as_u64().unwrap() > 0, "{report:#}");
}

#[tokio::test]
async fn a_demo_that_is_killed_or_stopped_leaves_no_process_behind() {
    let _turn = TURN.lock().await;
    for (signal, at, code) in [
        (Signal::Kill, "nats-server", None),
        (Signal::Kill, "first push", None),
        (Signal::Terminate, "7 processes", Some(130)),
        (Signal::Interrupt, "the feed moves", Some(130)),
    ] {
        let demo = Demo::start(&["--devices", "500"]);
        demo.tells(at).await;
        assert!(
            !living(demo.folder.path()).is_empty(),
            "the test sees nothing"
        );
        demo.child.signal(signal).unwrap();
        assert_eq!(demo.ended().await.0, code, "{:#?}", demo.told());
        nobody_is_left(demo.folder.path()).await;
    }
}

#[tokio::test]
async fn without_a_nats_server_it_says_so() {
    let demo = Demo::start(&["--nats-server", "/nowhere/nats-server"]);
    let (code, _) = demo.ended().await;
    let told = demo.told().join("\n");
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("/nowhere/nats-server"), "{told}");
    nobody_is_left(demo.folder.path()).await;
}
