//! The commands.
#![expect(
    clippy::doc_markdown,
    reason = "comments on flags are help texts, shown as they are"
)]

mod admin;
mod ask;
mod audit;
mod check;
mod dead_letters;
mod demo;
mod devices;
mod doctor;
mod embedded;
pub(crate) mod init;
mod keys;
mod lanes;
mod leases;
mod members;
mod push;
mod reach;
mod sim;
mod since;
mod source;
mod sources;
mod up;
mod verify;
mod why;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use fanfare_nats_server::Environment;

use crate::config::{self, Config, ConfigError, LogConfig};
use crate::exit::Failure;

/// Real events in, push notifications out, once, whatever dies in between.
#[derive(Parser)]
#[command(name = "fanfare", version, max_term_width = 100)]
pub(crate) struct Command {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    which: Which,
}

/// What every command takes.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Configuration file; `conf.d/*.toml` beside it is read too [env: FANFARE_CONFIG] [default:
    /// fanfare.toml, if there is one]
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged, for example info or fanfare_notifier=debug [env: RUST_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Which {
    /// Shows the whole path in a minute: real quakes, local doubles of the providers, two kills
    Demo(demo::Demo),
    /// Runs roles; with a nats-server of its own unless a server is named
    Up(up::Up),
    /// Writes a commented configuration file
    Init(init::Init),
    /// Checks a configuration: exit code 0, or 78 with every problem
    Check(check::Check),
    /// Tries sources out
    Source(source::Source),
    /// Looks after streams, buckets and consumers on a server
    Admin(admin::Admin),
    /// Looks at server, streams, permissions, clocks, sizes and processes, and gives advice; exit code
    /// 1 if something is in trouble
    Doctor(doctor::Doctor),
    /// Checks that everything owed adds up: exit code 0, or 1 with what does not
    Verify(verify::Verify),
    /// Tells why a device got an event, or why not
    Why(why::Why),
    /// Shows what was given up, and sends it again
    DeadLetters(dead_letters::DeadLetters),
    /// Registers many devices from a file, and writes all of them into one
    Devices(devices::Devices),
    /// Shows who changed what: through the API, and by commands
    Audit(audit::Audit),
    /// Hands out keys of the API, shows them, takes them back
    Keys(keys::Keys),
    /// Shows the lanes, pauses and resumes them
    Lanes(lanes::Lanes),
    /// Shows the sources, pauses and resumes them
    Sources(sources::Sources),
    /// Shows which fetcher reads each exclusive source, and moves that to another one
    Leases(leases::Leases),
    /// Shows every process that runs: role, machine, version, whether it is ready
    Members(members::Members),
    /// Sends a test notification to a device, a user or a topic
    Push(push::Push),
    /// Runs the outside world in a box: feeds, and doubles of the push providers
    Sim(sim::SimCommand),
}

impl Command {
    /// Runs the command to its end.
    pub(crate) async fn run(self, environment: &Environment) -> Result<(), Failure> {
        let common = self.common;
        match self.which {
            Which::Up(up) => Box::pin(up.run(&common, environment)).await,
            Which::Demo(demo) => Box::pin(demo.run(&common, environment)).await,
            Which::Init(init) => init.run(),
            Which::Check(check) => check.run(&common, environment),
            Which::Source(source) => Box::pin(source.run(&common, environment)).await,
            Which::Admin(admin) => Box::pin(admin.run(&common, environment)).await,
            Which::Doctor(doctor) => Box::pin(doctor.run(&common, environment)).await,
            Which::Verify(verify) => Box::pin(verify.run(&common, environment)).await,
            Which::Why(why) => Box::pin(why.run(&common, environment)).await,
            Which::DeadLetters(letters) => Box::pin(letters.run(&common, environment)).await,
            Which::Devices(devices) => Box::pin(devices.run(&common, environment)).await,
            Which::Audit(audit) => Box::pin(audit.run(&common, environment)).await,
            Which::Keys(keys) => Box::pin(keys.run(&common, environment)).await,
            Which::Lanes(lanes) => Box::pin(lanes.run(&common, environment)).await,
            Which::Sources(sources) => Box::pin(sources.run(&common, environment)).await,
            Which::Leases(leases) => Box::pin(leases.run(&common, environment)).await,
            Which::Members(members) => Box::pin(members.run(&common, environment)).await,
            Which::Push(push) => Box::pin(push.run(&common, environment)).await,
            Which::Sim(sim) => sim.run(&common, environment).await,
        }
    }
}

impl Common {
    /// Starts logging where there is no configuration to say how.
    pub(crate) fn start_logs(&self, environment: &Environment) {
        let log = LogConfig {
            filter: self.log.clone(),
            ..LogConfig::default()
        };
        crate::telemetry::start_logs(&log, environment.text("RUST_LOG"));
    }

    /// Reads the configuration and starts logging as it says.
    pub(crate) fn load(&self, environment: &Environment) -> Result<Config, ConfigError> {
        let file = config::find(self.config.clone(), environment);
        let filter = self.log.iter().map(|it| ("log.filter", it.clone()));
        let set: Vec<_> = filter.collect();
        let config = Config::load(file.as_deref(), environment, &set)?;
        crate::telemetry::start_logs(&config.own.log, environment.text("RUST_LOG"));
        Ok(config)
    }
}
