//! `fanfare admin`: what is stored on a server, looked at and set right.

mod backup;
mod permissions;
mod plan;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::Broker;
use fanfare_nats::stream::{Difference, Topology, Weight, steps};
use fanfare_nats_server::Environment;

use super::{Common, reach};
use crate::connect::{self, NatsFlags, Selected, UserFlags};
use crate::exit::Failure;
use crate::roles::{self, Process};

#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    what: What,
}

/// On which server.
#[derive(Args)]
struct On {
    #[command(flatten)]
    nats: NatsFlags,
    #[command(flatten)]
    user: UserFlags,
}

#[derive(Subcommand)]
enum What {
    /// Tells what on the server would break the promise, and why; exit code 1 if something would
    Verify {
        #[command(flatten)]
        on: On,
    },
    /// Prints what each role may say to the broker, from the configured names, apps and sources
    Permissions {
        #[command(flatten)]
        whose: permissions::Whose,
        #[arg(long, value_enum, default_value = "conf")]
        format: permissions::Format,
        #[command(flatten)]
        on: On,
    },
    /// Creates what is missing and changes what can be changed while everything runs
    Apply {
        /// Shows what would be done, and does nothing
        #[arg(long)]
        dry_run: bool,
        /// After a restore from a backup, while no notifier runs: raises the epoch of all lanes and
        /// has every stored event looked at again
        #[arg(long)]
        restored: bool,
        #[command(flatten)]
        on: On,
    },
    /// Copies everything that is stored into a new folder, while everything runs
    Backup {
        /// The folder; it must not exist
        folder: PathBuf,
        #[command(flatten)]
        on: On,
    },
    /// Brings a backup back to a server that has none of the streams, while no role runs, and does
    /// what `apply --restored` does
    Restore {
        /// The folder of a backup
        folder: PathBuf,
        #[command(flatten)]
        on: On,
    },
}

impl Admin {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        let on = match &self.what {
            What::Verify { on }
            | What::Permissions { on, .. }
            | What::Apply { on, .. }
            | What::Backup { on, .. }
            | What::Restore { on, .. } => on,
        };
        let (user, password) = (on.user.user.clone(), on.user.password.clone());
        let nats = on.nats.clone().with_user(user, password);
        if let What::Permissions { whose, format, .. } = &self.what {
            let given = Selected::IsIgnored;
            let options = connect::options(&nats, &config.own.nats, environment, given)?;
            let scope = crate::users::scope(&config, &options)?;
            print!("{}", permissions::text(whose, *format, &scope));
            return Ok(());
        }
        let options = reach::options(&nats, &config, environment, "admin")?;
        let topology = roles::topology(&config, options.replicas)?;
        let process = Process::new(&config, environment);
        let broker = roles::connect(options, "admin", &process).await?;
        let ended = match self.what {
            What::Verify { on: _ } => verify(&broker, &topology).await,
            What::Permissions { .. } => Ok(()), // Printed above, without a connection.
            What::Apply {
                dry_run,
                restored,
                on: _,
            } => apply(&broker, &topology, dry_run, restored).await,
            What::Backup { folder, on: _ } => backup::save(&broker, &folder).await,
            What::Restore { folder, on: _ } => match backup::load(&broker, &folder).await {
                Ok(()) => apply(&broker, &topology, false, true).await,
                failed @ Err(_) => failed,
            },
        };
        broker.flush().await;
        ended
    }
}

async fn verify(broker: &Broker, topology: &Topology) -> Result<(), Failure> {
    let differences = broker.verify(topology).await;
    print!("{}", table::of(&differences));
    judge(&differences)
}

async fn apply(
    broker: &Broker,
    topology: &Topology,
    is_dry_run: bool,
    is_restored: bool,
) -> Result<(), Failure> {
    let steps = steps(broker.verify(topology).await);
    print!("{}", plan::text(&steps));
    if is_restored {
        println!("restored  every lane begins a new epoch, every stored event is looked at again");
    }
    if is_dry_run {
        println!("nothing was done: --dry-run");
        return Ok(());
    }
    let left = broker.apply(topology, &steps).await;
    let left = left.context("not everything could be applied; it can be run again")?;
    if is_restored {
        let begun = broker.begin_epoch(topology, topology.epoch).await;
        begun.context("the new epoch has not begun everywhere; run it again")?;
    }
    print!("{}", table::of(&left));
    judge(&left)
}

/// What is merely doubtful is no failure.
fn judge(differences: &[Difference]) -> Result<(), Failure> {
    let n = differences
        .iter()
        .filter(|it| it.weight == Weight::Breaks)
        .count();
    match n {
        0 => Ok(()),
        n => Err(anyhow::anyhow!("{n} differences would break the promise").into()),
    }
}
