//! Who may say what to the broker: one user for each role, each with its own lists.
//!
//! The lists are made from the names of a pipeline, its lanes and its sources, so that they are as
//! narrow as the real traffic and change with it. They keep a role from mistakes, and show a wrong
//! call to its operator. They do not hold a hostile owner of credentials within one account: the
//! server checks neither the subject that an answer is sent to, nor the target of a schedule, nor
//! where a push consumer delivers. Against that stand strict decoding, and accounts.
//!
//! Architecture invariant: pure. What a list allows is tried on a real broker, subject by subject
//! and role by role, and a test refuses a subject that is not tried.

mod lists;
mod render;

pub use self::render::{
    accounts, accounts_with, isolated, isolated_api, isolated_with, password_variable, users,
};

use crate::event::SourceName;
use crate::plan::Lane;
use crate::subject::Names;

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Turns sources into events.
    Fetcher,
    /// Turns events into pushes.
    Notifier,
    /// Takes registrations and events over HTTP.
    Api,
    /// A person, or a console, that keeps the system going: looks, pauses, sends again.
    Ops,
    /// Whoever checks the promise: reads everything, changes nothing.
    Auditor,
    /// Creates and changes streams, buckets and consumers, and hands out keys. Never a running role.
    Owner,
}

impl Role {
    /// Everyone.
    pub const ALL: [Self; 6] = [
        Self::Fetcher,
        Self::Notifier,
        Self::Api,
        Self::Ops,
        Self::Auditor,
        Self::Owner,
    ];

    /// The role's word, which is also its user.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetcher => "fetcher",
            Self::Notifier => "notifier",
            Self::Api => "api",
            Self::Ops => "ops",
            Self::Auditor => "auditor",
            Self::Owner => "owner",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == word)
    }

    /// The prefix of its inboxes: each role hears only the answers to its own questions.
    pub fn inbox_prefix(self) -> String {
        format!("_INBOX_{}", self.name())
    }

    /// What it is for, in one sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Fetcher => "publishes events, keeps cursors and baselines; sees no device",
            Self::Notifier => "takes events, plans, takes tasks, sends, writes receipts",
            Self::Api => "keeps device documents, publishes what applications post",
            Self::Ops => "people and consoles: looks, pauses lanes, sends dead letters again",
            Self::Auditor => "`fanfare verify` and `why`: reads everything, publishes nothing",
            Self::Owner => "`fanfare admin apply`, `keys`: streams, buckets, keys; no running role",
        }
    }
}

/// What the lists are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The names of the pipeline.
    pub names: Names,
    /// How the subjects of JetStream's API begin: `$JS.API`, or `$JS.<domain>.API`.
    pub api: String,
    /// The lanes that notifiers serve; empty allows any.
    pub lanes: Vec<Lane>,
    /// The sources that fetchers read; empty allows any.
    pub sources: Vec<SourceName>,
}

impl Scope {
    /// Any lane and any source, without a domain.
    pub fn any(names: Names) -> Self {
        Self {
            names,
            api: "$JS.API".to_owned(),
            lanes: Vec::new(),
            sources: Vec::new(),
        }
    }
}

/// A subject that is allowed, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The subject, with wildcards.
    pub subject: String,
    /// What it is for, in a few words.
    pub why: &'static str,
}

/// The lists of a role. What they do not name is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Whose they are.
    pub role: Role,
    /// What it may publish to, requests included.
    pub publish: Vec<Allowed>,
    /// What it may subscribe to.
    pub subscribe: Vec<Allowed>,
}

impl Permissions {
    /// The lists of a role.
    pub fn of(role: Role, scope: &Scope) -> Self {
        lists::of(role, scope)
    }

    /// Whether it may publish to a subject without wildcards.
    pub fn may_publish(&self, subject: &str) -> bool {
        self.publish.iter().any(|it| covers(&it.subject, subject))
    }

    /// Whether it may subscribe to a subject; one with wildcards must be allowed as a whole.
    pub fn may_subscribe(&self, subject: &str) -> bool {
        self.subscribe.iter().any(|it| covers(&it.subject, subject))
    }
}

/// Whether a pattern matches everything that a subject, or another pattern, matches.
pub fn covers(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        let Some(token) = tokens.next() else {
            return false;
        };
        match wanted {
            ">" => return true,
            "*" if token != ">" => {}
            wanted if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests;
