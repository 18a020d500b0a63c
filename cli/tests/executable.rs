//! The executable as people and orchestrators meet it: exit codes, signals, children.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "support functions of tests"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};
use fanfare_nats_server::server::free_ports;
use fanfare_nats_server::{Download, Environment, Options, Server, obtain};

const PATIENCE: Duration = Duration::from_secs(30);

/// A `fanfare` that knows nothing of the person who runs the tests.
fn fanfare(folder: &Path) -> Launch {
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_fanfare"))
        .folder(folder)
        .env("FANFARE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("FANFARE__API__LISTEN", "127.0.0.1:0")
        .env("FANFARE__API__KEYS", "until_first")
        .env("FANFARE__LOG__FORMAT", "text");
    for name in [
        "NATS_URL",
        "NATS_CONTEXT",
        "FANFARE_CONFIG",
        "RUST_LOG",
        "FANFARE__NATS__URL",
    ] {
        launch = launch.env_remove(name);
    }
    launch
}

/// Runs to the end: exit code, and everything that was printed.
async fn ran(launch: Launch) -> (Option<i32>, String) {
    let (launch, printed) = recorded(launch);
    let child = launch.start().unwrap();
    let status = child
        .wait(PATIENCE)
        .await
        .expect("it should have ended by now");
    let printed = printed.lock().unwrap().join("\n");
    (status.code(), printed)
}

fn recorded(launch: Launch) -> (Launch, Arc<Mutex<Vec<String>>>) {
    let printed = Arc::<Mutex<Vec<String>>>::default();
    let record = Arc::clone(&printed);
    let listen = move |line: &Line| record.lock().unwrap().push(line.text().to_owned());
    (launch.output(Output::Lines(Arc::new(listen))), printed)
}

/// Asks again until there is an answer.
async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A `fanfare up` that is ready, and the process id of its nats-server.
struct Up {
    child: Child,
    server: i32,
    printed: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Up {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = free_ports(1).unwrap().remove(0);
        let launch = fanfare(folder.path())
            .args(["up", "--ephemeral", "--download"])
            .env("FANFARE__ADMIN__LISTEN", format!("127.0.0.1:{admin}"));
        let (launch, printed) = recorded(launch);
        let child = launch.start().unwrap();
        let ready = format!("http://127.0.0.1:{admin}/readyz");
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        eventually("ready", async || {
            assert_eq!(child.status(), None, "{:#?}", printed.lock().unwrap());
            client
                .get(&ready)
                .send()
                .await
                .ok()
                .filter(|it| it.status().is_success())
        })
        .await;
        let server = eventually("its server", async || {
            let introduced = printed.lock().unwrap().join("\n");
            let (_, rest) = introduced.split_once("process ")?;
            rest.lines().next()?.parse().ok()
        })
        .await;
        assert!(is_alive(server));
        Self {
            child,
            server,
            printed,
            _folder: folder,
        }
    }

    async fn code(&self) -> Option<i32> {
        let ended = self.child.wait(PATIENCE).await;
        ended
            .unwrap_or_else(|| panic!("still running: {:#?}", self.printed.lock().unwrap()))
            .code()
    }
}

/// A process that ended but was not reaped by its new parent does not count.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn a_signal_drains_everything_and_the_server_goes_last() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let up = Up::start().await;
        up.child.signal(signal).unwrap();
        assert_eq!(
            up.code().await,
            Some(0),
            "{:#?}",
            up.printed.lock().unwrap()
        );
        assert!(!is_alive(up.server));
    }
}

#[tokio::test]
async fn a_killed_fanfare_leaves_no_server_behind() {
    let up = Up::start().await;
    up.child.signal(Signal::Kill).unwrap();
    up.code().await;
    eventually("the server is gone", async || {
        (!is_alive(up.server)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_ends_by_itself_is_a_failure() {
    let up = Up::start().await;
    let pid = rustix::process::Pid::from_raw(up.server).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eq!(up.code().await, Some(1));
    let printed = up.printed.lock().unwrap().join("\n");
    assert!(printed.contains("nats-server ended by itself"), "{printed}");
}

#[tokio::test]
async fn a_named_server_gets_no_child_and_is_only_verified_unless_told_otherwise() {
    let environment = Environment::of_process();
    let tell = |step: &_| eprintln!("{step}");
    let obtained = obtain(None, &environment, Download::Allowed, &tell)
        .await
        .unwrap();
    let server = Server::start(&obtained.path, Options::ephemeral())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let up = || fanfare(folder.path()).args(["up", "api", "--server", &server.url()]);
    let (code, printed) = ran(up()).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("FANFARE_EVENTS") && printed.contains("--manage auto"),
        "{printed}"
    );
    let (launch, printed) = recorded(up().args(["--manage", "auto"]));
    let child = launch.start().unwrap();
    let push =
        || fanfare(folder.path()).args(["push", "--topic", "a.b", "--server", &server.url()]);
    let stored = eventually("an event is stored", async || {
        assert_eq!(child.status(), None, "{:#?}", printed.lock().unwrap());
        let (code, printed) = ran(push()).await;
        (code == Some(0)).then_some(printed)
    });
    assert!(stored.await.contains("is stored for a.b"));
    child.signal(Signal::Terminate).unwrap();
    assert_eq!(child.wait(PATIENCE).await.unwrap().code(), Some(0));
    assert!(
        !printed
            .lock()
            .unwrap()
            .iter()
            .any(|it| it.contains("process "))
    );
}

#[tokio::test]
async fn a_server_that_is_too_old_is_refused_with_the_code_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("nats-server");
    std::fs::write(&old, "#!/bin/sh\necho nats-server: v2.9.10\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let old = old.to_str().unwrap();
    let (code, printed) = ran(fanfare(folder.path()).args(["up", "--nats-server", old])).await;
    assert_eq!(code, Some(69), "{printed}");
    assert!(printed.contains("2.9.10 is too old"), "{printed}");
}

#[tokio::test]
async fn what_init_writes_passes_check_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ran(fanfare(folder.path()).arg("init")).await.0, Some(0));
    let (code, printed) = ran(fanfare(folder.path()).arg("check")).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = ran(fanfare(folder.path()).arg("init")).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("fanfare.toml exists"), "{printed}");
}

#[tokio::test]
async fn check_tells_all_problems_with_their_lines_and_ends_with_the_code_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[api]\nlisten = \"nowhere\"\n[nats]\nreplicas = 2\n[notifier]\nwindow = 1\n\
                [[source]]\nname = \"A B\"\n";
    std::fs::write(folder.path().join("f.toml"), text).unwrap();
    let (code, printed) = ran(fanfare(folder.path())
        .args(["check", "f.toml"])
        .env_remove("FANFARE__API__LISTEN"))
    .await;
    assert_eq!(code, Some(78), "{printed}");
    assert!(printed.contains("f.toml:7: source[0]"), "{printed}");
    let text = text.split("[[source]]").next().unwrap();
    std::fs::write(folder.path().join("f.toml"), text).unwrap();
    let (code, printed) = ran(fanfare(folder.path())
        .args(["check", "f.toml"])
        .env_remove("FANFARE__API__LISTEN"))
    .await;
    assert_eq!(code, Some(78), "{printed}");
    let problems = [
        "f.toml:2: api.listen",
        "f.toml:4: nats.replicas",
        "f.toml:6: notifier.window",
    ];
    for problem in problems {
        assert!(printed.contains(problem), "{printed}");
    }
    let (code, _) = ran(fanfare(folder.path()).args(["up", "--config", "f.toml"])).await;
    assert_eq!(code, Some(78));
}

#[tokio::test]
async fn a_wrong_command_line_is_told_apart_from_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ran(fanfare(folder.path()).arg("nonsense")).await.0, Some(2));
    assert_eq!(
        ran(fanfare(folder.path()).args(["push", "--title", "x"]))
            .await
            .0,
        Some(2)
    );
    let (code, printed) = ran(fanfare(folder.path()).args(["up", "--help"])).await;
    assert_eq!(code, Some(0));
    for flag in [
        "--server",
        "--context",
        "--creds",
        "--tlsca",
        "--js-domain",
        "--inbox-prefix",
    ] {
        assert!(printed.contains(flag), "{printed}");
    }
}

#[tokio::test]
async fn init_into_the_file_that_the_shell_has_just_made_writes_nothing_but_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("{} init > fanfare.toml", env!("CARGO_BIN_EXE_fanfare"));
    let launch = Launch::new("/bin/sh").folder(folder.path());
    let (code, printed) = ran(launch.args(["-c", &line])).await;
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = ran(fanfare(folder.path()).arg("check")).await;
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("note: fetcher.contact"), "{printed}");
}

#[tokio::test]
async fn push_finds_the_server_of_a_running_up_and_shows_no_password_of_any() {
    let folder = tempfile::tempdir().unwrap();
    let with_data = |launch: Launch| launch.env("XDG_DATA_HOME", folder.path());
    let tell = |step: &_| eprintln!("{step}");
    let environment = Environment::of_process();
    let obtained = obtain(None, &environment, Download::Allowed, &tell).await;
    let binary = obtained.unwrap().path;
    let up = fanfare(folder.path()).args(["up", "api", "--nats-server"]);
    let (up, printed) = recorded(with_data(up.arg(binary)));
    let up = up.start().unwrap();
    let push = || with_data(fanfare(folder.path()).args(["push", "--topic", "a.b"]));
    eventually("an event is stored", async || {
        assert_eq!(up.status(), None, "{:#?}", printed.lock().unwrap());
        let (code, _) = ran(push()).await;
        (code == Some(0)).then_some(())
    })
    .await;
    up.signal(Signal::Terminate).unwrap();
    assert_eq!(up.wait(PATIENCE).await.unwrap().code(), Some(0));
    // Another server of this machine may stand at the usual address.
    let push = push().args(["--server", "nats://secret:word@127.0.0.1:1"]);
    let (code, printed) = ran(push).await;
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("127.0.0.1:1: no connection"), "{printed}");
    assert!(!printed.contains("word"), "{printed}");
}
