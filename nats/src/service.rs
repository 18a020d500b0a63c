//! A role as a NATS micro service (ADR-32): `nats micro ls`, `info`, `stats` and `ping` find it, and
//! `<prefix>.ctl.<role>.<node>.status` answers with its figures.
//!
//! Not the client library's own service: that one answers to whatever subject the asker names, runs
//! on a task that nobody waits for, and ends for good at the first answer that cannot be published.
//! Here an answer goes to an inbox of an operator or to nobody ([`is_inbox`]): whoever may ask could
//! otherwise have a notifier write an answer where only notifiers may, for example into the tasks.
//! The lists of permissions allow the same inboxes, so that two things stand against it.
//!
//! Architecture invariant: it only tells. Nothing that is asked here changes anything.

mod answer;
mod ask;
mod last_error;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::{Message, SubscribeError};
use futures::StreamExt;
use futures::stream;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::answer::{Described, Stats};
pub use self::last_error::LastError;
use crate::connect::Broker;
use crate::members::key_part;
use crate::subject::Names;

/// How the library's services call their group, too; an endpoint belongs to one process alone.
const QUEUE: &str = "q";

/// What is asked of every service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ping,
    Info,
    Stats,
    /// Our own endpoint.
    Status,
}

impl Verb {
    const COMMON: [Self; 3] = [Self::Ping, Self::Info, Self::Stats];

    fn word(self) -> &'static str {
        match self {
            Self::Ping => "PING",
            Self::Info => "INFO",
            Self::Stats => "STATS",
            Self::Status => "status",
        }
    }
}

/// What a role tells of itself whenever it is asked.
pub type Figures = Arc<dyn Fn() -> Value + Send + Sync>;

/// A role to be found by operators.
#[derive(Clone)]
pub struct Service {
    /// `fetcher`, `notifier` or `api`.
    pub role: &'static str,
    /// What it is for, in one sentence.
    pub description: &'static str,
    /// What it works on: its sources, or its lanes.
    pub metadata: BTreeMap<String, String>,
    /// Read at each question; cheap, and free of secrets.
    pub figures: Figures,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// The name of a role's service.
pub fn name(names: &Names, role: &str) -> String {
    format!("{}-{role}", names.prefix())
}

/// The subject that a process answers on with its figures.
pub fn status_subject(names: &Names, role: &str, node: &str) -> String {
    format!("{}.ctl.{role}.{}.status", names.prefix(), key_part(node))
}

/// Whether an answer may go there: to an operator's inbox, to one of a client that has not said how
/// its inboxes begin, or through the server to another account (`_R_`). No stream holds these.
pub fn is_inbox(reply: &str) -> bool {
    let Some((first, rest)) = reply.split_once('.') else {
        return false;
    };
    let is_plain = |it: u8| it.is_ascii_graphic() && it != b'*' && it != b'>';
    matches!(first, "_INBOX_ops" | "_INBOX" | "_R_")
        && !rest.is_empty()
        && rest.split('.').all(|it| !it.is_empty())
        && rest.bytes().all(is_plain)
}

impl Broker {
    /// Answers as a micro service until `stop`.
    ///
    /// Dropping the future makes the service unknown at once. Answers are told once and not
    /// confirmed; nothing that is asked waits.
    ///
    /// # Errors
    /// If the connection is closed for good.
    pub async fn serve(
        &self,
        service: Service,
        stop: CancellationToken,
    ) -> Result<(), SubscribeError> {
        let described = self.described(&service);
        let mut subscriptions = Vec::new();
        for (verb, subject) in subjects(&described) {
            let heard = match verb {
                Verb::Status => {
                    let queued = self.client.queue_subscribe(subject, QUEUE.to_owned());
                    queued.await?
                }
                Verb::Ping | Verb::Info | Verb::Stats => self.client.subscribe(subject).await?,
            };
            subscriptions.push(heard.map(move |it| (verb, it)));
        }
        let mut asked = stream::select_all(subscriptions);
        let mut stats = Stats::default();
        while let Some(Some((verb, message))) = stop.run_until_cancelled(asked.next()).await {
            self.answer(&service, &described, &mut stats, verb, message)
                .await;
        }
        Ok(())
    }

    async fn answer(
        &self,
        service: &Service,
        described: &Described,
        stats: &mut Stats,
        verb: Verb,
        message: Message,
    ) {
        let began = Instant::now();
        let Some(reply) = message.reply.filter(|it| is_inbox(it)) else {
            stats.refused(verb);
            tracing::debug!(
                verb = verb.word(),
                "a question without an inbox for its answer"
            );
            return;
        };
        let told = match verb {
            Verb::Ping => described.ping(),
            Verb::Info => described.info(),
            Verb::Stats => described.stats(stats, self.status(service)),
            Verb::Status => self.status(service),
        };
        let body = serde_json::to_vec(&told).unwrap_or_default(); // Values cannot fail.
        if let Err(error) = self.client.publish(reply, body.into()).await {
            tracing::debug!(%error, "an answer was not sent");
        }
        stats.answered(verb, began.elapsed());
    }

    fn described(&self, service: &Service) -> Described {
        let mut metadata = service.metadata.clone();
        let commit = self.version().split_once('+').map(|(_, commit)| commit);
        let own = [
            ("node", self.node()),
            ("host", self.host()),
            ("commit", commit.unwrap_or("unknown")),
        ];
        metadata.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let member = self.member(service.role);
        Described {
            name: name(&self.names, service.role),
            id: key_part(self.node()),
            version: answer::semver(self.version()),
            description: service.description,
            metadata,
            started: member.started,
            subject: status_subject(&self.names, service.role, self.node()),
        }
    }

    /// What the process is, how it is, and what it counted.
    fn status(&self, service: &Service) -> Value {
        let member = self.member(service.role);
        serde_json::json!({
            "role": member.role,
            "node": member.node,
            "host": member.host,
            "version": member.version,
            "started": member.started,
            "ready": member.waits_for.is_none(),
            "waits_for": member.waits_for,
            "figures": (service.figures)(),
        })
    }
}

/// Where a service is asked: all of them, those of its name, and itself.
fn subjects(described: &Described) -> Vec<(Verb, String)> {
    let (name, id) = (&described.name, &described.id);
    let mut subjects = vec![(Verb::Status, described.subject.clone())];
    for verb in Verb::COMMON {
        let all = format!("$SRV.{}", verb.word());
        subjects.push((verb, format!("{all}.{name}.{id}")));
        subjects.push((verb, format!("{all}.{name}")));
        subjects.push((verb, all));
    }
    subjects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &str, is_answered: bool) {
        assert_eq!(is_inbox(reply), is_answered, "{reply}");
    }

    #[test]
    fn an_answer_goes_to_an_inbox_of_an_operator_and_nowhere_else() {
        check("_INBOX_ops.a1", true);
        check("_INBOX_ops.a1.7", true);
        check("_INBOX.a1.7", true);
        check("_R_.x.y", true);
        for reply in [
            "fanfare.task.ios-urgent.x.0",
            "fanfare.later.x",
            "$KV.fanfare_devices.d.x",
            "$JS.API.STREAM.DELETE.FANFARE_EVENTS",
            "$JS.ACK.FANFARE_EVENTS.notifier.1.1.1.1.0",
            "$SRV.PING",
            "_INBOX_notifier.x",
            "_INBOX_opsx.x",
            "_INBOX_ops",
            "_INBOX_ops.",
            "_INBOX_ops..x",
            "_INBOX_ops.>",
            "_INBOX_ops.*",
            "_INBOX_ops.a b",
            "",
        ] {
            check(reply, false);
        }
    }
}
