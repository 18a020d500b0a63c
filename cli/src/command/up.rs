//! `fanfare up [roles]`: runs roles in this process until a signal.

use clap::Args;
use fanfare_nats::ConnectOptions;
use fanfare_nats::permissions::Role as User;
use fanfare_nats_server::{Environment, Server};

use super::Common;
use super::embedded::{self, Brokers, Embedded, EmbeddedFlags};
use crate::config::{Config, ConfigError, Manage};
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
        let mut config = common.load(environment)?;
        for note in config.notes() {
            tracing::info!("note: {note}");
        }
        let nats = self.nats.with_user(self.user.user, self.user.password);
        let is_given = connect::names_a_server(&nats, &config.own.nats, environment);
        let mut options =
            connect::options(&nats, &config.own.nats, environment, Selected::IsIgnored)?;
        let mut child = if is_given {
            refuse_cluster(&self.embedded)?;
            None
        } else {
            check_replicas(&self.embedded, &config)?;
            let scope = users::scope(&config, &options)?;
            Some(embedded::start(&self.embedded, environment, &scope).await?)
        };
        if let Some(child) = &child {
            let servers = child.brokers.servers().iter();
            options.servers = servers.map(Server::url).collect();
            options.replicas = child.brokers.replicas();
            introduce(child);
            open_until_first(&mut config.api);
        }
        let usual = if is_given {
            Manage::Verify
        } else {
            Manage::Auto
        };
        let manage = self.manage.or(config.own.nats.manage).unwrap_or(usual);
        let operate = operator(&config, &options, child.as_ref(), environment)?;
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
            operate,
            manage,
            process,
            users: child.as_ref().map(|it| it.users.clone()),
        };
        let ended = match &mut child {
            Some(child) => composition.run(child.brokers.watch()).await,
            None => composition.run(std::future::pending()).await,
        };
        // Last: the roles have said their last words to it.
        if let Some(child) = child
            && child.brokers.stop().await
        {
            tracing::warn!("nats-server did not end in time and was killed");
        }
        ended
    }
}

/// As whom the API pauses and replays: as the configuration says, or on a server of our own as its
/// operator.
fn operator(
    config: &Config,
    options: &ConnectOptions,
    child: Option<&Embedded>,
    environment: &Environment,
) -> Result<Option<Box<ConnectOptions>>, ConfigError> {
    let options = match (&config.operate, child) {
        (Some(operate), _) => {
            connect::as_second(options, operate, "api.operate", environment).map(Some)?
        }
        (None, Some(child)) => Some(child.users.admit(options, User::Ops)),
        (None, None) => None,
    };
    Ok(options.map(Box::new))
}

/// Whoever tries fanfare out on this machine needs no key until he makes one. Where a server was named,
/// or a word said about keys, the API asks for one.
fn open_until_first(api: &mut fanfare_api::Config) {
    if api.keys.is_none() && !api.insecure_no_auth && api.is_loopback() {
        api.keys = Some(fanfare_api::Keys::UntilFirst);
        eprintln!(
            "fanfare: the API on {} asks for no key until there is one: whoever is on this machine may \
             do everything.\n  to change that: fanfare keys create backend --scope devices:write \
             --scope 'events:publish:>'",
            api.listen
        );
    }
}

/// A cluster of our own, and servers that somebody named, are two wishes.
fn refuse_cluster(flags: &EmbeddedFlags) -> Result<(), Failure> {
    if flags.is_cluster() {
        let text = "--cluster starts servers of its own, but a server is named (--server, \
                    --context, [nats] url or context, NATS_URL, NATS_CONTEXT): leave one of them out";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(())
}

/// Every server of ours holds everything, so there are as many replicas as servers.
fn check_replicas(flags: &EmbeddedFlags, config: &Config) -> Result<(), Failure> {
    let (size, replicas) = (flags.size(), config.own.nats.replicas);
    match replicas {
        Some(replicas) if replicas != size => {
            let text = if size == 1 {
                format!(
                    "{replicas} replicas need {replicas} servers: name them with --server, or try \
                     --cluster 3"
                )
            } else {
                format!("--cluster {size} keeps {size} replicas: write {size}, or leave it out")
            };
            Err(ConfigError::one("nats.replicas", text).into())
        }
        Some(_) | None => Ok(()),
    }
}

/// What a person needs to look into the children.
fn introduce(child: &Embedded) {
    let (url, folder) = (child.brokers.url(), child.folder.display());
    let (binary, version) = (child.obtained.path.display(), child.obtained.version);
    let ops = User::Ops;
    let file = users::password_file(&child.folder, ops);
    let (user, file) = (ops.name(), embedded::quoted(&file));
    match &child.brokers {
        Brokers::One(server) => {
            println!("nats-server {version} ({binary}), process {}", server.pid());
            println!("  URL          {url}");
            println!("  monitoring   {}", server.monitoring_url());
        }
        Brokers::Cluster(cluster) => {
            println!("nats-server {version} ({binary}), three as one cluster, three copies of all");
            for server in cluster.servers() {
                println!(
                    "  {:<13}process {}, {}, monitoring {}",
                    server.name(),
                    server.pid(),
                    server.url(),
                    server.monitoring_url()
                );
            }
            println!("  URL          {url}");
        }
    }
    println!("  data folder  {folder}");
    println!(
        "  to look in   nats context save fanfare --server {url} --user {user} \
         --password \"$(cat {file})\" --inbox-prefix {}",
        ops.inbox_prefix()
    );
}
