//! `fanfare dead-letters list`.

use std::io::Write;

use anyhow::Context;
use fanfare_nats::Broker;
use fanfare_nats::dead::{Entry, Found, Kind, Now, Wanted};
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::{progress, table};
use crate::exit::Failure;

pub(super) async fn run(
    broker: &Broker,
    wanted: &Wanted,
    is_json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let entries = read(broker, wanted).await?;
    if entries.is_empty() && !is_json {
        println!("no dead letter matches");
        return Ok(());
    }
    // All at once: letters of one task lie far apart, and its receipts are read once.
    let known = judged(broker, &entries, now).await?;
    let rows = entries.iter().zip(known);
    let text = if is_json {
        let lines = rows.map(|(entry, now)| Value::Object(object(entry, now)).to_string());
        lines.fold(String::new(), |text, line| text + &line + "\n")
    } else {
        let rows: Vec<_> = rows.map(|(entry, now)| row(entry, now)).collect();
        table::of(HEAD, &rows)
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(()),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

/// All letters that are meant, the oldest first.
pub(super) async fn read(broker: &Broker, wanted: &Wanted) -> anyhow::Result<Vec<Entry>> {
    let bar = progress::bar("reading letters:", 0);
    let mut entries = Vec::new();
    let read = broker
        .dead_letters(wanted, |entry, left| {
            entries.push(entry);
            let n = u64::try_from(entries.len()).unwrap_or(u64::MAX);
            bar.set_length(n + left);
            bar.set_position(n);
        })
        .await;
    bar.finish_and_clear();
    read.context("dead letters cannot be read")?;
    Ok(entries)
}

/// What each letter is by now.
pub(super) async fn judged(
    broker: &Broker,
    entries: &[Entry],
    now: Timestamp,
) -> anyhow::Result<Vec<Now>> {
    let bar = progress::bar("asking the receipts of tasks:", 0);
    let judged = broker.judge_letters(entries, now, |n, all| {
        bar.set_length(all);
        bar.set_position(n);
    });
    let judged = judged.await;
    bar.finish_and_clear();
    Ok(judged?)
}

const HEAD: [&str; 9] = [
    "number", "stored", "reason", "app", "event", "device", "attempts", "now", "error",
];

fn row(entry: &Entry, now: Now) -> [String; 9] {
    let seq = entry.seq.to_string();
    let stored = seconds(entry.stored_at);
    let reason = entry.kind().map_or("?", Kind::as_str).to_owned();
    let now = now.word().to_owned();
    let none = || "-".to_owned();
    match &entry.found {
        Found::Letter(letter) => [
            seq,
            stored,
            reason,
            letter.app.clone(),
            or_none(&letter.event),
            match &letter.task {
                Some(task) if letter.device.is_empty() => {
                    format!("task {} of {}", task.index, 1_u32 << task.log2_n.min(31))
                }
                Some(_) | None => or_none(&letter.device),
            },
            letter.attempts.to_string(),
            now,
            line(&letter.error),
        ],
        Found::Advisory(advisory) => [
            seq,
            stored,
            reason,
            none(),
            none(),
            none(),
            advisory.deliveries.to_string(),
            now,
            said(advisory),
        ],
        Found::Unreadable(error) => [
            seq,
            stored,
            reason,
            none(),
            none(),
            none(),
            none(),
            now,
            line(error),
        ],
    }
}

/// An advisory in a sentence.
pub(super) fn said(advisory: &fanfare_nats::dead::Advisory) -> String {
    format!(
        "the broker gave message {} of {} up: somebody set a limit on consumer {}",
        advisory.stream_seq, advisory.stream, advisory.consumer
    )
}

fn or_none(text: &str) -> String {
    let text = if text.is_empty() { "-" } else { text };
    text.to_owned()
}

/// Text of others in one line, as it can be shown on a terminal.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|it| if it.is_control() { ' ' } else { it })
        .collect()
}

/// A time to the second.
pub(super) fn seconds(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

/// Everything that is known, for machines.
pub(super) fn object(entry: &Entry, now: Now) -> Map<String, Value> {
    let (name, what) = match &entry.found {
        Found::Letter(letter) => ("letter", json!(letter)),
        Found::Advisory(it) => (
            "advisory",
            json!({
                "stream": it.stream,
                "consumer": it.consumer,
                "stream_seq": it.stream_seq,
                "deliveries": it.deliveries,
            }),
        ),
        Found::Unreadable(error) => ("error", json!(error)),
    };
    [
        ("number", json!(entry.seq)),
        ("stored_at", json!(entry.stored_at)),
        (
            "reason",
            json!(entry.kind().map_or("unreadable", Kind::as_str)),
        ),
        ("now", json!(now.word().replace(' ', "_"))),
        (name, what),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}
