//! `fanfare source test NAME`: what a source would do, without doing it.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_fetcher::{Trial, TrialError, trial_of_bytes, trial_of_source};
use fanfare_nats_server::Environment;

use super::Common;
use crate::config::{Config, ConfigError, Located};
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Source {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Shows items, decisions, events and topics of a source; stores and sends nothing
    Test {
        /// The source's name
        name: String,
        /// A document of its first `http` input instead of asking the publisher; of a source that
        /// has only sockets: frames, one a line
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
}

impl Source {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let What::Test { name, from } = self.what;
        let config = common.load(environment)?;
        let trial = trial(&config, &name, from).await?;
        println!("{trial}");
        Ok(())
    }
}

async fn trial(config: &Config, name: &str, from: Option<PathBuf>) -> Result<Trial, Failure> {
    let now = crate::clock::now();
    let tried = match from {
        None => trial_of_source(&config.fetcher, name, now).await,
        Some(file) => {
            let bytes =
                std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            trial_of_bytes(&config.fetcher, name, &bytes, now)
        }
    };
    tried.map_err(|error| match error {
        TrialError::Unknown(_) => Failure::Usage(known(config, &error)),
        TrialError::Configuration(problems) => {
            let located = problems.into_iter().map(|it| Located {
                origin: None,
                key: it.key,
                message: it.message,
            });
            Failure::Configuration(ConfigError(located.collect()))
        }
        TrialError::Document(_) | TrialError::Source(_) | TrialError::Posted(_) => {
            Failure::Failed(error.into())
        }
    })
}

/// The names there are, for whoever mistyped one.
fn known(config: &Config, error: &TrialError) -> String {
    let names: Vec<_> = config
        .fetcher
        .source
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    match names.as_slice() {
        [] => format!("{error}: it has no sources at all"),
        names => format!("{error}; it has {}", names.join(", ")),
    }
}
