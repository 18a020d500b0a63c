//! `fanfare devices`: many registrations at once, into the API and out of it, a line of JSON each.

mod export;
mod import;
mod lines;
mod progress;
mod server;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fanfare_nats_server::Environment;

use super::Common;
use crate::exit::Failure;

#[derive(Args)]
pub(crate) struct Devices {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Registers each line of a file; exit code 1 if a line was refused. The same file again leads to
    /// the same devices
    Import {
        /// A JSON object a line: `{"id": "...", "app": "...", "token": "...", "topics": [...]}`; `-`
        /// is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Everything that the API tells, a line of JSON each, on standard output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: server::Flags,
    },
    /// Writes every device of the key's tenant, a line each
    Export {
        /// Where to, readable for you alone, whole or not at all [default: standard output]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// With their push tokens, as `import` takes them; the key needs the scope admin
        #[arg(long)]
        tokens: bool,
        #[command(flatten)]
        server: server::Flags,
    },
}

impl Devices {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        match self.what {
            What::Import { file, json, server } => {
                let server = server.server(&config, environment)?;
                import::run(&server, &file, json).await
            }
            What::Export {
                output,
                tokens,
                server,
            } => {
                let server = server.server(&config, environment)?;
                export::run(&server, output.as_deref(), tokens).await
            }
        }
    }
}
