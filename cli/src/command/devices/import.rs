//! `fanfare devices import`: sends a file, and tells what becomes of its lines while it is sent.

use std::path::Path;

use anyhow::{Context, anyhow};
use futures::stream;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Method};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::lines::Lines;
use super::progress::{Pace, Progress};
use super::server::{self, Server};
use crate::exit::Failure;

/// Read and sent at once.
const CHUNK: usize = 64 * 1024;
/// Failed lines that are told one by one: whoever has more has one mistake in all of them.
const TOLD: u64 = 20;

/// A line of the answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Summary { summary: Summary },
    Progress { progress: Counts },
    Failed { line: u64, id: Option<String> },
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Counts {
    created: u64,
    replaced: u64,
    failed: u64,
    /// Of those that are stored: the token is somebody else's until it is confirmed.
    #[serde(default)]
    pending: u64,
}

#[derive(Deserialize)]
struct Summary {
    lines: u64,
    is_complete: bool,
    ended: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Sends `file` to the import of `server`.
///
/// # Errors
/// If a line was refused or not all of them were taken; what the API refuses as a whole.
pub(super) async fn run(server: &Server, file: &Path, json: bool) -> Result<(), Failure> {
    let (body, progress) = opened(file).await?;
    let request = server.request(Method::POST, "/v1/bulk/devices");
    let request = request
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body);
    let answer = server.send(request).await;
    let heard = match answer {
        Ok(answer) => heard(Lines::of(answer), &progress, json).await,
        Err(failure) => Err(failure),
    };
    progress.end();
    judged(&heard?)
}

/// The file as a body, and how far it is.
async fn opened(file: &Path) -> Result<(Body, Progress), Failure> {
    if file == Path::new("-") {
        let progress = Progress::of_bytes(None);
        return Ok((streamed(tokio::io::stdin(), progress.clone()), progress));
    }
    let shown = file.display();
    let opened = File::open(file).await;
    let opened = opened.with_context(|| format!("{shown} cannot be read"))?;
    let about = opened.metadata().await;
    let about = about.with_context(|| format!("{shown} cannot be read"))?;
    if about.is_dir() {
        return Err(anyhow!("{shown} is a folder").into());
    }
    // Of a pipe nobody knows the size.
    let progress = Progress::of_bytes(about.is_file().then_some(about.len()));
    Ok((streamed(opened, progress.clone()), progress))
}

fn streamed(from: impl AsyncRead + Send + Unpin + 'static, progress: Progress) -> Body {
    let chunks = stream::try_unfold((from, progress), |(mut from, progress)| async {
        let mut chunk = Vec::with_capacity(CHUNK);
        let n = from.read_buf(&mut chunk).await?;
        progress.sent(n);
        std::io::Result::Ok((n > 0).then_some((chunk, (from, progress))))
    });
    Body::wrap_stream(chunks)
}

/// What the API tells, to its summary.
async fn heard(mut lines: Lines, progress: &Progress, json: bool) -> Result<Summary, Failure> {
    let (mut last, mut pace) = (Counts::default(), Pace::start());
    let mut n_told = 0;
    loop {
        let arrived = lines.next().await;
        let arrived = match arrived {
            Ok(Some(arrived)) => arrived,
            Ok(None) => return Err(cut_off(last, anyhow!("it ended before its summary"))),
            Err(error) => return Err(cut_off(last, error.without_url().into())),
        };
        for line in arrived.split(|it| *it == b'\n').filter(|it| !it.is_empty()) {
            if json {
                println!("{}", String::from_utf8_lossy(line));
            }
            match serde_json::from_slice(line) {
                Ok(Told::Summary { summary }) => return Ok(summary),
                Ok(Told::Progress { progress: counts }) => {
                    last = counts;
                    progress.stands(counts.to_string(), &mut pace);
                }
                Ok(Told::Failed { line: n, id }) if !json && n_told <= TOLD => {
                    n_told += 1;
                    progress.say(&if n_told > TOLD {
                        "more lines are refused; --json tells of each".to_owned()
                    } else {
                        failed(n, id, line)
                    });
                }
                // What is told elsewhere, and what a later version tells beside it.
                Ok(Told::Failed { .. }) | Err(_) => {}
            }
        }
    }
}

fn failed(n: u64, id: Option<String>, told: &[u8]) -> String {
    let told: Value = serde_json::from_slice(told).unwrap_or_default();
    let reason = server::reason(&told).unwrap_or_else(|| "refused".to_owned());
    match id {
        Some(id) => format!("line {n} (device {id}): {reason}"),
        None => format!("line {n}: {reason}"),
    }
}

fn cut_off(last: Counts, error: anyhow::Error) -> Failure {
    let text = format!(
        "the answer was cut off after {last}; some more lines may be stored. Send the same file \
         again: it leads to the same devices"
    );
    Failure::Failed(error.context(text))
}

fn judged(summary: &Summary) -> Result<(), Failure> {
    let Summary { lines, counts, .. } = summary;
    if !summary.is_complete {
        let why = match summary.ended.as_str() {
            "too_large" => "the API takes less at once (`[api] max_import_bytes`): cut the file",
            "stopping" => "the API is being stopped: send the same file again",
            "broker_unavailable" => "the broker does not answer: send the same file again",
            "stalled" => "nothing was sent for too long: send the same file again",
            _ => "the connection was cut off: send the same file again",
        };
        return Err(anyhow!("not all was taken, {counts} of {lines} lines seen; {why}").into());
    }
    eprintln!("fanfare: {counts}");
    if counts.failed > 0 {
        return Err(anyhow!("{} lines were refused", counts.failed).into());
    }
    Ok(())
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            created,
            replaced,
            failed,
            pending,
        } = self;
        write!(f, "{created} created, {replaced} replaced, {failed} failed")?;
        if *pending > 0 {
            write!(f, "; {pending} of them wait until their token is confirmed")?;
        }
        Ok(())
    }
}
