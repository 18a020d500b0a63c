//! The configuration: one file, `conf.d/*.toml` beside it, `FANFARE__SECTION__KEY`, flags.
//!
//! Everything is read into one tree in which each value remembers where it comes from. Each crate
//! then gets its own part of the tree, so that every problem of every part can be shown at once,
//! each with file and line.

mod apps;
mod extract;
mod own;
mod path;
mod read;
mod tree;

use std::path::Path;

use fanfare_nats::Problem;
use fanfare_nats_server::Environment;

pub(crate) use own::{AdminConfig, LogConfig, LogFormat, Manage, NatsConfig, OwnConfig};
pub(crate) use read::find;
pub(crate) use tree::{Node, Origin};

/// A problem and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Located {
    pub(crate) origin: Option<Origin>,
    pub(crate) key: String,
    pub(crate) message: String,
}

impl std::fmt::Display for Located {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.lines())]
pub(crate) struct ConfigError(pub(crate) Vec<Located>);

impl ConfigError {
    /// One problem that stands nowhere in a file.
    pub(crate) fn one(key: &str, message: impl Into<String>) -> Self {
        let (key, message) = (key.to_owned(), message.into());
        Self(vec![Located {
            origin: None,
            key,
            message,
        }])
    }

    fn lines(&self) -> String {
        self.0
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Reads a file of another shape, such as a sim's, with the same care for problems.
///
/// # Errors
/// [`ConfigError`] with all of them.
pub(crate) fn load_alone<T: serde::de::DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let mut problems = Vec::new();
    let value = extract::typed(read::alone(file, &mut problems), &mut problems);
    problems.sort();
    value
        .filter(|_| problems.is_empty())
        .ok_or(ConfigError(problems))
}

/// The whole configuration, each crate's part in its own type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) own: OwnConfig,
    pub(crate) fetcher: fanfare_fetcher::Config,
    pub(crate) notifier: fanfare_notifier::Config,
    pub(crate) api: fanfare_api::Config,
    /// `[api.operate]`: as whom the API pauses and replays. Only what differs from `[nats]`.
    pub(crate) operate: Option<Box<NatsConfig>>,
}

impl Config {
    /// Reads, overlays, types and checks everything.
    ///
    /// `set` are values given by flags, as dotted keys. Without `file` only the environment and
    /// the flags count.
    ///
    /// # Errors
    /// [`ConfigError`] with all problems; nothing was opened but the files named in it.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: &Environment,
        set: &[(&'static str, String)],
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut tree = match file {
            Some(file) => read::files(file, &mut problems),
            None => Node::table(Origin::Default),
        };
        read::overlay(&mut tree, environment, set, &mut problems);
        let config = Self::typed(tree, environment, &mut problems);
        problems.sort();
        problems.dedup();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError(problems)),
        }
    }

    fn typed(tree: Node, environment: &Environment, problems: &mut Vec<Located>) -> Option<Self> {
        let mut parts = extract::Parts::new(tree, problems);
        let own: Option<OwnConfig> = parts.take(&own::TABLES);
        let fetcher: Option<fanfare_fetcher::Config> = parts.take(&["fetcher", "source", "topic"]);
        let notifier: Option<fanfare_notifier::Config> = parts.take_one("notifier", &["app"]);
        let operate: Result<Option<NatsConfig>, _> = parts.take_out("api", "operate");
        let api: Option<fanfare_api::Config> = parts.take_one("api", &[]);
        parts.refuse_the_rest();
        if let Some(own) = &own {
            parts.add(own.validate());
        }
        if let Ok(Some(operate)) = &operate {
            parts.add(operate.validate_second("api.operate"));
        }
        // Each part for itself: what one cannot read hides nothing of the others.
        let fetcher = fetcher.map(|mut fetcher| {
            let look_up = |name: &str| environment.text(name).map(str::to_owned);
            parts.add(fetcher.resolve_secrets(&look_up));
            parts.add(fetcher.validate());
            fetcher
        });
        if let Some(notifier) = &notifier {
            parts.add(under("notifier", &["app"], notifier.validate()));
        }
        if let Some(api) = &api {
            parts.add(under("api", &[], api.validate()));
        }
        let (fetcher, notifier, mut api) = (fetcher?, notifier?, api?);
        // Whoever configures apps here means that devices may name these.
        if api.apps.is_none() && !notifier.app.is_empty() {
            api.apps = Some(notifier.app.iter().map(|it| it.name.to_string()).collect());
        }
        api.known_apps = notifier.app.iter().map(apps::told).collect();
        // Whoever posts an event decides by the same sections as whoever fetches one.
        api.topics = fetcher.topic_policies();
        Some(Self {
            own: own?,
            fetcher,
            notifier,
            api,
            operate: operate.ok()?.map(Box::new),
        })
    }

    /// Facts that an operator should know although nothing is wrong.
    pub(crate) fn notes(&self) -> Vec<Problem> {
        let mut notes = self.fetcher.notes();
        let mut note = |key: &str, text: &str| notes.push(Problem::new(key, text));
        if self.fetcher.source.is_empty() {
            note("source", "there is none: events come through the API only");
        }
        if self.notifier.app.is_empty() {
            note(
                "app",
                "there is none: a notifier has nothing to send through",
            );
        }
        let contact = self.fetcher.fetcher.contact.as_deref();
        if contact.is_some_and(|it| it.contains("example.org")) {
            let text = "is the example's: publishers want to reach you before they block you";
            note("fetcher.contact", text);
        }
        notes
    }
}

/// Puts the problems of a crate that knows its own table as the whole under that table, except
/// for the lists that people write beside it.
fn under(table: &str, beside: &[&str], problems: Vec<Problem>) -> Vec<Problem> {
    let is_beside = |key: &str| {
        key.split(['.', '['])
            .next()
            .is_some_and(|it| beside.contains(&it))
    };
    let place = |it: Problem| {
        if is_beside(&it.key) {
            it
        } else {
            it.under(table)
        }
    };
    problems.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests;
