//! The folder of a server: one server at a time, its configuration, its log.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::Store;
use crate::process::Child;

/// The name of the server's log in its folder.
pub(super) const LOG: &str = "nats-server.log";

/// How the names of temporary folders begin.
const EPHEMERAL: &str = "fanfare-nats-";

const LOCK: &str = "lock";

/// What tells a single server's folder: where JetStream keeps its streams.
const JETSTREAM: &str = "jetstream";

/// What tells a cluster's folder: the ports of its servers.
pub(super) const CLUSTER: &str = "cluster.json";
const CONFIGURATION: &str = "nats-server.conf";

/// A server whose fanfare was killed is ending, which takes a moment; a lock is tried this long.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How much of the log's end is read for its last lines.
const LOG_END_BYTES: u64 = 4096;
const LOG_END_LINES: usize = 12;

/// Why a folder cannot hold a server's data.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another server uses it.
    #[error(
        "the data folder {} is in use by nats-server{}; stop that one, or choose another folder with --data-dir",
        folder.display(), holder.map_or_else(String::new, |pid| format!(" (process {pid})"))
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The other server's process id, if it is known.
        holder: Option<i32>,
    },
    /// It holds the data of a single server, and is meant for a cluster.
    #[error(
        "the data folder {} belongs to a single nats-server, and a cluster cannot take it over; \
         choose another one with --data-dir, or leave --cluster out",
        folder.display()
    )]
    OfOneServer {
        /// The folder.
        folder: PathBuf,
    },
    /// It holds the data of a cluster, and is meant for a single server.
    #[error(
        "the data folder {} belongs to a cluster of nats-servers, and a single one cannot take it \
         over; start it with --cluster 3, or choose another folder with --data-dir",
        folder.display()
    )]
    OfCluster {
        /// The folder.
        folder: PathBuf,
    },
    /// It cannot be read or written.
    #[error("the data folder {} cannot be used", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

/// A folder that is ours.
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
    /// Removes a temporary folder; declared last, so that everything in it is closed.
    _ephemeral: Option<tempfile::TempDir>,
}

/// Whose a folder is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Server,
    Cluster,
}

impl Folder {
    /// Makes the folder if it is absent, and locks it.
    pub(super) async fn take(store: &Store, owner: Owner) -> Result<Self, StoreError> {
        let (path, ephemeral) = match store {
            Store::Folder(path) => (path.clone(), None),
            Store::Ephemeral => {
                let parent = std::env::temp_dir();
                sweep(&parent);
                let folder = tempfile::Builder::new()
                    .prefix(EPHEMERAL)
                    .tempdir_in(&parent);
                let folder = folder.map_err(|cause| StoreError::Unusable {
                    folder: parent,
                    cause,
                })?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let unusable = |cause| StoreError::Unusable {
            folder: path.clone(),
            cause,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(unusable)?;
        // The server wants to know its folder whatever the current one is.
        let path = path.canonicalize().map_err(unusable)?;
        let lock = lock(&path).await?;
        match owner {
            Owner::Server if path.join(CLUSTER).exists() => {
                return Err(StoreError::OfCluster { folder: path });
            }
            Owner::Cluster if path.join(JETSTREAM).exists() => {
                return Err(StoreError::OfOneServer { folder: path });
            }
            Owner::Server | Owner::Cluster => {}
        }
        Ok(Self {
            path,
            lock,
            _ephemeral: ephemeral,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lock for the server to hold as well: the folder is free when both of us are gone, so a
    /// server that is still ending after our death is not joined by a second one.
    pub(super) fn share_lock(&self) -> Result<File, StoreError> {
        self.lock.try_clone().map_err(|cause| self.unusable(cause))
    }

    /// Writes who holds the lock, for the message to the next one. It is a courtesy, so failures
    /// are passed over.
    pub(super) fn write_holder(&self, pid: i32) {
        let mut lock = &self.lock;
        let _courtesy = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{pid}"));
    }

    /// Writes the configuration, readable by us alone: it may hold a password. Old ports files go.
    pub(super) fn write_configuration(&self, text: &str) -> Result<PathBuf, StoreError> {
        let path = self.path.join(CONFIGURATION);
        let write = || {
            for file in fs::read_dir(&self.path)?.flatten() {
                if file.path().extension().is_some_and(|it| it == "ports") {
                    fs::remove_file(file.path())?;
                }
            }
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let mut options = OpenOptions::new();
            options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?
                .write_all(text.as_bytes())
        };
        write().map_err(|cause| self.unusable(cause))?;
        Ok(path)
    }

    /// The file in which the server tells its ports: `<name of the binary>_<pid>.ports`.
    pub(super) fn ports_file(&self, pid: i32) -> Option<PathBuf> {
        let ending = format!("_{pid}.ports");
        let files = fs::read_dir(&self.path).ok()?.flatten();
        let mut files = files.filter(|it| it.file_name().to_string_lossy().ends_with(&ending));
        files.next().map(|it| it.path())
    }

    /// The end of the server's log, and what it printed before it had one.
    pub(super) fn last_lines(&self, child: &Child) -> Vec<String> {
        let mut lines = child.last_lines();
        let log = end_of(&self.path.join(LOG)).unwrap_or_default();
        let log: Vec<_> = log.lines().map(str::to_owned).collect();
        lines.extend(log.into_iter().rev().take(LOG_END_LINES).rev());
        lines
    }

    pub(super) fn unusable(&self, cause: io::Error) -> StoreError {
        StoreError::Unusable {
            folder: self.path.clone(),
            cause,
        }
    }
}

async fn lock(folder: &Path) -> Result<File, StoreError> {
    let unusable = |cause| StoreError::Unusable {
        folder: folder.to_owned(),
        cause,
    };
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    let mut file = options.open(folder.join(LOCK)).map_err(unusable)?;
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
            Err(TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder = file.read_to_string(&mut text).ok();
                let holder = holder.and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Taken {
                    folder: folder.to_owned(),
                    holder,
                });
            }
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

/// Removes the temporary folders of those who were killed before they could. A folder is theirs if
/// a server was started in it, which its lock tells, and nobody holds the lock any more.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_candidate = entry.file_name().to_string_lossy().starts_with(EPHEMERAL);
        let Some(lock) = is_candidate
            .then(|| File::open(entry.path().join(LOCK)).ok())
            .flatten()
        else {
            continue;
        };
        let was_used = lock.metadata().is_ok_and(|it| it.len() > 0);
        if was_used && lock.try_lock().is_ok() {
            // Somebody else's folder cannot be removed, and that is right.
            let _swept = fs::remove_dir_all(entry.path());
        }
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_END_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_of_the_dead_are_swept_and_those_of_the_living_stay() {
        let parent = tempfile::tempdir().unwrap();
        let made = |name: &str, text: &str| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(LOCK), text).unwrap();
            File::open(folder.join(LOCK)).unwrap()
        };
        let dead = made("fanfare-nats-dead", "1");
        let living = made("fanfare-nats-living", "2");
        let starting = made("fanfare-nats-starting", "");
        let other = made("other", "3");
        living.lock().unwrap();
        drop((dead, starting, other));
        sweep(parent.path());
        let mut left: Vec<_> = fs::read_dir(parent.path())
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(
            left,
            ["fanfare-nats-living", "fanfare-nats-starting", "other"]
        );
    }
}
