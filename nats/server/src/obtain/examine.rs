//! Whether a binary is a nats-server that fanfare can use, and where such binaries are installed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::{Environment, Version};

/// A binary that does not say its version within this time is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Debian puts nats-server into an sbin folder, which is on few people's PATH; the last two are
/// Homebrew's.
pub(super) const SYSTEM_FOLDERS: [&str; 5] = [
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
    "/opt/homebrew/bin",
    "/home/linuxbrew/.linuxbrew/bin",
];

/// Why a binary cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unsuitable {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It is too old.
    #[error(
        "version {0} is too old: fanfare needs {minimum} or newer (atomic batches, message schedules, per-message TTL); \
         Debian's package is older",
        minimum = Version::MINIMUM
    )]
    TooOld(Version),
    /// It has no JetStream.
    #[error("version {0} was built without JetStream")]
    NoJetStream(Version),
    /// It does not behave like a nats-server.
    #[error("it is no nats-server: {0}")]
    NotAServer(String),
    /// It cannot be run.
    #[error("it cannot be run: {0}")]
    CannotRun(std::io::Error),
}

/// The paths where an installed nats-server may be, in the order of preference; each may be absent.
pub(super) fn places(environment: &Environment, system: &[PathBuf]) -> Vec<PathBuf> {
    let path = environment
        .get("PATH")
        .map(std::env::split_paths)
        .into_iter()
        .flatten();
    let active = environment.folder("VIRTUAL_ENV").map(|it| it.join("bin"));
    let mut places = Vec::new();
    // A relative folder on PATH means whatever folder we happen to be in: not for a program we run
    // unasked.
    for folder in path
        .filter(|it| it.is_absolute())
        .chain(system.iter().cloned())
        .chain(active)
    {
        let place = folder.join("nats-server");
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Asks a binary what it is.
pub(super) async fn examine(path: &Path) -> Result<Version, Unsuitable> {
    if !path.is_file() {
        return Err(Unsuitable::Missing);
    }
    let said = run(path, "--version").await?;
    let is_server = said.contains("nats-server");
    let Some(version) = Version::parse(&said).filter(|_| is_server) else {
        let said = said
            .lines()
            .next()
            .unwrap_or("it says nothing to --version");
        return Err(Unsuitable::NotAServer(said.chars().take(80).collect()));
    };
    if version < Version::MINIMUM {
        return Err(Unsuitable::TooOld(version));
    }
    if !run(path, "--help").await?.contains("--jetstream") {
        return Err(Unsuitable::NoJetStream(version));
    }
    Ok(version)
}

async fn run(path: &Path, argument: &str) -> Result<String, Unsuitable> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let output = loop {
        let running = tokio::process::Command::new(path)
            .arg(argument)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout_at(deadline, running)
            .await
            .map_err(|_| Unsuitable::NotAServer(format!("no answer to {argument}")))?;
        match output {
            // Another thread forked while we wrote this file, and has not reached its exec yet.
            Err(busy) if busy.kind() == ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => break other.map_err(Unsuitable::CannotRun)?,
        }
    };
    let (out, err) = (&output.stdout, &output.stderr);
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    ))
}

#[cfg(test)]
mod tests {
    use super::{Environment, places};
    use std::path::{Path, PathBuf};

    #[test]
    fn path_comes_first_then_system_folders_then_the_virtual_environment() {
        let environment = [("PATH", "/a:relative:/usr/sbin"), ("VIRTUAL_ENV", "/venv")];
        let places = places(
            &environment.into_iter().collect::<Environment>(),
            &["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from),
        );
        assert_eq!(places.first().unwrap(), Path::new("/a/nats-server"));
        assert_eq!(places.last().unwrap(), Path::new("/venv/bin/nats-server"));
        assert_eq!(
            places
                .iter()
                .filter(|it| it.starts_with("/usr/sbin"))
                .count(),
            1
        );
        assert!(places.iter().all(|it| it.is_absolute()));
    }
}
