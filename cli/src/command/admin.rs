//! `fanfare admin`: what is stored on a server, looked at and set right.

mod backup;
mod export;
mod permissions;
mod plan;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use fanfare_nats::Broker;
use fanfare_nats::stream::{Difference, Step, Topology, Weight, steps};
use fanfare_nats_server::Environment;

use super::{Common, ask, reach};
use crate::config::Config;
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
        /// Does not ask before something that exists is changed
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        on: On,
    },
    /// Prints what apply makes, for the tool that makes it instead
    Export {
        #[arg(long, value_enum, default_value = "json")]
        format: export::Format,
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
            | What::Export { on, .. }
            | What::Backup { on, .. }
            | What::Restore { on, .. } => on,
        };
        let (user, password) = (on.user.user.clone(), on.user.password.clone());
        let nats = on.nats.clone().with_user(user, password);
        if let Some(text) = self.what.printed(&nats, &config, environment)? {
            print!("{text}");
            return Ok(());
        }
        let options = reach::options(&nats, &config, environment, "admin")?;
        let topology = roles::topology(&config, options.replicas)?;
        let process = Process::new(&config, environment);
        let broker = roles::connect(options, "admin", &process).await?;
        let ended = match self.what {
            What::Verify { on: _ } => verify(&broker, &topology).await,
            // Printed above, without a connection.
            What::Permissions { .. } | What::Export { .. } => Ok(()),
            What::Apply {
                dry_run,
                restored,
                yes,
                on: _,
            } => {
                let how = How {
                    is_dry_run: dry_run,
                    is_restored: restored,
                    is_confirmed: yes,
                };
                apply(&broker, &topology, how).await
            }
            What::Backup { folder, on: _ } => backup::save(&broker, &folder).await,
            What::Restore { folder, on: _ } => match backup::load(&broker, &folder).await {
                Ok(()) => {
                    let how = How {
                        is_dry_run: false,
                        is_restored: true,
                        is_confirmed: true, // Who restores has said so.
                    };
                    apply(&broker, &topology, how).await
                }
                failed @ Err(_) => failed,
            },
        };
        broker.flush().await;
        ended
    }
}

impl What {
    /// What needs no connection.
    fn printed(
        &self,
        nats: &NatsFlags,
        config: &Config,
        environment: &Environment,
    ) -> Result<Option<String>, Failure> {
        let options = || {
            let given = Selected::IsIgnored;
            connect::options(nats, &config.own.nats, environment, given)
        };
        Ok(match self {
            Self::Permissions { whose, format, .. } => {
                let scope = crate::users::scope(config, &options()?)?;
                Some(permissions::text(whose, *format, &scope))
            }
            Self::Export { format, .. } => {
                let options = options()?;
                let topology = roles::topology(config, options.replicas)?;
                let definitions = topology.definitions(&options.names);
                Some(export::text(*format, &definitions))
            }
            Self::Verify { .. }
            | Self::Apply { .. }
            | Self::Backup { .. }
            | Self::Restore { .. } => None,
        })
    }
}

async fn verify(broker: &Broker, topology: &Topology) -> Result<(), Failure> {
    let differences = broker.verify(topology).await;
    print!("{}", table::of(&differences));
    judge(&differences)
}

/// How steps are taken.
#[derive(Clone, Copy)]
struct How {
    is_dry_run: bool,
    is_restored: bool,
    is_confirmed: bool,
}

async fn apply(broker: &Broker, topology: &Topology, how: How) -> Result<(), Failure> {
    let How { is_restored, .. } = how;
    let steps = steps(broker.verify(topology).await);
    print!("{}", plan::text(&steps));
    if is_restored {
        println!("restored  every lane begins a new epoch, every stored event is looked at again");
    }
    if how.is_dry_run {
        println!("nothing was done: --dry-run");
        return Ok(());
    }
    // What is only made anew loses nothing, also where nobody can be asked.
    let is_change = |it: &Step| matches!(it, Step::Set { .. });
    let needs_word = is_restored || steps.iter().any(is_change);
    if needs_word && !how.is_confirmed && !ask::is_confirmed("do this?")? {
        println!("nothing was done");
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
