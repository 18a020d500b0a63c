//! `fanfare sim`: the outside world in a box, for people who integrate an app without accounts.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use fanfare_nats_server::Environment;
use fanfare_sim::{Sim, SimConfig};

use super::Common;
use crate::config;
use crate::exit::Failure;
use crate::lifecycle::Signals;

#[derive(Args)]
pub(crate) struct SimCommand {
    /// What it consists of; without a file: APNs and FCM on any port
    file: Option<PathBuf>,
    /// Where certificates, keys and the ledger go
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Port of the feeds and the control endpoint on 127.0.0.1
    #[arg(long, value_name = "PORT")]
    http_port: Option<u16>,
}

impl SimCommand {
    /// Runs it until a signal. Where everything is goes to standard output, as JSON.
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        common.start_logs(environment);
        let mut config: SimConfig = match &self.file {
            Some(file) => config::load_alone(file)?,
            None => SimConfig::default(),
        };
        if let Some(folder) = self.folder {
            config.folder = folder;
        }
        if let Some(port) = self.http_port {
            config.http_port = port;
        }
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let sim = Sim::start(config).await.context("the sim does not start")?;
        let places = serde_json::to_string_pretty(sim.whereabouts());
        println!("{}", places.context("the whereabouts cannot be written")?);
        signals.next().await;
        sim.stop().await;
        Ok(())
    }
}
