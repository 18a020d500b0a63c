//! The real executable, started, heard and ended.

mod executable;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use executable::executable;
use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};
use serde_json::Value;

use crate::eventually::eventually;

/// A process that drains ends well before; its own grace is 25 s.
const LIMIT: Duration = Duration::from_secs(40);

/// Between two looks at a process that starts.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running `fanfare` and what it printed. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

/// How a process ended, and everything it printed.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` after a signal that it did not handle.
    pub code: Option<i32>,
    /// Its lines, both streams.
    pub printed: String,
}

/// The executable, free of what the person who runs the tests has configured, started in `folder`.
pub fn launch(folder: &Path) -> Launch {
    without_keys(launch_of(executable(), folder))
}

/// Its API asks for no keys until there is one. Not for executables of other versions, which may not
/// know the word.
pub fn without_keys(launch: Launch) -> Launch {
    launch.env("FANFARE__API__KEYS", "until_first")
}

/// As [`launch`], of another executable.
pub fn launch_of(executable: &Path, folder: &Path) -> Launch {
    free(Launch::new(executable), folder)
}

/// What is about to be started, free of what the person who runs the tests has configured.
pub fn free(launch: Launch, folder: &Path) -> Launch {
    let mut launch = launch
        .folder(folder)
        .env("FANFARE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("FANFARE__API__LISTEN", "127.0.0.1:0")
        .env("FANFARE__LOG__FORMAT", "json");
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

/// Runs `fanfare` with these arguments to its end.
///
/// # Panics
/// If it cannot be started or does not end.
pub async fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let process = Process::start("fanfare", launch(folder).args(arguments.iter().copied()));
    process.ended().await
}

impl Process {
    /// Starts it; `name` is for messages.
    ///
    /// # Panics
    /// If the operating system refuses.
    pub fn start(name: &str, launch: Launch) -> Self {
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let record = Arc::clone(&printed);
        let listen = move |line: &Line| {
            let mut lines = record.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line.text().to_owned());
        };
        let launch = launch.output(Output::Lines(Arc::new(listen)));
        let child = match launch.start() {
            Ok(child) => child,
            Err(error) => panic!("{name} cannot be started: {error}"),
        };
        Self {
            name: name.to_owned(),
            child,
            printed,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it printed so far.
    pub fn lines(&self) -> Vec<String> {
        self.printed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A field of the first log line with this message.
    pub fn logged(&self, message: &str, field: &str) -> Option<String> {
        let log = self.log();
        let line = log.iter().find(|it| it["message"] == message)?;
        line[field].as_str().map(str::to_owned)
    }

    /// Log lines of level `WARN` or `ERROR`.
    pub fn warnings(&self) -> Vec<String> {
        let is_warning = |it: &&Value| it["level"] == "WARN" || it["level"] == "ERROR";
        self.log()
            .iter()
            .filter(is_warning)
            .map(ToString::to_string)
            .collect()
    }

    fn log(&self) -> Vec<Value> {
        self.lines()
            .iter()
            .filter_map(|it| serde_json::from_str(it).ok())
            .collect()
    }

    /// Waits for a log line and returns one of its fields, as an address.
    pub async fn address(&self, message: &str, field: &str) -> SocketAddr {
        eventually("its address", async || {
            self.must_run();
            self.logged(message, field)
                .and_then(|it| it.parse().ok())
                .ok_or("no such line")
        })
        .await
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn ready(&self) {
        let admin = self.address("starting", "admin").await;
        let client = crate::api::client();
        eventually("ready", async || {
            self.must_run();
            let answer = client.get(format!("http://{admin}/readyz")).send().await;
            match answer {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.text().await.unwrap_or_default()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Waits until it says that it is ready (`true`) or has ended (`false`).
    pub async fn ready_or_ended(&self) -> bool {
        let client = crate::api::client();
        let mut admin = None;
        loop {
            if self.child.status().is_some() {
                return false;
            }
            admin = admin.or_else(|| self.logged("starting", "admin"));
            if let Some(admin) = &admin {
                let answer = client.get(format!("http://{admin}/readyz")).send().await;
                if answer.is_ok_and(|it| it.status().is_success()) {
                    return true;
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What it says of its readiness now.
    pub async fn unready(&self) -> String {
        let Some(admin) = self.logged("starting", "admin") else {
            return "it did not start".to_owned();
        };
        let request = crate::api::client().get(format!("http://{admin}/readyz"));
        match request.timeout(Duration::from_secs(2)).send().await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    /// Waits until it has ended, however.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.child.ended()
    }

    /// Its metrics, as text.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn metrics(&self) -> String {
        let admin = self.address("starting", "admin").await;
        let answer = crate::api::client()
            .get(format!("http://{admin}/metrics"))
            .send()
            .await;
        answer.unwrap().text().await.unwrap()
    }

    /// The value of a metric without labels, or the sum over all its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        sum(&self.metrics().await, name)
    }

    #[track_caller]
    fn must_run(&self) {
        if let Some(status) = self.child.status() {
            panic!("{} ended ({status}): {:#?}", self.name, self.lines());
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it has ended already.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = self.child.signal(signal) {
            panic!("{}: {error}: {:#?}", self.name, self.lines());
        }
    }

    /// Sends a signal; `false` if it has ended already.
    pub fn try_signal(&self, signal: Signal) -> bool {
        self.child.signal(signal).is_ok()
    }

    /// As [`Process::metric`]; `None` if it does not answer at once.
    pub async fn try_metric(&self, name: &str) -> Option<f64> {
        let admin = self.logged("starting", "admin")?;
        let request = crate::api::client()
            .get(format!("http://{admin}/metrics"))
            .timeout(Duration::from_secs(2));
        let text = request.send().await.ok()?.text().await.ok()?;
        Some(sum(&text, name))
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// If it had ended before.
    pub async fn kill(self) {
        self.signal(Signal::Kill);
        let _killed = self.child.ended().await;
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn ended(self) -> Ended {
        let Some(status) = self.child.wait(LIMIT).await else {
            panic!(
                "{} still runs after {LIMIT:?}: {:#?}",
                self.name,
                self.lines()
            );
        };
        Ended {
            code: status.code(),
            printed: self.lines().join("\n"),
        }
    }

    /// Asks it to end (SIGTERM) and checks that it drained: exit code 0, and no warnings but those
    /// that contain one of `announced`.
    ///
    /// # Panics
    /// If it did not.
    pub async fn drain(self, announced: &[&str]) {
        self.signal(Signal::Terminate);
        let name = self.name.clone();
        let Some(status) = self.child.wait(LIMIT).await else {
            panic!("{name} does not drain: {:#?}", self.lines());
        };
        assert_eq!(status.code(), Some(0), "{name}: {:#?}", self.lines());
        let warnings = self.warnings();
        let is_new = |it: &&String| !announced.iter().any(|announced| it.contains(announced));
        let unannounced: Vec<_> = warnings.iter().filter(is_new).collect();
        assert!(unannounced.is_empty(), "{name}: {unannounced:#?}");
    }
}

/// A metric over all its labels.
fn sum(text: &str, name: &str) -> f64 {
    let is_it = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    };
    let values = text
        .lines()
        .filter(is_it)
        .filter_map(|it| it.rsplit(' ').next());
    values.filter_map(|it| it.parse::<f64>().ok()).sum()
}
