//! One process of the demo: started, heard, ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use fanfare_nats_server::Environment;
use fanfare_nats_server::process::{Child, Launch, Line, Output, Signal};
use serde_json::Value;

/// Longer than anything takes that is going to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what a process has said.
const LOOK: Duration = Duration::from_millis(10);
/// A role drains within 10 s.
const GRACE: Duration = Duration::from_secs(12);

/// What a process has said so far.
#[derive(Default)]
struct Heard {
    /// Its lines on standard output.
    out: String,
    /// Log lines with an address, by message.
    addresses: BTreeMap<String, SocketAddr>,
    /// Log lines of level WARN or ERROR.
    warnings: Vec<String>,
    /// Whether WARN is what is to be expected now.
    expects_warnings: bool,
    /// How many there were then.
    n_expected: usize,
}

/// A running process of the demo. Dropping it kills it.
pub(super) struct Actor {
    name: String,
    child: Child,
    heard: Arc<Mutex<Heard>>,
}

/// The executable itself, free of what the person who runs the demo has configured.
pub(super) fn launch(environment: &Environment) -> anyhow::Result<Launch> {
    let program = std::env::current_exe().context("the executable cannot find itself")?;
    let is_ours = |name: &str| {
        name.starts_with("FANFARE_") || name.starts_with("NATS_") || name == "RUST_LOG"
    };
    let names = environment.iter().map(|(name, _)| name.to_owned());
    let launch = names
        .filter(|name| is_ours(name))
        .fold(Launch::new(program), Launch::env_remove);
    Ok(launch)
}

impl Actor {
    /// Starts a process; its output goes to `<name>.log` in `folder`.
    pub(super) fn start(name: &str, launch: Launch, folder: &Path) -> anyhow::Result<Self> {
        let path = log_file(folder, name);
        let file = File::create(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let file = Mutex::new(file);
        let heard = Arc::<Mutex<Heard>>::default();
        let hearing = Arc::clone(&heard);
        let listen = move |line: &Line| {
            // A full disk costs the log, not the demo.
            let _written = writeln!(locked(&file), "{}", line.text());
            locked(&hearing).hear(line);
        };
        let launch = launch
            .folder(folder)
            .output(Output::Lines(Arc::new(listen)));
        let child = launch.start();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        let name = name.to_owned();
        Ok(Self { name, child, heard })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// Whether it runs.
    pub(super) fn is_running(&self) -> bool {
        self.child.status().is_none()
    }

    /// Looks until `look` finds something, the process ends, or patience does.
    async fn until<T>(&self, what: &str, look: impl Fn(&Heard) -> Option<T>) -> anyhow::Result<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(&locked(&self.heard)) {
                return Ok(found);
            }
            let said = || self.child.last_lines().join("\n");
            if let Some(status) = self.child.status() {
                bail!("{} ended ({status}); it said:\n{}", self.name, said());
            }
            if tokio::time::Instant::now() > deadline {
                bail!(
                    "{}: no {what} after {PATIENCE:?}; it said:\n{}",
                    self.name,
                    said()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Standard output as JSON, once it is whole.
    pub(super) async fn printed<T: serde::de::DeserializeOwned>(&self) -> anyhow::Result<T> {
        let whole = |heard: &Heard| serde_json::from_str(&heard.out).ok();
        self.until("whereabouts", whole).await
    }

    /// The address in the log line with this message.
    pub(super) async fn address(&self, message: &str) -> anyhow::Result<SocketAddr> {
        let said = |heard: &Heard| heard.addresses.get(message).copied();
        self.until("address", said).await
    }

    /// Where its probes and metrics are.
    pub(super) async fn admin(&self) -> anyhow::Result<SocketAddr> {
        self.address("starting").await
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&self, client: &reqwest::Client) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.admin().await?);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let last = match client.get(&url).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => answer.text().await.unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            if !self.is_running() || tokio::time::Instant::now() > deadline {
                bail!("{} is not ready: {last}", self.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        self.child.signal(Signal::Kill)?;
        Ok(())
    }

    /// Waits until it is gone.
    pub(super) async fn gone(&self) {
        self.child.ended().await;
    }

    /// Asks it to end and waits; says what was wrong with that.
    pub(super) async fn stop(&self) -> Option<String> {
        if !self.is_running() {
            return None;
        }
        let (status, was_killed) = self.child.stop(GRACE).await;
        if was_killed {
            return Some(format!("{}: did not drain in {GRACE:?}", self.name));
        }
        (!status.success()).then(|| format!("{}: ended with {status}", self.name))
    }

    /// Says whether warnings are to be expected from now on.
    pub(super) fn expect_warnings(&self, are_expected: bool) {
        locked(&self.heard).expects_warnings = are_expected;
    }

    /// Warnings that were expected.
    pub(super) fn n_expected_warnings(&self) -> usize {
        locked(&self.heard).n_expected
    }

    /// What it logged at WARN or ERROR, and was not to be expected.
    pub(super) fn warnings(&self) -> Vec<String> {
        let heard = locked(&self.heard);
        let named = heard.warnings.iter();
        named.map(|it| format!("{}: {it}", self.name)).collect()
    }
}

/// Where the output of a process goes.
pub(super) fn log_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

impl Heard {
    fn hear(&mut self, line: &Line) {
        let text = match line {
            Line::Out(text) => {
                self.out.push_str(text);
                self.out.push('\n');
                return;
            }
            Line::Err(text) => text,
        };
        let Ok(log) = serde_json::from_str::<Value>(text) else {
            // Not a log line: a panic, or the reason of an exit.
            self.warnings.push(text.clone());
            return;
        };
        let field = |name: &str| log.get(name).and_then(Value::as_str);
        let address = field("admin")
            .or(field("address"))
            .and_then(|it| it.parse().ok());
        if let (Some(message), Some(address)) = (field("message"), address) {
            self.addresses.insert(message.to_owned(), address);
        }
        if field("level") == Some("WARN") && self.expects_warnings {
            self.n_expected += 1;
        } else if matches!(field("level"), Some("WARN" | "ERROR")) {
            self.warnings.push(text.clone());
        }
    }
}

/// No invariant spans a panic here, so a poisoned lock is as good as another.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
