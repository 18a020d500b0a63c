//! Child processes: their output, their end, and ours.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::os::unix::process::ExitStatusExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};

fn shell(script: &str) -> Launch {
    Launch::new("/bin/sh").args(["-c", script])
}

/// Starts a shell and waits until it has printed its first line.
async fn started(script: &str) -> (Child, String) {
    let (lines, mut first) = tokio::sync::mpsc::channel(8);
    let listen = move |line: &Line| drop(lines.blocking_send(line.text().to_owned()));
    let child = shell(script)
        .output(Output::Lines(Arc::new(listen)))
        .start()
        .unwrap();
    let line = first.recv().await.unwrap();
    (child, line)
}

#[tokio::test]
async fn every_line_arrives_before_the_end_does() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    let listen = move |line: &Line| keep.lock().unwrap().push(line.clone());
    let child = shell("echo one; printf 'b\\377d\\r\\n'; echo two >&2; printf $WORD; exit 7")
        .env("WORD", "last")
        .output(Output::Lines(Arc::new(listen)))
        .start()
        .unwrap();
    assert_eq!(child.ended().await.code(), Some(7));
    let seen = seen.lock().unwrap();
    let out: Vec<_> = seen
        .iter()
        .filter(|it| matches!(it, Line::Out(_)))
        .map(Line::text)
        .collect();
    assert_eq!(out, ["one", "b\u{fffd}d", "last"]);
    assert!(seen.contains(&Line::Err("two".into())));
    assert_eq!(child.last_lines().len(), 4);
}

#[tokio::test]
async fn what_ignores_the_request_to_end_is_killed() {
    let (child, _) = started("trap '' TERM; echo ready; while :; do sleep 1; done").await;
    let (status, was_killed) = child.stop(Duration::from_millis(100)).await;
    assert_eq!((status.signal(), was_killed), (Some(9), true));
    assert!(child.signal(Signal::Terminate).is_err());
    let (child, _) = started("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done").await;
    let (status, was_killed) = child.stop(Duration::from_secs(20)).await;
    assert_eq!((status.code(), was_killed), (Some(3), false));
}

#[tokio::test]
async fn dropping_a_child_ends_what_it_started_too() {
    let (child, grandchild) = started("sleep 1000 & echo $!; wait").await;
    let grandchild = format!("/proc/{}/stat", grandchild.trim());
    assert!(std::fs::exists(&grandchild).unwrap());
    drop(child);
    let gone = || match std::fs::read_to_string(&grandchild) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    let eventually = async {
        while !gone() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), eventually)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_child_survives_the_thread_that_asked_for_it() {
    let script = "read x </dev/null; sleep 0.2; echo done";
    let start = std::thread::spawn(|| shell(script).start().unwrap());
    let child = start.join().unwrap();
    assert!(child.ended().await.success());
    assert_eq!(child.last_lines(), ["done"]);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let error = Launch::new("/no/such/program").start().err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_child_is_a_process_group_of_its_own() {
    let (child, group) = started("ps -o pgid= -p $$ || cut -d' ' -f5 /proc/$$/stat; sleep 9").await;
    assert_eq!(group.trim(), child.pid().to_string());
}
