//! `fanfare dead-letters show`.

use fanfare_nats::Broker;
use fanfare_nats::dead::{DeadLetter, Entry, Found, Kind, Now};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::list::{judged, line, object, said};
use crate::exit::Failure;

pub(super) async fn run(
    broker: &Broker,
    entry: &Entry,
    is_json: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let known = judged(broker, std::slice::from_ref(entry), now).await?;
    let fate = known.first().copied().unwrap_or(Now::NotSendable);
    if is_json {
        let mut object = object(entry, fate);
        if let Some(text) = entry.letter().and_then(text) {
            object.insert("payload_text".to_owned(), json!(text));
        }
        println!("{}", Value::Object(object));
        return Ok(());
    }
    for (name, value) in lines(entry, fate) {
        println!("{name:12}  {}", line(&value));
    }
    if let Some(letter) = entry.letter().filter(|it| it.payload.is_some()) {
        println!();
        match text(letter) {
            Some(text) => text.lines().for_each(|it| println!("  {}", line(it))),
            None => println!("  {}", letter.payload.as_deref().unwrap_or_default()),
        }
    }
    Ok(())
}

fn lines(entry: &Entry, now: Now) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("number", entry.seq.to_string()),
        ("stored", entry.stored_at.to_string()),
        ("reason", entry.kind().map_or("?", Kind::as_str).to_owned()),
        ("now", format!("{}: {}", now.word(), now.explained())),
        ("subject", entry.subject.clone()),
    ];
    match &entry.found {
        Found::Letter(letter) => lines.extend(of_letter(letter)),
        Found::Advisory(advisory) => lines.push(("advisory", said(advisory))),
        Found::Unreadable(error) => lines.push(("error", error.clone())),
    }
    lines
}

fn of_letter(letter: &DeadLetter) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let mut say = |name, value: Option<String>| {
        let value = value.filter(|it| !it.is_empty());
        lines.extend(value.map(|it| (name, it)));
    };
    say("given up", Some(letter.at.to_string()));
    say("by node", Some(letter.node.clone()));
    say("error", Some(letter.error.clone()));
    say("attempts", Some(letter.attempts.to_string()));
    say("event", Some(letter.event.clone()));
    say("sequence", Some(letter.event_seq.to_string()));
    say("app", Some(letter.app.clone()));
    let task = letter.task.as_ref();
    say("lane", task.map(|it| it.lane.clone()));
    let part = |it: &fanfare_nats::dead::OfTask| {
        let n = 1_u32.checked_shl(it.log2_n.into()).unwrap_or(u32::MAX);
        format!("part {} of {n} of the devices", it.index)
    };
    say("task", task.map(part));
    say("device", Some(letter.device.clone()));
    let rest = |it: &String| format!("devices from {it} on");
    say("left", letter.low.as_ref().map(rest));
    say("trace", letter.trace_id().map(str::to_owned));
    say("traceparent", letter.traceparent.clone());
    say("message", letter.subject.clone());
    let payload = letter.payload.as_ref().map(|_| match text(letter) {
        Some(text) => format!("{} bytes of text:", text.len()),
        None => "not text; base64:".to_owned(),
    });
    say("payload", payload);
    lines
}

/// The payload, where it is text.
fn text(letter: &DeadLetter) -> Option<String> {
    let text = String::from_utf8(letter.payload_bytes()?).ok()?;
    let is_text = text
        .chars()
        .all(|it| !it.is_control() || it.is_whitespace());
    is_text.then_some(text)
}
