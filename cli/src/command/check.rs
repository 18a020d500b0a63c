//! `fanfare check FILE`: is this a configuration?

use std::path::PathBuf;

use clap::Args;
use fanfare_nats_server::Environment;

use super::Common;
use crate::config::{self, Config};
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Check {
    /// The file; `--config` and the usual one if it is left out
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, common: &Common, environment: &Environment) -> Result<(), Failure> {
        let named = self.file.or_else(|| common.config.clone());
        let Some(file) = config::find(named, environment) else {
            let text = "there is no fanfare.toml here; name a file, or write one: fanfare init";
            return Err(Failure::Usage(text.to_owned()));
        };
        let config = Config::load(Some(&file), environment, &[])?;
        for note in config.notes() {
            println!("note: {note}");
        }
        for (who, says) in config.fetcher.deliveries() {
            println!("delivery: {who}: {says}");
        }
        println!("{}: no problems", file.display());
        Ok(())
    }
}
