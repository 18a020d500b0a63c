//! A user's permissions, exercised: every subject of a role's lists is said once, in a form that
//! cannot do anything.
//!
//! A stream refuses a message that expects another stream (`Nats-Expected-Stream`), and JetStream's
//! interface refuses a request that is no JSON; the permission is judged before either. Nothing has
//! a reply subject, so nothing is answered, and no pull is begun. A denial is told on the same
//! connection, before the answer to a question that is asked last.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::{PublishError, Request};
use async_nats::{Client, Event, HeaderMap};
use futures::future::{join_all, select_ok};
use tokio::sync::Notify;

use crate::connect::{ConnectError, ConnectOptions, connect_client};
use crate::permissions::{Allowed, Permissions, Role, Scope};

/// What stands for a wildcard.
const TOKEN: &str = "doctor";
/// A stream that nobody has.
const NO_STREAM: &str = "FANFARE_DOCTOR_WRITES_NOTHING";
/// What no request is.
const NO_JSON: &str = "{";
/// The client keeps 128 events for whoever listens to them, and drops the rest.
const AT_ONCE: usize = 64;
/// For the last word of a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a user's permissions are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exercise {
    /// How many subjects were tried.
    pub n_tried: usize,
    /// Of the role's list, and denied: to be added, as they stand.
    pub denied_publish: Vec<Allowed>,
    /// Likewise, of what it subscribes to.
    pub denied_subscribe: Vec<Allowed>,
    /// Of other roles' lists, and allowed.
    pub beyond: Vec<String>,
}

/// Tries everything that a role may do, and everything that only others may.
///
/// Dropping the future leaves no connection behind, and nothing was changed.
///
/// # Errors
/// [`ConnectError`].
pub async fn exercise(
    options: &ConnectOptions,
    role: Role,
    scope: &Scope,
) -> Result<Exercise, ConnectError> {
    let own = Permissions::of(role, scope);
    let (api, names) = (&scope.api, &scope.names);
    let questions = [
        format!("{api}.INFO"),
        format!("{api}.STREAM.INFO.{}", names.events()),
        format!("{api}.STREAM.INFO.KV_{}", names.control_bucket()),
    ];
    let questions = questions.into_iter().filter(|it| own.may_publish(it));
    let line = Line {
        options,
        questions: questions.collect(),
    };
    let denied_publish = line.denied(&own.publish, Verb::Publish).await?;
    let denied_subscribe = line.denied(&own.subscribe, Verb::Subscribe).await?;
    let others = Role::ALL.into_iter().filter(|it| *it != role);
    let mut foreign: Vec<Allowed> = Vec::new();
    for allowed in others.flat_map(|it| Permissions::of(it, scope).publish) {
        let is_own = own.may_publish(&concrete(&allowed.subject));
        if !is_own && !foreign.iter().any(|it| it.subject == allowed.subject) {
            foreign.push(allowed);
        }
    }
    let refused = line.denied(&foreign, Verb::Publish).await?;
    let n_tried = own.publish.len() + own.subscribe.len() + foreign.len();
    let beyond = foreign.into_iter().filter(|it| !refused.contains(it));
    Ok(Exercise {
        n_tried,
        denied_publish,
        denied_subscribe,
        beyond: beyond.map(|it| it.subject).collect(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Publish,
    Subscribe,
}

/// How subjects are said.
struct Line<'a> {
    options: &'a ConnectOptions,
    /// What may be asked of JetStream, and is answered.
    questions: Vec<String>,
}

impl Line<'_> {
    /// Those of the subjects that are denied.
    async fn denied(&self, subjects: &[Allowed], verb: Verb) -> Result<Vec<Allowed>, ConnectError> {
        let mut refused = BTreeSet::new();
        for some in subjects.chunks(AT_ONCE) {
            let subjects: Vec<_> = some.iter().map(|it| concrete(&it.subject)).collect();
            refused.extend(self.said(&subjects, verb).await?);
        }
        let is_refused = |it: &&Allowed| refused.contains(&concrete(&it.subject));
        Ok(subjects.iter().filter(is_refused).cloned().collect())
    }

    /// Says subjects on one connection; those that the server complained about.
    async fn said(&self, subjects: &[String], verb: Verb) -> Result<Vec<String>, ConnectError> {
        let complaints = Arc::<Complaints>::default();
        let listener = {
            let complaints = complaints.clone();
            move |event| {
                complaints.hear(&event);
                ready(())
            }
        };
        let client = connect_client(self.options, listener).await?;
        // A connection that is lost meanwhile shows as nothing denied; the next run tells.
        match verb {
            Verb::Publish => {
                let said = subjects.iter().map(|it| say(&client, it));
                let _said = join_all(said).await;
                self.ask(&client).await;
            }
            Verb::Subscribe => {
                let said = subjects.iter().map(|it| client.subscribe(it.clone()));
                let given_up_at_the_end = join_all(said).await;
                self.ask(&client).await;
                drop(given_up_at_the_end);
            }
        }
        // Its last event comes behind all complaints.
        let _asked = client.drain().await;
        let _closed = tokio::time::timeout(PATIENCE, complaints.closed.notified()).await;
        let is_named = |subject: &&String| complaints.name(subject);
        Ok(subjects.iter().filter(is_named).cloned().collect())
    }

    /// Waits for an answer, behind which nothing is to come any more. Whoever may not ask anything
    /// has heard so as well by the time this gives up.
    async fn ask(&self, client: &Client) {
        let asked = self.questions.iter().map(|it| {
            let request = Request::new().payload(NO_JSON.into());
            Box::pin(client.send_request(it.clone(), request.timeout(Some(PATIENCE))))
        });
        let asked: Vec<_> = asked.collect();
        if !asked.is_empty() {
            let _answered = select_ok(asked).await;
        }
    }
}

fn say(client: &Client, subject: &str) -> impl Future<Output = Result<(), PublishError>> {
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Expected-Stream", NO_STREAM);
    client.publish_with_headers(subject.to_owned(), headers, NO_JSON.into())
}

/// What a server said of one connection.
#[derive(Default)]
struct Complaints {
    texts: Mutex<Vec<String>>,
    closed: Notify,
}

impl Complaints {
    fn hear(&self, event: &Event) {
        match event {
            Event::ServerError(error) => {
                let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
                texts.push(error.to_string());
            }
            Event::Closed => self.closed.notify_one(),
            Event::Connected
            | Event::Disconnected
            | Event::LameDuckMode
            | Event::Draining
            | Event::SlowConsumer(_)
            | Event::ClientError(_) => {}
        }
    }

    fn name(&self, subject: &str) -> bool {
        let quoted = format!("\"{subject}\"");
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.iter().any(|it| it.contains(&quoted))
    }
}

/// A subject that the pattern matches.
fn concrete(pattern: &str) -> String {
    let tokens = pattern.split('.').map(|it| match it {
        "*" | ">" => TOKEN,
        token => token,
    });
    tokens.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Names;

    #[test]
    fn whatever_a_list_has_is_tried_by_a_subject_that_it_allows() {
        let scope = Scope::any(Names::default());
        for role in Role::ALL {
            let lists = Permissions::of(role, &scope);
            for allowed in &lists.publish {
                assert!(
                    lists.may_publish(&concrete(&allowed.subject)),
                    "{allowed:?}"
                );
            }
        }
    }
}
