//! `fanfare demo`: the whole path on this machine, with real processes, real quakes, and two kills; or three.
//!
//! The processes are the same executable that operators run. What is claimed at the end is computed
//! from the ledger of the provider doubles, which live in a process of their own, by code that
//! shares nothing with the notifier.
//!
//! Architecture invariant: every process is a [`Child`](fanfare_nats_server::process::Child), so
//! that none outlives this one, however it ends.

mod actor;
mod broker;
mod cast;
mod configuration;
mod figures;
mod ledger;
mod outside;
mod owed;
mod reconcile;
mod report;
mod sabotage;
mod screen;
mod stage;
mod story;
mod watch;

use anyhow::Context;
use clap::{Args, ValueEnum};
use fanfare_nats_server::Environment;

use self::reconcile::Case;
use self::report::Report;
use self::screen::Screen;
use self::stage::Stage;
use super::Common;
use crate::exit::Failure;
use crate::lifecycle::Signals;

/// Exit code of "the fault did not bite": the run proves nothing about faults.
const DID_NOT_BITE: u8 = 3;
/// 128 + SIGINT, as shells say it.
const INTERRUPTED: u8 = 130;

#[derive(Args)]
pub(crate) struct Demo {
    /// Leave out the kills
    #[arg(long)]
    no_kill: bool,
    /// Three nats-servers, of which one is killed too
    #[arg(long)]
    cluster: bool,
    /// The final report as JSON on standard output; everything else goes to standard error
    #[arg(long)]
    json: bool,
    /// Devices to register
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    devices: u32,
    /// How long the replay of two days of quakes takes
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(5..=600))]
    seconds: u16,
    /// The nats-server to start [default: one that is found, or a pinned one that is fetched]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<std::path::PathBuf>,
    /// Breaks the promise on purpose, to show that the reconciliation notices
    #[arg(long, value_enum, hide = true)]
    sabotage: Option<Sabotage>,
    /// What one of the demo's own processes is to be
    #[arg(long, value_enum, hide = true, requires = "sabotage")]
    part: Option<Part>,
}

/// A way to break the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sabotage {
    /// Notifiers acknowledge a task before they send.
    AckEarly,
}

/// A process that only the demo starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A notifier under sabotage.
    Notifier,
}

impl Demo {
    /// Runs to the report, or until a signal. Standard input is never read.
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        if let (Some(Part::Notifier), Some(how)) = (self.part, self.sabotage) {
            return Box::pin(sabotage::run(how, common, environment)).await;
        }
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let screen = Screen::new(self.json);
        let ended = tokio::select! {
            ended = self.play(&screen, environment) => ended,
            () = signals.next() => Err(Failure::Code {
                code: INTERRUPTED,
                error: anyhow::anyhow!("the demo was stopped; its processes have ended with it"),
            }),
        };
        screen.end();
        ended
    }

    async fn play(&self, screen: &Screen, environment: &Environment) -> Result<(), Failure> {
        let mut stage = Stage::set(self, screen, environment).await?;
        let report = match self.told(&stage, screen).await {
            Ok(report) => report,
            Err(error) => {
                screen.end();
                stage.keep();
                let folder = stage.folder().display();
                let hint = format!("the demo failed; the logs of its processes are in {folder}");
                return Err(error.context(hint).into());
            }
        };
        screen.end();
        if !report.is_good() {
            stage.keep();
        }
        report.print(self, stage.folder());
        report.verdict()
    }

    async fn told(&self, stage: &Stage, screen: &Screen) -> anyhow::Result<Report> {
        let told = story::tell(self, stage, screen).await?;
        let held = stage.held().await?;
        let warnings = stage.strike().await;
        let ledger = stage.outside().at().ledger.as_deref();
        // Complete since the sim has ended.
        let book = ledger::read(ledger.context("there is no ledger")?)?;
        let balance = reconcile::balance(&Case {
            devices: &told.devices,
            events: &held.events,
            before: &told.before,
            emissions: &told.emissions,
            book: &book,
            killed_us: told.kill.map(|it| it.at_us),
            broker_killed_us: told.broker_kill.as_ref().map(|it| it.at_us),
        });
        Ok(Report {
            is_sabotaged: self.sabotage.is_some(),
            n_devices: told.devices.len() as u64,
            balance,
            figures: told.figures,
            held,
            kill: told.kill,
            broker_kill: told.broker_kill,
            is_settled: told.is_settled,
            first_push: told.first_push,
            took: screen.elapsed(),
            warnings,
        })
    }
}
