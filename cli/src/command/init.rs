//! `fanfare init`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::exit::Failure;

/// Every table, with its defaults, explained.
pub(crate) const TEMPLATE: &str = include_str!("init/fanfare.toml");

#[derive(Args)]
pub(crate) struct Init {
    /// Where to write it
    #[arg(default_value = "fanfare.toml")]
    file: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let file = self.file.display().to_string();
        // Never over somebody's work.
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.file)
        {
            Ok(mut open) => open
                .write_all(TEMPLATE.as_bytes())
                .with_context(|| format!("cannot write {file}"))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(anyhow::anyhow!("{file} exists; it stays as it is").into());
            }
            Err(error) => {
                return Err(anyhow::Error::from(error)
                    .context(format!("cannot write {file}"))
                    .into());
            }
        }
        println!("wrote {file}\nnext: fanfare check {file}, then: fanfare --config {file} up");
        Ok(())
    }
}
