//! Pulls of one durable, all answered on one inbox that stays.
//!
//! A pull of the client library has an inbox of its own, which goes with the pull. What the server
//! sends to it later (after an election, or when a way that was cut is whole again) nobody hears, and
//! it lies for a whole `ack_wait`: 30 to 60 s for urgent events (seen with the leader killed and with
//! a machine cut off). Here a late message is simply the next one.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::BatchConfig;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, StatusCode, Subscriber};
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

/// How long the server holds an unanswered pull.
const EXPIRES: Duration = Duration::from_secs(1);
/// How long the client waits before it pulls again: a pull that was lost with a frozen or replaced
/// server must not leave work lying.
const GUARD: Duration = Duration::from_secs(2);

/// The pulls of a durable.
#[derive(Debug)]
pub(crate) struct Pulls {
    client: Client,
    context: Context,
    /// Messages that a pull may bring.
    batch: usize,
    answers: Mutex<Option<Answers>>,
}

/// Where the answers come, and which pull is the newest.
#[derive(Debug)]
struct Answers {
    inbox: String,
    subscription: Subscriber,
    n: u64,
    /// Until when the newest pull may be answered, if it was not.
    open_until: Option<Instant>,
    /// What it may still bring.
    n_left: usize,
}

/// What an answer says.
#[derive(Debug)]
enum Said {
    Message,
    /// There is nothing, or no more than this.
    Nothing,
    Refused(String),
    /// That the server is still there.
    Alive,
}

fn said(status: Option<StatusCode>, description: Option<&str>) -> Said {
    match status {
        None | Some(StatusCode::OK) => Said::Message,
        Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => Said::Nothing,
        Some(StatusCode::IDLE_HEARTBEAT) => Said::Alive,
        Some(status) => Said::Refused(format!("{status} {}", description.unwrap_or_default())),
    }
}

/// The clone has an inbox of its own.
impl Clone for Pulls {
    fn clone(&self) -> Self {
        Self::new(self.client.clone(), self.context.clone(), self.batch)
    }
}

impl Pulls {
    pub(crate) fn new(client: Client, context: Context, batch: usize) -> Self {
        Self {
            client,
            context,
            batch,
            answers: Mutex::default(),
        }
    }

    /// The next message; `Ok(None)` if the server has said that there is none, `Err(None)` if it has
    /// said nothing, `Err(Some(..))` with its words if it refused.
    ///
    /// Dropping the future loses nothing: what comes is the next call's.
    pub(crate) async fn next(
        &self,
        consumer: &PullConsumer,
    ) -> Result<Option<jetstream::Message>, Option<String>> {
        let mut answers = self.answers.lock().await;
        let begun = match answers.as_mut() {
            Some(begun) => begun,
            None => answers.insert(self.begin().await?),
        };
        let until = begun.pull(consumer, self.batch).await?;
        loop {
            let Ok(answer) = timeout_at(until, begun.subscription.next()).await else {
                begun.open_until = None;
                return Err(None);
            };
            let Some(answer) = answer else {
                *answers = None;
                return Err(Some("the subscription ended".to_owned()));
            };
            let said = said(answer.status, answer.description.as_deref());
            if matches!(said, Said::Message) {
                // It bears its own subject and does not tell of which pull it is. If it is of an older
                // one, the newest is still open, and what answers that is the next call's too.
                begun.n_left = begun.n_left.saturating_sub(1);
                if begun.n_left == 0 {
                    begun.open_until = None;
                }
                let context = self.context.clone();
                return Ok(Some(jetstream::Message {
                    message: answer,
                    context,
                }));
            }
            let is_newest = answer.subject.as_str() == begun.subject();
            // Of an older pull nothing but messages matters.
            if !is_newest || matches!(said, Said::Alive) {
                continue;
            }
            begun.open_until = None;
            return match said {
                Said::Refused(text) => Err(Some(text)),
                Said::Nothing | Said::Message | Said::Alive => Ok(None),
            };
        }
    }

    /// What has come, and what comes while the newest pull may be answered; nothing is pulled any more.
    pub(crate) async fn rest(&self) -> Vec<jetstream::Message> {
        let mut rest = Vec::new();
        let mut answers = self.answers.lock().await;
        let Some(begun) = answers.as_mut() else {
            return rest;
        };
        let until = begun.open_until.unwrap_or_else(Instant::now);
        while let Ok(Some(answer)) = timeout_at(until, begun.subscription.next()).await {
            if matches!(said(answer.status, None), Said::Message) {
                let context = self.context.clone();
                rest.push(jetstream::Message {
                    message: answer,
                    context,
                });
            } else if answer.subject.as_str() == begun.subject() {
                break;
            }
        }
        rest
    }

    async fn begin(&self) -> Result<Answers, Option<String>> {
        let inbox = self.client.new_inbox();
        let subscription = self.client.subscribe(format!("{inbox}.*")).await;
        Ok(Answers {
            inbox,
            subscription: subscription.map_err(|error| Some(error.to_string()))?,
            n: 0,
            open_until: None,
            n_left: 0,
        })
    }
}

impl Answers {
    /// The inbox of the newest pull.
    fn subject(&self) -> String {
        format!("{}.{}", self.inbox, self.n)
    }

    /// Pulls, unless the pull before may still be answered; until when to wait.
    async fn pull(
        &mut self,
        consumer: &PullConsumer,
        batch: usize,
    ) -> Result<Instant, Option<String>> {
        let now = Instant::now();
        if let Some(until) = self.open_until.filter(|it| *it > now) {
            return Ok(until);
        }
        self.n += 1;
        let pull = BatchConfig {
            batch,
            expires: Some(EXPIRES),
            ..BatchConfig::default()
        };
        let asked = consumer.request_batch(pull, self.subject().into()).await;
        asked.map_err(|error| Some(error.to_string()))?;
        let until = now + GUARD;
        self.open_until = Some(until);
        self.n_left = batch;
        Ok(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_message_nothing_or_a_refusal() {
        assert!(matches!(said(None, None), Said::Message));
        for status in [StatusCode::NOT_FOUND, StatusCode::TIMEOUT] {
            assert!(matches!(said(Some(status), None), Said::Nothing));
        }
        let refused = said(Some(StatusCode::NO_RESPONDERS), Some("No Responders"));
        assert!(matches!(refused, Said::Refused(text) if text.contains("503")));
    }
}
