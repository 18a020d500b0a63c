//! The executable in a folder of its own, and what it prints and answers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "support functions of tests"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare_nats_server::process::{Child, Launch, Line, Output};
use fanfare_nats_server::{Download, Environment, obtain};
use reqwest::{Client, StatusCode};
use serde_json::Value;

/// Longer than an election takes, and than two messages lie that a dying server had marked as delivered
/// and did not send: an event, and then its task, for an `ack_wait` of 30 s each (seen once in fifty).
const PATIENCE: Duration = Duration::from_mins(2);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The nats-server that the executable would take.
pub(crate) async fn binary() -> PathBuf {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let environment = Environment::of_process();
    let tell = |step: &_| eprintln!("{step}");
    let obtained = obtain(None, &environment, Download::Allowed, &tell).await;
    obtained.unwrap().path
}

/// A `fanfare` that runs.
pub(crate) struct Fanfare {
    pub(crate) child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    client: Client,
}

/// A command that knows nothing of the person who runs the tests, with one app whose pushes end in
/// `pushes` of its folder.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Launch {
    let file = folder.join("fanfare.toml");
    let pushes = folder.join("pushes").display().to_string();
    let text = format!("[[app]]\nname = \"ios\"\nprovider = \"log\"\nfile = '{pushes}'\n");
    std::fs::write(&file, text).unwrap();
    let mut launch = Launch::new(env!("CARGO_BIN_EXE_fanfare"))
        .folder(folder)
        .args(arguments.iter().copied())
        .arg("--config")
        .arg(file)
        .env("FANFARE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("FANFARE__API__LISTEN", "127.0.0.1:0")
        .env("FANFARE__API__KEYS", "until_first")
        .env("FANFARE__LOG__FORMAT", "json");
    for name in ["NATS_URL", "NATS_CONTEXT", "FANFARE_CONFIG", "RUST_LOG"] {
        launch = launch.env_remove(name);
    }
    launch
}

/// Runs to the end: exit code, and everything that was printed.
pub(crate) async fn ran(launch: Launch) -> (Option<i32>, String) {
    let fanfare = Fanfare::start(launch);
    let code = fanfare.ended().await;
    (code, fanfare.printed())
}

impl Fanfare {
    pub(crate) fn start(launch: Launch) -> Self {
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let record = Arc::clone(&printed);
        let listen = move |line: &Line| record.lock().unwrap().push(line.text().to_owned());
        let launch = launch.output(Output::Lines(Arc::new(listen)));
        let _installed = rustls::crypto::ring::default_provider().install_default();
        Self {
            child: launch.start().unwrap(),
            printed,
            client: Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn printed(&self) -> String {
        self.printed.lock().unwrap().join("\n")
    }

    /// Waits for its end: the exit code.
    pub(crate) async fn ended(&self) -> Option<i32> {
        let Some(status) = self.child.wait(PATIENCE).await else {
            panic!("it still runs: {}", self.printed());
        };
        status.code()
    }

    /// What the first line with this text says behind it, up to a blank or a comma.
    pub(crate) async fn says(&self, text: &str) -> String {
        eventually(text, async || {
            let printed = self.printed();
            let (_, rest) = printed.split_once(text)?;
            let word = rest.trim_start().split([' ', ',', '\n', '"']).next()?;
            Some(word.to_owned())
        })
        .await
    }

    async fn api(&self) -> String {
        self.says("\"message\":\"the API listens\",\"address\":\"")
            .await
    }

    /// Asks the API until it answers, and holds the answer against what is expected when no earlier try
    /// was left open (`false`), and when one was (`true`): 503 says that it may be done, or is done and
    /// not recorded yet. A broker that elects is asked again.
    async fn ask(
        &self,
        request: impl Fn(&Client, &str) -> reqwest::RequestBuilder,
        is_expected: impl Fn(bool, u16) -> bool,
    ) {
        let api = format!("http://{}", self.api().await);
        let is_open = Cell::new(false);
        eventually("an answer", async || {
            let was_open = is_open.replace(true);
            let answer = request(&self.client, &api).send().await.ok()?;
            let status = answer.status();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                return None;
            }
            assert!(
                is_expected(was_open, status.as_u16()),
                "{status} ({was_open}): {:?}: {}",
                answer.text().await,
                self.printed()
            );
            Some(())
        })
        .await;
    }

    /// Registers a device that is new, for the topic `all`.
    pub(crate) async fn register(&self, device: &str) {
        let document =
            format!(r#"{{"app": "ios", "token": "{device}-token-0123", "topics": ["all"]}}"#);
        let put = |client: &Client, api: &str| {
            let put = client.put(format!("{api}/v1/devices/{device}"));
            put.header("content-type", "application/json")
                .body(document.clone())
        };
        self.ask(put, |was_open, code| {
            code == 201 || (was_open && code == 200)
        })
        .await;
    }

    /// Makes sure that a device is there.
    pub(crate) async fn knows(&self, device: &str) {
        let get = |client: &Client, api: &str| client.get(format!("{api}/v1/devices/{device}"));
        self.ask(get, |_, code| code == 200).await;
    }

    /// Posts an event on the topic `all`. One that is stored already is as good: the answer to an
    /// earlier try may have been lost.
    pub(crate) async fn post(&self, id: &str) {
        let body = format!(r#"{{"id": "{id}", "topics": ["all"], "title": "{id}"}}"#);
        let api = format!("http://{}", self.api().await);
        eventually(id, async || {
            let post = self.client.post(format!("{api}/v1/events"));
            let post = post
                .header("content-type", "application/json")
                .body(body.clone());
            let answer = post.send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
}

/// How many devices got a push of an event, by its title: one whose receipt was lost with a broker is
/// made again.
pub(crate) fn pushes(folder: &Path, title: &str) -> usize {
    let text = std::fs::read_to_string(folder.join("pushes")).unwrap_or_default();
    let pushes = text
        .lines()
        .filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let devices = pushes
        .filter(|it| it["title"] == title)
        .map(|it| it["device"].to_string());
    devices.collect::<BTreeSet<_>>().len()
}
