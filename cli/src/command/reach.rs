//! Reaching the system that runs, for commands that look at it.

use clap::Args;
use fanfare_nats::{Broker, ConnectOptions};
use fanfare_nats_server::Environment;

use super::embedded;
use crate::config::Config;
use crate::connect::{self, NatsFlags, Selected, UserFlags};
use crate::exit::Failure;
use crate::roles::{self, Process};

#[derive(Args)]
pub(super) struct Reach {
    #[command(flatten)]
    nats: NatsFlags,
    #[command(flatten)]
    user: UserFlags,
}

impl Reach {
    /// Connects as `role`: to what is named, else to the server that `up` runs, else to the selected
    /// context.
    ///
    /// # Errors
    /// `NoServer` where none answers, so that 1 keeps the meaning that the command gives it.
    pub(super) async fn broker(
        self,
        config: &Config,
        environment: &Environment,
        role: &str,
    ) -> Result<Broker, Failure> {
        let nats = self.nats.with_user(self.user.user, self.user.password);
        let options = options(&nats, config, environment, role)?;
        let process = Process::new(config, environment);
        match roles::connect(options, role, &process).await {
            Err(Failure::Failed(error)) => Err(Failure::NoServer(error)),
            other => other,
        }
    }
}

/// What to connect to as `role`: a server that is named, else the one that `up` runs here, else the
/// selected context. Whoever tries fanfare out on this machine means the second before the third.
pub(super) fn options(
    nats: &NatsFlags,
    config: &Config,
    environment: &Environment,
    role: &str,
) -> Result<ConnectOptions, Failure> {
    let is_given = connect::names_a_server(nats, &config.own.nats, environment);
    let own = (!is_given)
        .then(|| embedded::running(environment, role))
        .flatten();
    let selected = match own {
        Some(_) => Selected::IsIgnored,
        None => Selected::Counts,
    };
    let mut options = connect::options(nats, &config.own.nats, environment, selected)?;
    if let Some((url, user)) = own {
        options.servers = url.split(',').map(str::to_owned).collect();
        options.user = Some(user);
    }
    Ok(options)
}
