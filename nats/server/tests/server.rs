//! The server as it is used: a real nats-server, started, killed, frozen, restarted, orphaned.
#![expect(clippy::unwrap_used, reason = "support functions of tests")]

use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fanfare_nats_server::process::{Launch, Line, Output, Signal};
use fanfare_nats_server::server::StoreError;
use fanfare_nats_server::{Download, Environment, Options, Server, StartError, Store, obtain};

async fn binary() -> PathBuf {
    let environment = Environment::of_process();
    let tell = |step: &_| eprintln!("{step}");
    obtain(None, &environment, Download::Allowed, &tell)
        .await
        .unwrap()
        .path
}

fn in_folder(folder: &Path) -> Options {
    Options {
        store: Store::Folder(folder.to_owned()),
        ..Options::ephemeral()
    }
}

async fn connects(server: &Server) -> bool {
    let address = server.url().trim_start_matches("nats://").to_owned();
    tokio::net::TcpStream::connect(address).await.is_ok()
}

#[tokio::test]
async fn a_server_starts_on_loopback_keeps_its_folder_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&binary().await, in_folder(folder.path()))
        .await
        .unwrap();
    assert!(
        server.url().starts_with("nats://127.0.0.1:"),
        "{}",
        server.url()
    );
    assert!(server.monitoring_url().starts_with("http://127.0.0.1:"));
    assert!(connects(&server).await);
    let ending = format!("_{}.ports", server.pid());
    let ports = || {
        let names = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|it| it.unwrap().file_name());
        names
            .filter(|it| it.to_string_lossy().ends_with(&ending))
            .count()
    };
    assert_eq!(ports(), 1);
    let configuration = folder.path().join("nats-server.conf");
    let mode = std::fs::metadata(configuration)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let stopped = server.stop().await;
    assert_eq!(
        (stopped.status.code(), stopped.was_killed),
        (Some(0), false)
    );
    assert_eq!(ports(), 0);
    assert!(folder.path().join("jetstream").is_dir());
}

#[tokio::test]
async fn a_killed_server_is_noticed_and_comes_back_on_its_port() {
    let mut server = Server::start(&binary().await, Options::ephemeral())
        .await
        .unwrap();
    let (url, pid, ended) = (server.url(), server.pid(), server.exited());
    server.kill9().await.unwrap();
    assert_eq!(ended.await.code(), None);
    assert!(!connects(&server).await);
    assert!(
        server.kill9().await.is_err(),
        "a signal to a process that is gone"
    );
    server.restart().await.unwrap();
    assert!(connects(&server).await);
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
}

#[tokio::test]
async fn a_frozen_server_answers_nothing_until_it_is_thawed_and_can_be_stopped_while_frozen() {
    let server = Server::start(&binary().await, Options::ephemeral())
        .await
        .unwrap();
    let healthz = format!("{}/healthz", server.monitoring_url());
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = |patience| client.get(&healthz).timeout(patience).send();
    let answers = async || asked(Duration::from_secs(20)).await.is_ok();
    let ask = || asked(Duration::from_millis(300));
    assert!(answers().await);
    server.freeze().unwrap();
    // The kernel stops its threads one after the other; on a busy machine one may still answer.
    let silent = async {
        while ask().await.is_ok() {}
        ask().await.unwrap_err().is_timeout()
    };
    let silent = tokio::time::timeout(Duration::from_secs(20), silent).await;
    assert!(silent.unwrap());
    server.thaw().unwrap();
    assert!(answers().await);
    server.freeze().unwrap();
    assert!(!server.stop().await.was_killed);
}

#[tokio::test]
async fn a_folder_belongs_to_one_server_and_the_refusal_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let binary = binary().await;
    let first = Server::start(&binary, in_folder(folder.path()))
        .await
        .unwrap();
    let error = Server::start(&binary, in_folder(folder.path()))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, StartError::Store(StoreError::Taken { holder, .. }) if holder == Some(first.pid())),
        "{error}"
    );
    drop(first);
    drop(
        Server::start(&binary, in_folder(folder.path()))
            .await
            .unwrap(),
    );
}

#[tokio::test]
async fn a_server_that_dies_at_the_start_tells_why() {
    let binary = binary().await;
    let broken = Options {
        extra: "no_such_option: 1\n".into(),
        ..Options::ephemeral()
    };
    let error = Server::start(&binary, broken)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("no_such_option"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = Some(taken.local_addr().unwrap().port());
    let busy = Options {
        port,
        ..Options::ephemeral()
    };
    let error = Server::start(&binary, busy)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("address already in use"), "{error}");
}

/// This test is two processes: run again by itself, it is the parent that gets killed.
#[tokio::test]
async fn a_server_ends_when_its_parent_is_killed_and_its_folder_is_free_then() {
    const FOLDER: &str = "FANFARE_TEST_ORPHANED_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let server = Server::start(&binary().await, in_folder(Path::new(&folder)))
            .await
            .unwrap();
        println!("started {}", server.pid());
        pending::<()>().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (pids, mut lines) = tokio::sync::mpsc::channel(1);
    let listen = move |line: &Line| {
        // Whatever the test harness prints before it on the line.
        if let Some((_, pid)) = line.text().split_once("started ") {
            pids.blocking_send(pid.parse::<i32>().unwrap()).unwrap();
        }
    };
    let name = "a_server_ends_when_its_parent_is_killed_and_its_folder_is_free_then";
    let parent = Launch::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder.path())
        .output(Output::Lines(std::sync::Arc::new(listen)))
        .start()
        .unwrap();
    let pid = lines.recv().await.unwrap();
    assert!(is_alive(pid));
    parent.signal(Signal::Kill).unwrap();
    parent.ended().await;
    // Taking the folder waits until the orphan is gone.
    let next = Server::start(&binary().await, in_folder(folder.path()))
        .await
        .unwrap();
    assert!(!is_alive(pid));
    drop(next);
}

/// A process that ended but was not reaped by its new parent does not count.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
