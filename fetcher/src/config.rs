//! The configuration of the fetcher: `[fetcher]`, the `[[source]]` tables, and the `[[topic]]` tables
//! that all publishers share.

mod check;
mod input;
mod period;
mod policy;
mod secret;
mod source;

use fanfare_nats::Problem;
use fanfare_nats::policy::TopicPolicies;
use serde::Deserialize;

pub use input::{HttpConfig, InputConfig, SequenceConfig, SocketConfig, WebhookConfig};
pub use period::{Period, PeriodError};
pub use policy::{RetriesConfig, TopicConfig};
pub use secret::{EnvSecret, FileSecret, SecretText};
pub use source::{
    Delivery, FieldsConfig, LevelConfig, LevelName, LevelsConfig, Limits, Mode, SourceConfig,
};

/// What the fetcher reads from the configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How this fetcher presents itself.
    pub fetcher: FetcherSection,
    /// Every source.
    pub source: Vec<SourceConfig>,
    /// How events on some topics are delivered where their source says nothing.
    pub topic: Vec<TopicConfig>,
}

/// The `[fetcher]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FetcherSection {
    /// A mail address or a page where a publisher reaches you; it stands in the `User-Agent`.
    /// Required as soon as a source is not on this machine.
    pub contact: Option<String>,
}

impl Config {
    /// Every problem of every key; empty means that [`crate::run`] accepts it.
    pub fn validate(&self) -> Vec<Problem> {
        check::problems(self)
    }

    /// Facts that an operator should know although nothing is wrong.
    pub fn notes(&self) -> Vec<Problem> {
        check::notes(self)
    }

    /// The `[[topic]]` tables as events are judged by them; what `validate` finds wrong is left out.
    pub fn topic_policies(&self) -> TopicPolicies {
        policy::policies(&self.topic)
    }

    /// Who says what about delivery, for people: the defaults, each topic table, each source. What
    /// stands later wins.
    pub fn deliveries(&self) -> Vec<(String, String)> {
        policy::lines(self)
    }

    /// Replaces each `{ env = … }` and `{ file = … }` by its value, read once at start.
    /// `env` looks a variable up.
    pub fn resolve_secrets(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (s, source) in self.source.iter_mut().enumerate() {
            for (i, input) in source.input.iter_mut().enumerate() {
                for (key, secret) in input.secrets_mut() {
                    if let Err(why) = secret.resolve(env) {
                        problems.push(Problem::new(format!("source[{s}].input[{i}].{key}"), why));
                    }
                }
            }
        }
        problems
    }
}

impl FetcherSection {
    /// What stands in the `User-Agent` of every request.
    pub fn user_agent(&self) -> String {
        let version = env!("CARGO_PKG_VERSION");
        match &self.contact {
            Some(contact) => format!("fanfare/{version} (+{contact})"),
            None => format!("fanfare/{version}"),
        }
    }
}
