//! `up --cluster 3`: one broker dies, the others carry on; and what a stranger may do wrong.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::path::Path;

use fanfare_nats_server::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::fanfare::{Fanfare, command, eventually, pushes, ran};

fn up(folder: &Path) -> Fanfare {
    Fanfare::start(command(
        folder,
        &["up", "--cluster", "3", "--data-dir", "data"],
    ))
}

/// The process ids of the three.
async fn processes(up: &Fanfare) -> Vec<i32> {
    let mut processes = Vec::new();
    for number in 1..=3 {
        let pid = up.says(&format!("fanfare-{number}    process")).await;
        processes.push(pid.parse().unwrap());
    }
    processes
}

/// A process that has ended counts as gone, reaped or not.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_broker_is_killed_the_others_carry_on_and_all_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = up(folder.path());
    let url = first.says("  URL").await;
    let servers = processes(&first).await;
    first.register("d-1").await;
    first.post("before").await;

    kill_process(
        Pid::from_raw(servers[1]).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    // Accepted while one of three is missing, or just being elected around.
    first.register("d-2").await;
    first.post("while").await;
    first.says("the nats-server is back").await;
    first.post("after").await;
    for title in ["before", "while", "after"] {
        eventually(title, async || {
            (pushes(folder.path(), title) > 0).then_some(())
        })
        .await;
    }
    // Both devices were there when these two were posted, and no process of ours died.
    for title in ["while", "after"] {
        eventually(title, async || {
            (pushes(folder.path(), title) == 2).then_some(())
        })
        .await;
    }
    first.child.signal(Signal::Interrupt).unwrap();
    assert_eq!(first.ended().await, Some(0), "{}", first.printed());

    let second = up(folder.path());
    assert_eq!(
        second.says("  URL").await,
        url,
        "a context that was saved stays good"
    );
    second.knows("d-1").await;
    second.knows("d-2").await;
    let servers = processes(&second).await;
    assert!(servers.iter().all(|it| is_alive(*it)));
    second.child.signal(Signal::Kill).unwrap();
    second.ended().await;
    eventually("no broker is left", async || {
        servers.iter().all(|it| !is_alive(*it)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code, words) in [
        (&["--cluster", "2"][..], 2, "two servers are one too few"),
        (&["--cluster", "1"], 2, "leave --cluster out"),
        (&["--cluster", "many"], 2, "has 3 servers"),
        (&["--nats-port", "0"], 2, "0 is not in 1..=65535"),
        (
            &["--cluster", "3", "--nats-port", "0"],
            2,
            "0 is not in 1..=65535",
        ),
        (
            &["--cluster", "3", "--nats-port", "65534"],
            2,
            "no room for 3 servers",
        ),
        (
            &["--cluster", "3", "--server", "nats://127.0.0.1:1"],
            2,
            "leave one of them out",
        ),
    ] {
        let arguments = [&["up"], arguments].concat();
        let (ended, printed) = ran(command(folder.path(), &arguments)).await;
        assert_eq!(ended, Some(code), "{arguments:?}: {printed}");
        assert!(printed.contains(words), "{arguments:?}: {printed}");
    }
    for (arguments, replicas, words) in [
        (&["up"][..], "3", "3 replicas need 3 servers"),
        (&["up", "--cluster", "3"], "1", "keeps 3 replicas"),
    ] {
        let launch = command(folder.path(), arguments).env("FANFARE__NATS__REPLICAS", replicas);
        let (ended, printed) = ran(launch).await;
        assert_eq!(ended, Some(78), "{printed}");
        assert!(printed.contains(words), "{printed}");
    }
}

#[tokio::test]
async fn a_folder_of_one_server_and_a_folder_of_three_are_not_mixed_up() {
    let folder = tempfile::tempdir().unwrap();
    // What tells them apart, without waiting for a start of each.
    std::fs::create_dir_all(folder.path().join("one/jetstream")).unwrap();
    std::fs::create_dir_all(folder.path().join("three")).unwrap();
    std::fs::write(folder.path().join("three/cluster.json"), "[]").unwrap();
    for (arguments, words) in [
        (
            &["up", "--cluster", "3", "--data-dir", "one"][..],
            "leave --cluster out",
        ),
        (&["up", "--data-dir", "three"], "start it with --cluster 3"),
    ] {
        let (ended, printed) = ran(command(folder.path(), arguments)).await;
        assert_eq!(ended, Some(69), "{printed}");
        assert!(
            printed.contains(words) && printed.contains("--data-dir"),
            "{printed}"
        );
    }
}
