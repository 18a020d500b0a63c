//! The folder where a downloaded nats-server is kept.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Obtained, Origin, Step, examine};
use crate::{Environment, Version};

/// How often a taken lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// There is no folder that a nats-server could be kept in.
#[derive(Debug, thiserror::Error)]
#[error(
    "no folder to keep nats-server in; tried {tried:?}; set XDG_DATA_HOME or TMPDIR to a writable one"
)]
pub struct CacheError {
    tried: Vec<PathBuf>,
    #[source]
    cause: io::Error,
}

/// A writable folder of fanfare's own.
pub(super) struct Folder {
    path: PathBuf,
}

/// The folders in question: the user's data folder, then (no home, or a read-only one) a temporary
/// one.
fn candidates(environment: &Environment) -> Vec<PathBuf> {
    let data = environment.folder("XDG_DATA_HOME");
    let data = data.or_else(|| environment.folder("HOME").map(|it| it.join(".local/share")));
    let temporary = environment
        .folder("TMPDIR")
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    let own_name = format!("fanfare-{}", rustix::process::getuid().as_raw());
    data.map(|it| it.join("fanfare"))
        .into_iter()
        .chain([temporary.join(own_name)])
        .collect()
}

/// The name says which binary it is, so that another release of fanfare does not take it for its
/// own.
fn file_name(digest: &str) -> String {
    format!(
        "nats-server-{}-{}",
        Version::PINNED,
        digest.get(..12).unwrap_or(digest)
    )
}

/// Looks for a binary that was downloaded earlier.
pub(super) async fn find(environment: &Environment, digest: &str) -> Option<Obtained> {
    for folder in candidates(environment).into_iter().filter(|it| is_ours(it)) {
        let path = folder.join(file_name(digest));
        if let Ok(version) = examine::examine(&path).await {
            return Some(Obtained {
                path,
                version,
                origin: Origin::Cached,
            });
        }
    }
    None
}

/// A folder in a place open to everyone may have been made by somebody else, with a program in it.
fn is_ours(folder: &Path) -> bool {
    let own = rustix::process::getuid().as_raw();
    fs::metadata(folder)
        .is_ok_and(|it| it.is_dir() && it.uid() == own && it.permissions().mode() & 0o022 == 0)
}

impl Folder {
    /// Takes the first candidate that can be written to.
    pub(super) fn choose(environment: &Environment) -> Result<Self, CacheError> {
        let tried = candidates(environment);
        let mut last = io::Error::other("there is no candidate");
        for path in &tried {
            match Self::writable(path) {
                Ok(()) => return Ok(Self { path: path.clone() }),
                Err(cause) => last = cause,
            }
        }
        Err(CacheError { tried, cause: last })
    }

    fn writable(path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if !is_ours(path) {
            return Err(io::Error::other(
                "it belongs to somebody else, or others may write to it",
            ));
        }
        tempfile::NamedTempFile::new_in(path).map(drop)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until nobody else downloads into this folder. The lock ends with the returned file.
    pub(super) async fn lock(
        &self,
        report: &(dyn Fn(&Step) + Send + Sync),
    ) -> Result<File, CacheError> {
        let failed = |cause| CacheError {
            tried: vec![self.path.clone()],
            cause,
        };
        let file = File::create(self.path.join("download.lock")).map_err(failed)?;
        let mut has_told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(cause)) => return Err(failed(cause)),
                Err(TryLockError::WouldBlock) if has_told => {}
                Err(TryLockError::WouldBlock) => {
                    report(&Step::Waiting {
                        into: self.path.clone(),
                    });
                    has_told = true;
                }
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }

    /// Keeps a verified binary: complete under its name, or not at all.
    pub(super) fn keep(&self, digest: &str, binary: &[u8]) -> Result<PathBuf, CacheError> {
        let path = self.path.join(file_name(digest));
        let store = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.path)?;
            file.write_all(binary)?;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(0o755))?;
            file.as_file().sync_all()?;
            // Closed for writing before it gets its name: a file open for writing cannot be run
            // (ETXTBSY).
            file.into_temp_path().persist(&path)?;
            Ok(())
        };
        store().map_err(|cause| CacheError {
            tried: vec![self.path.clone()],
            cause,
        })?;
        Ok(path)
    }
}
