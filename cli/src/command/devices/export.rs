//! `fanfare devices export`: every device into a file, which is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use reqwest::Method;

use super::lines::Lines;
use super::progress::{Pace, Progress};
use super::server::Server;
use crate::exit::Failure;

/// Writes what `server` exports to `output`, or to standard output.
///
/// # Errors
/// If the answer is cut off, or it cannot be written; a file that was there before is still there.
pub(super) async fn run(
    server: &Server,
    output: Option<&Path>,
    tokens: bool,
) -> Result<(), Failure> {
    let path = if tokens {
        "/v1/bulk/devices?tokens=true"
    } else {
        "/v1/bulk/devices"
    };
    let answer = server.send(server.request(Method::GET, path)).await?;
    let progress = Progress::of_devices();
    let n = match output {
        Some(file) => to_file(Lines::of(answer), file, &progress).await,
        None => copied(Lines::of(answer), &mut io::stdout().lock(), &progress).await,
    };
    progress.end();
    let n = n?;
    eprintln!("fanfare: devices exported: {n}");
    Ok(())
}

async fn to_file(lines: Lines, file: &Path, progress: &Progress) -> anyhow::Result<u64> {
    let part = PathBuf::from(format!("{}.part", file.display()));
    let of_part = || format!("{} cannot be written", part.display());
    let mut out = alone(&part).with_context(of_part)?;
    let copied = copied(lines, &mut out, progress).await;
    let written = copied.and_then(|n| {
        out.sync_all().with_context(of_part)?;
        fs::rename(&part, file).with_context(|| format!("{} cannot be put", file.display()))?;
        Ok(n)
    });
    if written.is_err() {
        // What is not whole is of no use; the reason is told above.
        let _removed = fs::remove_file(&part);
    }
    written
}

/// A new file that nobody else reads: it may hold push tokens.
fn alone(file: &Path) -> io::Result<File> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(file)
}

async fn copied(
    mut lines: Lines,
    out: &mut impl Write,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let (mut n, mut pace) = (0_u64, Pace::start());
    loop {
        let arrived = lines.next().await.map_err(reqwest::Error::without_url);
        let arrived = arrived.with_context(|| {
            format!("the answer was cut off after {n} devices, so it is not all of them")
        })?;
        let Some(arrived) = arrived else {
            out.flush().context("the output cannot be written")?;
            return Ok(n);
        };
        out.write_all(&arrived)
            .context("the output cannot be written")?;
        let devices = arrived.split(|it| *it == b'\n').filter(|it| !it.is_empty());
        n += u64::try_from(devices.count()).unwrap_or(0);
        progress.stands(format!("devices exported: {n}"), &mut pace);
    }
}
