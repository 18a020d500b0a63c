//! A nats-server of our own: started, awaited, watched, ended.

mod cluster;
mod configuration;
mod host;
mod options;
mod ports;
mod ready;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub use cluster::Cluster;
pub use options::{Options, Route, Store, SyncInterval};
pub use ports::free as free_ports;
pub use store::StoreError;

use crate::process::{Child, Launch, Signal, SignalError};
use ready::Addresses;

/// How long a server may take to write down what it has, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The binary cannot be run.
    #[error("cannot run {}", binary.display())]
    Run {
        /// The binary.
        binary: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("nats-server ended before it was ready ({status}); it said:\n{}", said.join("\n"))]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        said: Vec<String>,
    },
    /// It is not ready after [`Options::ready_within`]. It has been killed.
    #[error("nats-server is not ready after {limit:?}: {seen}; it said:\n{}", said.join("\n"))]
    NotReady {
        /// The limit.
        limit: Duration,
        /// What was seen last.
        seen: String,
        /// The last lines of its log.
        said: Vec<String>,
    },
}

impl StartError {
    /// Whether a port was taken by somebody else: with other ports it may work.
    pub fn is_address_in_use(&self) -> bool {
        match self {
            // The last fatal word: the log may tell of earlier starts as well.
            Self::Ended { said, .. } => said
                .iter()
                .rfind(|it| it.contains("[FTL]"))
                .is_some_and(|it| it.contains("address already in use")),
            Self::Store(_) | Self::Run { .. } | Self::NotReady { .. } => false,
        }
    }
}

/// How a server ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Its exit status. After our request any status is an orderly end (2.9.10 exits with 1, 2.15
    /// with 0).
    pub status: ExitStatus,
    /// It did not end within 10 s and was killed.
    pub was_killed: bool,
}

/// A running nats-server. Dropping it kills it; [`Server::stop`] ends it in order.
#[must_use = "a dropped server is killed"]
pub struct Server {
    binary: PathBuf,
    options: Options,
    addresses: Addresses,
    advice: Vec<String>,
    // Declared before the store: killed before its folder goes.
    child: Child,
    store: store::Folder,
}

impl Server {
    /// Starts `binary` and waits until its JetStream is ready (with [`Options::route`]: until the
    /// server itself is; a cluster is ready when enough of its servers are).
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running. Dropping this future kills what was started.
    pub async fn start(binary: &Path, options: Options) -> Result<Self, StartError> {
        let store = store::Folder::take(&options.store, store::Owner::Server).await?;
        let advice = host::advice(store.path());
        let (child, addresses) = launch(binary, &options, &store).await?;
        Ok(Self {
            binary: binary.to_owned(),
            options,
            addresses,
            advice,
            child,
            store,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// Whether its process runs, ready or not.
    pub fn is_running(&self) -> bool {
        self.child.status().is_none()
    }

    /// Where clients connect: `nats://127.0.0.1:<port>`, without credentials.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addresses.client)
    }

    /// Where its monitoring answers: `http://127.0.0.1:<port>`.
    pub fn monitoring_url(&self) -> String {
        format!("http://{}", self.addresses.monitoring)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.pid()
    }

    /// The folder with its data, log and configuration.
    pub fn store_dir(&self) -> &Path {
        self.store.path()
    }

    /// What someone should do about this machine: little free disk, few file descriptors. Usually
    /// empty.
    pub fn advice(&self) -> &[String] {
        &self.advice
    }

    /// Waits until it has ended, for whatever reason. Dropping the future has no effect.
    pub fn exited(&self) -> impl Future<Output = ExitStatus> + Send + use<> {
        self.child.ended()
    }

    /// The last lines of its log.
    pub fn last_lines(&self) -> Vec<String> {
        self.store.last_lines(&self.child)
    }

    /// Asks it to end, waits 10 s, kills it. It stays restartable.
    ///
    /// Dropping this future leaves it running, perhaps with the request to end.
    pub async fn stop(&self) -> Stopped {
        let (status, was_killed) = self.child.stop(STOP_LIMIT).await;
        Stopped { status, was_killed }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// If it has already ended.
    pub async fn kill9(&self) -> Result<(), SignalError> {
        self.child.signal(Signal::Kill)?;
        self.child.ended().await;
        Ok(())
    }

    /// Freezes it (SIGSTOP): its connections stay and nothing answers.
    ///
    /// # Errors
    /// If it has ended.
    pub fn freeze(&self) -> Result<(), SignalError> {
        self.child.signal(Signal::Stop)
    }

    /// Thaws it (SIGCONT).
    ///
    /// # Errors
    /// If it has ended.
    pub fn thaw(&self) -> Result<(), SignalError> {
        self.child.signal(Signal::Continue)
    }

    /// Starts it again, on the same ports and the same store; stops it first if it still runs.
    ///
    /// # Errors
    /// [`StartError`]; the former process is gone then, and this may be called again.
    pub async fn restart(&mut self) -> Result<(), StartError> {
        self.launch_again().await?;
        self.await_ready().await
    }

    /// Starts the process again without waiting until it is ready: servers of a cluster wait for
    /// one another.
    pub(crate) async fn launch_again(&mut self) -> Result<(), StartError> {
        self.stop().await;
        self.options.port = Some(self.addresses.client.port());
        self.options.monitoring_port = Some(self.addresses.monitoring.port());
        (self.child, self.addresses) = launch(&self.binary, &self.options, &self.store).await?;
        Ok(())
    }

    async fn await_ready(&self) -> Result<(), StartError> {
        let question = ready::Question::JetStream;
        ready::healthy(
            &self.child,
            &self.store,
            &self.options,
            self.addresses,
            question,
        )
        .await
    }
}

/// Starts the process and waits until it listens, and is ready unless it has to wait for others.
async fn launch(
    binary: &Path,
    options: &Options,
    store: &store::Folder,
) -> Result<(Child, Addresses), StartError> {
    let configuration = configuration::render(options, store.path(), host::limits(store.path()));
    let file = store.write_configuration(&configuration)?;
    let child = Launch::new(binary)
        .arg("-c")
        .arg(&file)
        .on_our_death(Signal::Terminate)
        .share(store.share_lock()?)
        .start()
        .map_err(|cause| StartError::Run {
            binary: binary.to_owned(),
            cause,
        })?;
    store.write_holder(child.pid());
    let addresses = ready::listening(&child, store, options).await?;
    let question = match options.route {
        None => ready::Question::JetStream,
        Some(_) => ready::Question::Server,
    };
    ready::healthy(&child, store, options, addresses, question).await?;
    Ok((child, addresses))
}
