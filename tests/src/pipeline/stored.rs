//! What the broker holds, read with its own client and nothing of ours in between.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{self, Context};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::audit::StoredEvent;

/// What is said when nothing but retries is left.
pub const WAKE_UPS_WAIT: &str = "wake-ups wait";

const EVENTS: &str = "FANFARE_EVENTS";
const TASKS: &str = "FANFARE_TASKS";
const DEAD: &str = "FANFARE_DEAD";

/// A client of the servers in a list with commas; whoever the first of them names is who it says to
/// be.
pub(crate) async fn connect(url: &str) -> async_nats::Client {
    let servers: Vec<&str> = url.split(',').collect();
    let mut options = async_nats::ConnectOptions::new();
    let first: Option<url::Url> = servers.first().and_then(|it| it.parse().ok());
    if let Some(first) = first
        && let Some(password) = first.password()
    {
        options = options.user_and_password(first.username().to_owned(), password.to_owned());
    }
    options.connect(servers).await.unwrap()
}

async fn context(url: &str) -> Context {
    jetstream::new(connect(url).await)
}

async fn stream(url: &str, name: &str) -> Stream {
    context(url).await.get_stream(name).await.unwrap()
}

/// Every message of a stream: headers and payload.
async fn messages(url: &str, name: &str) -> Vec<StreamMessage> {
    let mut stream = stream(url, name).await;
    let state = stream.info().await.unwrap().state.clone();
    let mut found = Vec::new();
    for sequence in state.first_sequence..=state.last_sequence {
        // A hole is a message that was removed or has expired.
        if let Ok(message) = stream.get_raw_message(sequence).await {
            found.push(message);
        }
    }
    found
}

pub(super) async fn events(url: &str) -> Vec<StoredEvent> {
    let header = |message: &StreamMessage, name: &str| {
        message
            .headers
            .get(name)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let read = |it: &_| StoredEvent {
        id: header(it, "ce-id"),
        topics: header(it, "ce-topics")
            .split(',')
            .map(str::to_owned)
            .collect(),
    };
    messages(url, EVENTS).await.iter().map(read).collect()
}

pub(super) async fn dead_letters(url: &str) -> Vec<Value> {
    let found = messages(url, DEAD).await;
    found
        .iter()
        .map(|it| serde_json::from_slice(&it.payload).unwrap())
        .collect()
}

async fn consumers(url: &str, name: &str) -> Vec<jetstream::consumer::Info> {
    stream(url, name)
        .await
        .consumers()
        .try_collect()
        .await
        .unwrap()
}

/// Deliveries of tasks beyond the first of each, once everything is settled.
pub(super) async fn tasks_redelivered(url: &str) -> u64 {
    let deliveries = consumers(url, TASKS)
        .await
        .into_iter()
        .map(|it| it.delivered.consumer_sequence);
    let deliveries: u64 = deliveries.sum();
    let tasks = stream(url, TASKS).await;
    let subjects = tasks.info_with_subjects("fanfare.task.>").await.unwrap();
    let n_tasks: usize = subjects
        .map_ok(|(_, n)| n)
        .try_fold(0, async |sum, n| Ok(sum + n))
        .await
        .unwrap();
    deliveries.saturating_sub(n_tasks as u64)
}

/// Whether every durable has given everything out and heard of it.
async fn consumed(url: &str) -> Result<(), String> {
    for name in [EVENTS, TASKS] {
        for consumer in consumers(url, name).await {
            let (pending, unsettled) = (consumer.num_pending, consumer.num_ack_pending);
            if pending > 0 || unsettled > 0 {
                let name = consumer.name;
                return Err(format!(
                    "{name}: {pending} pending, {unsettled} not settled"
                ));
            }
        }
    }
    Ok(())
}

/// What still waits, or nothing.
pub(super) async fn unsettled(url: &str) -> Result<(), String> {
    consumed(url).await?;
    let waiting = messages(url, TASKS).await;
    let n_waiting = waiting
        .iter()
        .filter(|it| it.subject.contains(".later."))
        .count();
    if n_waiting > 0 {
        Err(format!("{n_waiting} wake-ups wait"))
    } else {
        Ok(())
    }
}

/// As [`unsettled`], without reading messages: for streams of many.
pub(super) async fn waiting(url: &str) -> Result<(), String> {
    consumed(url).await?;
    let tasks = stream(url, TASKS).await;
    let mut subjects = tasks.info_with_subjects("fanfare.later.>").await.unwrap();
    match subjects.next().await {
        Some(_) => Err(WAKE_UPS_WAIT.to_owned()),
        None => Ok(()),
    }
}
