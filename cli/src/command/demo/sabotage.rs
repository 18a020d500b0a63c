//! A notifier that breaks the promise on purpose, so that the reconciliation can be seen to notice.
//!
//! The switch is in no configuration file and no flag of `up`: only the demo starts this process.

use fanfare_nats_server::Environment;

use super::Sabotage;
use crate::command::Common;
use crate::config::Manage;
use crate::connect::{self, NatsFlags, Selected};
use crate::exit::Failure;
use crate::roles::{Composition, Process, Role};

/// Runs one until a signal.
pub(super) async fn run(
    how: Sabotage,
    common: &Common,
    environment: &Environment,
) -> Result<(), Failure> {
    let mut config = common.load(environment)?;
    config.notifier.sabotage = Some(match how {
        Sabotage::AckEarly => fanfare_notifier::Sabotage::AckEarly,
    });
    let flags = NatsFlags::default();
    let options = connect::options(&flags, &config.own.nats, environment, Selected::IsIgnored)?;
    let process = Process::new(&config, environment);
    let composition = Composition {
        roles: vec![Role::Notifier],
        config,
        options,
        operate: None,
        manage: Manage::Verify,
        process,
        users: None,
    };
    composition.run(std::future::pending()).await
}
