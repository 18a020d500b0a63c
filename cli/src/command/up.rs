//! `fanfare up [roles]`: runs roles in this process until a signal.

use clap::Args;
use fanfare_nats::permissions::Role as User;
use fanfare_nats_server::Environment;
use fanfare_nats_server::server::Server;

use super::Common;
use super::embedded::{self, Embedded, EmbeddedFlags};
use crate::config::Manage;
use crate::connect::{self, NatsFlags, Selected, UserFlags};
use crate::exit::Failure;
use crate::roles::{Composition, Process, Role};
use crate::users;

#[derive(Args)]
pub(crate) struct Up {
    /// The roles to run [default: all]
    #[arg(value_enum)]
    roles: Vec<Role>,
    /// Who creates streams, buckets and consumers [default: auto with a nats-server of its own,
    /// verify with a named one]
    #[arg(long, value_enum)]
    manage: Option<Manage>,
    #[command(flatten)]
    embedded: EmbeddedFlags,
    #[command(flatten)]
    nats: NatsFlags,
    #[command(flatten)]
    user: UserFlags,
}

impl Up {
    pub(super) async fn run(
        self,
        common: &Common,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let config = common.load(environment)?;
        for note in config.notes() {
            tracing::info!("note: {note}");
        }
        let nats = self.nats.with_user(self.user.user, self.user.password);
        let is_given = connect::names_a_server(&nats, &config.own.nats, environment);
        let mut options =
            connect::options(&nats, &config.own.nats, environment, Selected::IsIgnored)?;
        let child = if is_given {
            None
        } else {
            let scope = users::scope(&config, &options)?;
            Some(embedded::start(&self.embedded, environment, &scope).await?)
        };
        if let Some(child) = &child {
            options.servers = vec![child.server.url()];
            introduce(child);
        }
        let usual = if is_given {
            Manage::Verify
        } else {
            Manage::Auto
        };
        let manage = self.manage.or(config.own.nats.manage).unwrap_or(usual);
        let process = Process::new(&config, environment);
        let roles = if self.roles.is_empty() {
            Role::ALL.to_vec()
        } else {
            self.roles
        };
        let composition = Composition {
            roles,
            config,
            options,
            manage,
            process,
            users: child.as_ref().map(|it| it.users.clone()),
        };
        let broken = broken(child.as_ref().map(|it| &it.server));
        let ended = composition.run(broken).await;
        // Last: the roles have said their last words to it.
        if let Some(child) = child {
            let stopped = child.server.stop().await;
            if stopped.was_killed {
                tracing::warn!("nats-server did not end in time and was killed");
            }
        }
        ended
    }
}

/// Ends when the child does.
fn broken(server: Option<&Server>) -> impl Future<Output = anyhow::Error> + use<> {
    let exited = server.map(Server::exited);
    async move {
        match exited {
            Some(exited) => anyhow::anyhow!("nats-server ended by itself ({})", exited.await),
            None => std::future::pending().await,
        }
    }
}

/// What a person needs to look into the child.
fn introduce(child: &Embedded) {
    let (url, folder) = (child.server.url(), child.server.store_dir().display());
    let (binary, version) = (child.obtained.path.display(), child.obtained.version);
    let ops = User::Ops;
    let file = users::password_file(child.server.store_dir(), ops);
    let (user, file) = (ops.name(), embedded::quoted(&file));
    println!(
        "nats-server {version} ({binary}), process {}",
        child.server.pid()
    );
    println!("  URL          {url}");
    println!("  monitoring   {}", child.server.monitoring_url());
    println!("  data folder  {folder}");
    println!(
        "  to look in   nats context save fanfare --server {url} --user {user} \
         --password \"$(cat {file})\" --inbox-prefix {}",
        ops.inbox_prefix()
    );
}
