//! `fanfare init`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fanfare_fetcher::example::EXAMPLES;

use crate::exit::Failure;

/// Every table, with its defaults, explained. A line `@name@` stands for a shipped example source,
/// `@# name@` for one that is commented out.
const TEMPLATE: &str = include_str!("init/fanfare.toml");

#[derive(Args)]
pub(crate) struct Init {
    /// Where to write it; - is standard output
    #[arg(default_value = "fanfare.toml")]
    file: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let file = self.file.display().to_string();
        let cannot = || format!("cannot write {file}");
        if self.file.as_os_str() == "-" || is_redirected_into(&self.file) {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(template().as_bytes());
            written.and_then(|()| out.flush()).with_context(cannot)?;
            return Ok(());
        }
        // Never over somebody's work.
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.file)
        {
            Ok(mut open) => open.write_all(template().as_bytes()).with_context(cannot)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(anyhow::anyhow!("{file} exists; it stays as it is").into());
            }
            Err(error) => return Err(anyhow::Error::from(error).context(cannot()).into()),
        }
        println!("wrote {file}\nnext: fanfare check {file}, then: fanfare up --config {file}");
        Ok(())
    }
}

/// The configuration that is written.
pub(crate) fn template() -> String {
    let mut text = String::with_capacity(2 * TEMPLATE.len());
    for line in TEMPLATE.lines() {
        let name = line.strip_prefix('@').and_then(|it| it.strip_suffix('@'));
        let (name, is_commented) = match name.and_then(|it| it.strip_prefix("# ")) {
            Some(name) => (Some(name), true),
            None => (name, false),
        };
        let example = name.and_then(|name| EXAMPLES.iter().find(|it| it.0 == name));
        let shown = example.map_or(line, |it| it.1.trim_end());
        for line in shown.split('\n') {
            if is_commented && !line.starts_with('#') {
                text.push_str(if line.is_empty() { "#" } else { "# " });
            }
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Whether this is `fanfare init > FILE`: the shell has made the file, empty, before we start.
fn is_redirected_into(file: &Path) -> bool {
    let of_stdout = || {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned()?;
        std::fs::File::from(stdout).metadata()
    };
    match (of_stdout(), std::fs::metadata(file)) {
        (Ok(out), Ok(there)) => {
            (out.dev(), out.ino(), 0) == (there.dev(), there.ino(), there.len())
        }
        _ => false,
    }
}
